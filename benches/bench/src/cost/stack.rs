//! The functions' binaries as `template.yaml` deploys them, on the AWS of `aws.rs`,
//! driven through a profile's tasks and watched.

use std::fs::{self, OpenOptions};
use std::path::Path;

use serde_json::{Value, json};
use store::aws::AwsSettings;
use store::env::Env;
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;

use super::aws::{Aws, Message};
use super::counts::Counts;
use super::model::{Model, Says};
use super::profile::{Profile, TASKS};
use crate::Failure;
use crate::lambda::{Function, http_event, queue_event};

const ADMIN_TOKEN: &str = "counted-admin-token";
const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:123456789012:queue";
const PUBLIC_URL: &str = "https://abcdefghij.execute-api.us-east-1.amazonaws.com";

/// One deployment.
pub(crate) struct Stack {
    aws: Aws,
    model: Model,
    webhook: Watched,
    agent: Watched,
    task_status: Watched,
    console: Watched,
}

/// A function and what it logs.
struct Watched {
    name: &'static str,
    function: Function,
    log: NamedTempFile,
    /// How much of the log was read.
    seen: usize,
}

/// An agent, as its caller and its runner know it.
struct Agent {
    path: String,
    id: String,
}

/// A task that was triggered.
struct Triggered {
    event: Value,
    task_id: String,
}

impl Stack {
    /// `runtime` serves what the functions call.
    pub(crate) fn start(runtime: &Runtime, binaries: &Path) -> Result<Self, Failure> {
        let (aws, model) = (
            runtime.block_on(Aws::serve())?,
            runtime.block_on(Model::serve())?,
        );
        aws.keep_secret("admin-token", ADMIN_TOKEN);
        aws.keep_secret("signing-secret", "the-signing-secret");
        runtime.block_on(tables(&aws.url))?;
        let start = |name| Watched::start(name, binaries, &aws.url);
        Ok(Self {
            webhook: start("webhook")?,
            agent: start("agent")?,
            task_status: start("task-status")?,
            console: start("console")?,
            aws,
            model,
        })
    }

    /// Runs a profile's tasks twice: first so that connections are open and agents
    /// known, then counted: what one of them asked for.
    pub(crate) fn measure(&mut self, profile: &Profile) -> Result<Counts, Failure> {
        self.model.will_say(&profile.model);
        let known = [self.create_agent(profile.name)?];
        self.tasks(profile, &known, "warm")?;
        let counts = match profile.known {
            true => self.tasks(profile, &known, "counted")?,
            false => {
                let unknown = (0..TASKS).map(|_| self.create_agent(profile.name));
                let unknown = unknown.collect::<Result<Vec<_>, _>>()?;
                self.tasks(profile, &unknown, "counted")?
            }
        };
        Ok(counts.over(TASKS as f64))
    }

    fn create_agent(&mut self, name: &str) -> Result<Agent, Failure> {
        let definition =
            json!({ "name": name, "model": { "base_url": self.model.url, "name": "m" } });
        let mut event = http_event("POST", "/api/agents", "", Some(&definition.to_string()));
        set(
            &mut event,
            "/headers",
            "authorization",
            &format!("Bearer {ADMIN_TOKEN}"),
        );
        let agent = body_of(&self.console.invoke(&event)?, 201)?;
        let path = text(&agent, "/webhook_url")
            .trim_start_matches(PUBLIC_URL)
            .to_owned();
        self.aws.calls();
        Ok(Agent {
            path,
            id: text(&agent, "/agent_id").to_owned(),
        })
    }

    /// Trigger, run, polls, repeats, of these agents in turn; and that all of it went
    /// as it should.
    fn tasks(
        &mut self,
        profile: &Profile,
        agents: &[Agent],
        round: &str,
    ) -> Result<Counts, Failure> {
        let mut counts = Counts::default();
        let tasks = self.trigger(profile, agents, round)?;
        self.webhook.note(&self.aws, &mut counts)?;
        self.run(profile, agents)?;
        self.agent.note(&self.aws, &mut counts)?;
        for task in tasks.iter().flat_map(|task| vec![task; profile.polls]) {
            self.poll(task)?;
        }
        self.task_status.note(&self.aws, &mut counts)?;
        for task in tasks.iter().flat_map(|task| vec![task; profile.repeats]) {
            body_of(&self.webhook.invoke(&task.event)?, 200)?;
        }
        self.webhook.note(&self.aws, &mut counts)?;
        for task in &tasks {
            self.check(task, &profile.model)?;
        }
        Ok(counts)
    }

    fn trigger(
        &mut self,
        profile: &Profile,
        agents: &[Agent],
        round: &str,
    ) -> Result<Vec<Triggered>, Failure> {
        let trigger = |(number, agent): (usize, &Agent)| {
            let mut event = http_event("POST", &agent.path, "", Some(&profile.payload));
            if profile.keyed {
                set(
                    &mut event,
                    "/headers",
                    "idempotency-key",
                    &format!("{round}-{number}"),
                );
            }
            let accepted = body_of(&self.webhook.invoke(&event)?, 200)?;
            Ok(Triggered {
                event,
                task_id: text(&accepted, "/task_id").to_owned(),
            })
        };
        (0..TASKS).zip(agents.iter().cycle()).map(trigger).collect()
    }

    /// Runs what was sent, in the profile's batches.
    fn run(&mut self, profile: &Profile, agents: &[Agent]) -> Result<(), Failure> {
        let messages = self.aws.sent();
        if messages
            .iter()
            .zip(agents.iter().cycle())
            .any(|(message, agent)| message.group != agent.id)
        {
            return Err("a message is not in the group of its agent".into());
        }
        for batch in messages.chunks(profile.batch) {
            let answer = self.agent.invoke(&batch_event(batch))?;
            if answer.get("batchItemFailures") != Some(&json!([])) {
                return Err(format!(
                    "{}: the runner wants messages again: {answer}",
                    profile.name
                )
                .into());
            }
        }
        Ok(())
    }

    fn poll(&mut self, task: &Triggered) -> Result<Value, Failure> {
        let query = format!("task_id={}", task.task_id);
        body_of(
            &self
                .task_status
                .invoke(&http_event("GET", "/api/task_status", &query, None))?,
            200,
        )
    }

    /// What is counted must have happened.
    fn check(&mut self, task: &Triggered, model: &Says) -> Result<(), Failure> {
        let status = self.poll(task)?;
        self.task_status.note(&self.aws, &mut Counts::default())?;
        let as_it_should = match model {
            Says::Text(said) => text(&status, "/result/result/answer").trim() == said.trim(),
            Says::Refusal => text(&status, "/error/type") == "model_error",
        };
        if as_it_should {
            Ok(())
        } else {
            Err(format!("a task did not end as it should: {status}").into())
        }
    }
}

impl Watched {
    fn start(name: &'static str, binaries: &Path, aws: &str) -> Result<Self, Failure> {
        let log = NamedTempFile::new()?;
        let stdout = OpenOptions::new().append(true).open(log.path())?;
        let environment = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "example"),
            ("AWS_ENDPOINT_URL", aws),
            ("AGENT_WEBHOOKS_TASKS_TABLE", "tasks"),
            ("AGENT_WEBHOOKS_AGENTS_TABLE", "agents"),
            ("AGENT_WEBHOOKS_DOCUMENTS_TABLE", "documents"),
            (
                "AGENT_WEBHOOKS_QUEUE_URL",
                "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
            ),
            (
                "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL",
                "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
            ),
            (
                "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_ARN",
                "arn:aws:sqs:us-east-1:123456789012:dead",
            ),
            ("AGENT_WEBHOOKS_AGENT_FUNCTION", "agent"),
            ("AGENT_WEBHOOKS_SECRETS_PREFIX", "agent-webhooks/provider/"),
            // Longer than any measurement, so that the agent is not read again within one.
            ("AGENT_WEBHOOKS_AGENT_CACHE_SECONDS", "300"),
            ("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS", "127.0.0.1"),
            ("AGENT_WEBHOOKS_METRICS_STACK", "agent-webhooks"),
            ("AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET", "admin-token"),
            ("AGENT_WEBHOOKS_SIGNING_SECRET", "signing-secret"),
            ("AGENT_WEBHOOKS_PUBLIC_URL", PUBLIC_URL),
        ];
        let function = Function::spawn_logging(&binaries.join(name), environment, stdout.into())?;
        Ok(Self {
            name,
            function,
            log,
            seen: 0,
        })
    }

    fn invoke(&mut self, event: &Value) -> Result<Value, Failure> {
        let answer = self.function.invoke(event)?;
        self.function.accept()?;
        Ok(answer.body)
    }

    /// Adds what was called and logged since the last look. Only this function may have
    /// run.
    fn note(&mut self, aws: &Aws, counts: &mut Counts) -> Result<(), Failure> {
        for (call, count) in aws.calls() {
            counts.add(self.name, &call, count);
        }
        let log = fs::read_to_string(self.log.path())?;
        let new = log.get(self.seen..).unwrap_or_default();
        self.seen = log.len();
        for line in new.lines() {
            let logged: Value = serde_json::from_str(line)?;
            counts.add_line(self.name, text(&logged, "/message"), line.len());
        }
        Ok(())
    }
}

/// As `template.yaml` makes them.
async fn tables(endpoint: &str) -> Result<(), Failure> {
    let endpoint = endpoint.to_owned();
    let environment = Env::from_fn(move |name| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => {
            Some("us-east-1".to_owned())
        }
        _ => None,
    });
    let settings = AwsSettings::from_env(&environment)?;
    let aws = store::aws::Aws::new(settings);
    store::create_tables(&aws, &["tasks", "agents", "documents"]).await?;
    Ok(store::index_tasks(&aws, "tasks").await?)
}

/// A batch as the event source mapping hands it on.
fn batch_event(messages: &[Message]) -> Value {
    let records = messages.iter().enumerate().filter_map(|(number, message)| {
        let mut event = queue_event(&message.body, &message.group, QUEUE_ARN);
        set(
            &mut event,
            "/Records/0",
            "messageId",
            &format!("message-{number}"),
        );
        event.pointer_mut("/Records/0").map(Value::take)
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn set(value: &mut Value, object: &str, name: &str, to: &str) {
    if let Some(fields) = value.pointer_mut(object).and_then(Value::as_object_mut) {
        fields.insert(name.to_owned(), to.into());
    }
}

/// The JSON that a function answered its caller.
fn body_of(answer: &Value, status: u64) -> Result<Value, Failure> {
    if answer.get("statusCode").and_then(Value::as_u64) != Some(status) {
        return Err(format!("instead of {status} a function answered {answer}").into());
    }
    Ok(serde_json::from_str(text(answer, "/body"))?)
}
