//! The functions as on AWS: the same routers and runner, on a DynamoDB and an SQS
//! at the wire.

use std::sync::Arc;
use std::time::Duration;

use api::agents::Management;
use api::task_status::Statuses;
use api::webhook::Triggers;
use domain::{AgentDraft, AgentId};
use runner::{Delivery, Models, PrivateHosts, RunSettings, Runner, run_batch};
use serde_json::json;
use store::aws::Aws;
use store::env::Env;
use store::{Agents, Queue, Secrets, SqsQueue, Tasks, create_tables};
use tempfile::TempDir;

use super::wire::Wire;
use super::{FakeModel, Time, client, redaction};

/// What is triggered with: a text that no log may hold.
const PAYLOAD: &str = r#"{"iban":"DE89370400440532013000"}"#;
const SIGNING_SECRET: &str = "the-functions-signing-secret";

/// The functions as on AWS, on one wire.
pub(crate) struct Functions {
    pub(crate) wire: Wire,
    pub(crate) url: String,
    pub(crate) webhook: String,
    pub(crate) agent: AgentId,
    pub(crate) queue: Arc<Queue>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) time: Time,
    _folder: TempDir,
}

pub(crate) async fn functions(model: &FakeModel) -> Functions {
    functions_at(model, Time::default()).await
}

pub(crate) async fn functions_at(model: &FakeModel, time: Time) -> Functions {
    redaction::keep_log();
    redaction::secret("signing secret", SIGNING_SECRET);
    redaction::payload(PAYLOAD.as_bytes());
    let (wire, folder) = (Wire::new(), TempDir::new().unwrap());
    let aws = Aws::embedded(wire.clone());
    create_tables(&aws, &["tasks", "agents"]).await.unwrap();
    let clock = time.clock();
    let tasks = Tasks::new(&aws, "tasks");
    // Each function remembers agents for itself.
    let agents = || Arc::new(Agents::new(&aws, "agents", Duration::from_secs(10)));
    let secrets = Arc::new(Secrets::file(folder.path().join("secrets.json")));
    let queue = Arc::new(Queue::Sqs(SqsQueue::new(&aws, "http://embedded.invalid/queue")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let management = Management {
        agents: agents(),
        secrets: Arc::clone(&secrets),
        clock: clock.clone(),
        admin_token: "t".into(),
        signing_secret: SIGNING_SECRET.into(),
        public_url: url.as_str().into(),
    };
    let definition = json!({ "name": "a", "model": { "base_url": model.url, "name": "m" } });
    let draft = AgentDraft::from_json(definition.to_string().as_bytes()).unwrap();
    let record = management.create(draft).await.unwrap();
    let webhook = management.webhook_url(&record).await.unwrap();
    redaction::webhook(&webhook);
    let triggers = Triggers {
        agents: agents(),
        tasks: tasks.clone(),
        queue: Arc::clone(&queue),
        clock: clock.clone(),
        max_body_bytes: 1024 * 1024,
    };
    let statuses = Statuses { tasks: tasks.clone(), clock: clock.clone() };
    let routes = api::webhook::router(triggers)
        .merge(api::task_status::router(statuses))
        .merge(api::agents::router(management));
    let app = api::app(routes);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let runner = Runner {
        tasks,
        agents: agents(),
        secrets,
        models: Models::new(PrivateHosts::Any).unwrap(),
        settings: RunSettings::from_env(&Env::from_fn(|_| None)).unwrap(),
        clock,
    };
    wire.calls();
    let agent = record.agent.id();
    Functions { wire, url, webhook, agent, queue, runner: Arc::new(runner), time, _folder: folder }
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
        client().get(format!("{}/api/task_status?task_id={task}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn deliver(&self, bodies: &[&str], dead_lettered: bool) -> Vec<String> {
        let deliveries = bodies.iter().enumerate().map(|(n, body)| Delivery {
            id: format!("message-{n}"),
            receipt: format!("receipt-{n}"),
            body: (*body).to_owned(),
            agent: Some(self.agent),
            receives: 1,
            dead_lettered,
        });
        let deadline = self.runner.clock.now().plus(Duration::from_secs(60));
        run_batch(&self.runner, &self.queue, deliveries.collect(), deadline).await
    }
}
