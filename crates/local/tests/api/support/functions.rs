//! The functions as on AWS: the same routers and runner, with fakes of DynamoDB, SQS and
//! Secrets Manager.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::admin::Admins;
use api::audit::Actor;
use api::task_status::Statuses;
use api::webhook::Triggers;
use api::{DocumentImporter, Management};
use axum::Router;
use domain::{AgentId, NewAgent, TaskId};
use local::serve::LocalTrials;
use runner::{
    AccessTokens, Delivery, Models, PrivateHosts, RunGate, RunSettings, Runner, Sources,
    parse_message_body, run_batch,
};
use serde_json::{Value, json};
use store::aws::Aws;
use store::env::Env;
use store::{
    Agents, Bedrock, Clock, Documents, Queue, Secrets, SqsQueue, Tasks, create_tables, index_tasks,
};
use subprocess::Subprocesses;

use super::sqs::{DEAD, LIVE, Received};
use super::wire::Wire;
use super::{FakeModel, Time, client, redaction};

pub(crate) const SMALL_ADMIN_TOKEN: &str = "t";
/// The payload of triggers. No log may contain it.
const PAYLOAD: &str = r#"{"iban":"DE89370400440532013000"}"#;
const SIGNING_SECRET: &str = "the-functions-signing-secret";

/// The functions in one process with their caches.
pub(crate) struct Process {
    pub(crate) wire: Wire,
    pub(crate) app: Router,
    pub(crate) management: Management,
    pub(crate) runner: Arc<Runner>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) dead_letters: Arc<Queue>,
}

impl Process {
    /// `model` is the address of the server that stands in for Bedrock.
    pub(crate) fn start(
        wire: Wire,
        clock: &Clock,
        url: &str,
        max_attempts: u32,
        model: &str,
    ) -> Self {
        let aws = Aws::embedded(wire.clone());
        let clock = clock.clone();
        let tasks = Tasks::new(&aws, "tasks");
        // Each function has its own cache of agents.
        let agents = || Arc::new(Agents::new(&aws, "agents", Duration::from_secs(10)));
        let secrets = || Arc::new(Secrets::secrets_manager(&aws, "test/"));
        let queue = |url| Arc::new(Queue::Sqs(SqsQueue::new(&aws, url)));
        let live = queue(LIVE);
        let documents = Documents::new(&aws, "documents");
        let runners_agents = agents();
        let attempts = move |name: &str| {
            (name == "AGENT_WEBHOOKS_MAX_ATTEMPTS").then(|| max_attempts.to_string())
        };
        let runner = Arc::new(Runner {
            subprocesses: Subprocesses::new(super::PROGRAM.into(), 1),
            tasks: tasks.clone(),
            sources: Arc::new(Sources::new(Arc::clone(&runners_agents), documents.clone())),
            agents: runners_agents,
            secrets: secrets(),
            models: models().with_bedrock(bedrock(model)),
            access_tokens: AccessTokens::default(),
            gate: RunGate::default(),
            settings: RunSettings::from_env(&Env::from_fn(attempts)).unwrap(),
            clock: clock.clone(),
        });
        let management = Management {
            agents: agents(),
            tasks: tasks.clone(),
            secrets: secrets(),
            document_importer: DocumentImporter::new(documents),
            subprocesses: Subprocesses::new(super::PROGRAM.into(), 1),
            trials: Arc::new(LocalTrials(Arc::clone(&runner))),
            clock: clock.clone(),
            admins: Admins::new(SMALL_ADMIN_TOKEN, url, clock.clone()),
            signing_secret: SIGNING_SECRET.into(),
            public_url: url.into(),
        };
        let triggers = Triggers {
            agents: agents(),
            tasks: tasks.clone(),
            queue: Arc::clone(&live),
            clock: clock.clone(),
            max_body_bytes: 1024 * 1024,
        };
        let statuses = Statuses {
            tasks: tasks.clone(),
            clock: clock.clone(),
        };
        let routes = api::webhook::router(triggers)
            .merge(api::task_status::router(statuses))
            .merge(api::management_routes(management.clone()));
        Self {
            wire,
            app: api::app(routes),
            management,
            runner,
            queue: live,
            dead_letters: queue(DEAD),
        }
    }
}

/// Bedrock at this address, as configured by the environment.
pub(crate) fn bedrock(origin: &str) -> Option<Bedrock> {
    let variables = [
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", origin.to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDOFTESTS".to_owned()),
        (
            "AWS_SECRET_ACCESS_KEY",
            "the-secret-access-key-of-tests".to_owned(),
        ),
        ("AWS_SESSION_TOKEN", "the-session-token-of-tests".to_owned()),
    ];
    redaction::secret("AWS key", "the-secret-access-key-of-tests");
    Bedrock::from_env(&Env::from_fn(move |name| {
        variables
            .iter()
            .find(|(set, _)| *set == name)
            .map(|(_, value)| value.clone())
    }))
}

/// Shared, because its TLS setup is slow and not used.
fn models() -> Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS
        .get_or_init(|| Models::new(PrivateHosts::any()).unwrap())
        .clone()
}

/// The functions as on AWS, on one wire, served over HTTP.
pub(crate) struct Functions {
    pub(crate) wire: Wire,
    pub(crate) url: String,
    pub(crate) webhook: String,
    pub(crate) agent: AgentId,
    pub(crate) queue: Arc<Queue>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) time: Time,
}

pub(crate) async fn functions(model: &FakeModel) -> Functions {
    functions_at(model, Time::default()).await
}

pub(crate) async fn functions_at(model: &FakeModel, time: Time) -> Functions {
    functions_with(model, time, json!({})).await
}

/// With an agent of this definition.
pub(crate) async fn functions_of(model: &FakeModel, definition: Value) -> Functions {
    functions_with(model, Time::default(), definition).await
}

/// With these fields in the agent's definition.
pub(crate) async fn functions_with(model: &FakeModel, time: Time, more: Value) -> Functions {
    redaction::record_log();
    redaction::secret("signing secret", SIGNING_SECRET);
    redaction::payload(PAYLOAD.as_bytes());
    let wire = Wire::new(time.clone());
    let aws = Aws::embedded(wire.clone());
    create_tables(&aws, &["tasks", "agents", "documents"])
        .await
        .unwrap();
    index_tasks(&aws, "tasks").await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let process = Process::start(wire.clone(), &time.clock(), &url, 5, &model.origin);
    let mut definition = json!({ "name": "a", "model": { "base_url": model.url, "name": "m" } });
    definition
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let new = NewAgent::from_json(definition.to_string().as_bytes()).unwrap();
    let record = process
        .management
        .create(new, &Actor::server())
        .await
        .unwrap();
    let webhook = process.management.webhook_url(&record).await.unwrap();
    redaction::webhook(&webhook);
    let (app, agent) = (process.app, record.agent.id());
    tokio::spawn(async move { axum::serve(listener, app).await });
    wire.calls();
    Functions {
        wire,
        url,
        webhook,
        agent,
        queue: process.queue,
        runner: process.runner,
        time,
    }
}

impl Functions {
    pub(crate) async fn trigger(&self, key: Option<&str>) -> reqwest::Response {
        let mut request = client().post(&self.webhook).body(PAYLOAD);
        if let Some(key) = key {
            redaction::secret("idempotency key", key);
            request = request.header("idempotency-key", key);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn status(&self, task: &str) -> reqwest::Response {
        client()
            .get(format!("{}/api/task_status?task_id={task}", self.url))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn deliver(&self, bodies: &[&str], dead_lettered: bool) -> Vec<String> {
        let deliveries = bodies.iter().enumerate().filter_map(|(n, body)| {
            let message_id = format!("message-{n}");
            let task = parse_message_body(&message_id, body)?;
            let (receipt, agent) = (format!("receipt-{n}"), Some(self.agent));
            Some(Delivery {
                message_id,
                receipt,
                task,
                agent,
                receives: 1,
                dead_lettered,
            })
        });
        let deadline = self.runner.clock.now().plus(Duration::from_secs(60));
        run_batch(&self.runner, &self.queue, deliveries.collect(), deadline).await
    }

    /// Does what the event source mapping does: receives a batch, has it run by an
    /// invocation of this length, and deletes the messages that are not to be redelivered.
    /// Returns the number of messages.
    pub(crate) async fn receive_and_run(&self, invocation: Duration) -> usize {
        let batch = self.wire.sqs.receive(LIVE, 10);
        self.run_received(&batch, invocation).await;
        batch.len()
    }

    /// The same for a batch that was already received.
    pub(crate) async fn run_received(&self, batch: &[Received], invocation: Duration) {
        let deliveries = batch.iter().map(|message| Delivery {
            message_id: message.id.clone(),
            receipt: message.receipt.clone(),
            task: TaskId::parse(&message.body).expect("a message with the id of a task"),
            agent: AgentId::parse(&message.group),
            receives: message.receives,
            dead_lettered: false,
        });
        let deadline = self.runner.clock.now().plus(invocation);
        let again = run_batch(&self.runner, &self.queue, deliveries.collect(), deadline).await;
        for message in batch.iter().filter(|message| !again.contains(&message.id)) {
            self.wire.sqs.delete(message);
        }
    }

    /// How long until a message is visible. Zero if there is no message.
    pub(crate) fn until_next_message(&self) -> Duration {
        let next = self.wire.sqs.next_visible();
        next.map_or(Duration::ZERO, |next| next.since(self.time.clock().now()))
    }
}
