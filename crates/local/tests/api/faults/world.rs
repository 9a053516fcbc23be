//! The environment of one scenario: the services, processes that die and are replaced,
//! a caller that retries, and the event source mapping.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use domain::{AgentId, Moment, TaskId, TaskKey};
use runner::{Delivery, run_batch};
use serde_json::{Value, json};
use store::aws::Aws;
use store::{Clock, index_tasks};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::flows::Flow;
use super::provider::{Provider, origin};
use crate::support::formats::Format;
use crate::support::functions::{Process, SMALL_ADMIN_TOKEN};
use crate::support::plan::{Plan, Strike};
use crate::support::sqs::{DEAD, LIVE, Received, VISIBILITY};
use crate::support::wire::Wire;
use crate::support::{Agent, Time, string};

const URL: &str = "http://embedded.invalid";
/// An invocation ends when the visibility timeout of its message ends, as in template.yaml.
const INVOCATION: Duration = VISIBILITY;
/// As in the event source mapping of template.yaml.
const BATCH: usize = 10;
/// Far more than any scenario needs.
const MOST_BATCHES: usize = 200;
const MOST_TRIES: usize = 12;
/// Time limit in seconds for a run whose model never responds. The test waits in real time.
const SHORT_LIMIT: u64 = 4;

pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) time: Time,
    pub(crate) provider: Provider,
    pub(crate) seen: Mutex<Seen>,
    /// Two, for two concurrent runners. The first one also serves the callers.
    machines: [Arc<Machine>; 2],
    /// The protocol of the model.
    format: Format,
    timeout_seconds: u64,
}

/// What callers sent and received.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) statuses: Vec<(String, Value)>,
    /// Every payload ever sent.
    pub(crate) payloads: Vec<String>,
    /// A management call had no response or a 503, so its effect is unclear.
    pub(crate) unclear: bool,
}

/// A trigger that was answered 200.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
    pub(crate) task: String,
}

/// A task: its record and its status response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskSeen {
    pub(crate) id: String,
    pub(crate) item: Value,
    pub(crate) status: Value,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Runs one process at a time. A dead process is replaced.
pub(crate) struct Machine {
    wire: Wire,
    clock: Clock,
    max_attempts: u32,
    /// The address of the model's server.
    model: String,
    process: Mutex<Option<Arc<Process>>>,
    /// When the process started.
    started_at: Mutex<Option<Moment>>,
}

impl Machine {
    fn new(wire: &Wire, clock: &Clock, max_attempts: u32, model: String) -> Self {
        let (wire, clock) = (wire.clone(), clock.clone());
        Self {
            wire,
            clock,
            max_attempts,
            model,
            process: Mutex::default(),
            started_at: Mutex::default(),
        }
    }

    fn process(&self) -> Arc<Process> {
        let mut process = self.process.lock().unwrap();
        if let Some(process) = process
            .as_ref()
            .filter(|process| !process.wire.life.is_cancelled())
        {
            return Arc::clone(process);
        }
        let wire = self.wire.for_new_process();
        let started = Arc::new(Process::start(
            wire,
            &self.clock,
            URL,
            self.max_attempts,
            &self.model,
        ));
        *process = Some(Arc::clone(&started));
        *self.started_at.lock().unwrap() = Some(self.clock.now());
        started
    }

    /// Whether the process of that time is still alive.
    pub(crate) fn lives_since(&self, moment: &str) -> bool {
        let lives = |process: &Arc<Process>| !process.wire.life.is_cancelled();
        let alive = self.process.lock().unwrap().as_ref().is_some_and(lives);
        let started_at = *self.started_at.lock().unwrap();
        alive && started_at.is_some_and(|started_at| started_at.rfc3339().as_str() <= moment)
    }

    pub(crate) fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            process.wire.life.cancel();
        }
    }
}

impl World {
    /// `impatient`: runs have a short time limit, because the model never responds.
    pub(crate) async fn new(flow: &Flow, strikes: &[Strike], impatient: bool) -> Self {
        let time = Time::default();
        let (wire, clock) = (Wire::with(time.clone(), Plan::new(strikes)), time.clock());
        wire.sqs.redrive_after(flow.max_receives);
        for table in ["tasks", "agents", "documents"] {
            wire.call_dynamodb("CreateTable", table_of(table)).await;
        }
        index_tasks(&Aws::embedded(wire.engine.clone()), "tasks")
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let machine = || {
            Arc::new(Machine::new(
                &wire,
                &clock,
                flow.max_attempts,
                origin(&listener),
            ))
        };
        let machines = [machine(), machine()];
        let provider = Provider::start(
            flow.model,
            impatient,
            &wire,
            &time,
            machines.clone(),
            listener,
        )
        .await;
        let timeout_seconds = if impatient { SHORT_LIMIT } else { 240 };
        let format = flow.format;
        Self {
            wire,
            time,
            provider,
            seen: Mutex::default(),
            machines,
            format,
            timeout_seconds,
        }
    }

    pub(crate) fn has_short_limit(&self) -> bool {
        self.timeout_seconds == SHORT_LIMIT
    }

    /// The faults begin here.
    pub(crate) fn faults_from_here(&self) {
        self.wire.plan.arm();
    }

    /// The definition of an agent that calls the provider, with additional fields.
    pub(crate) fn definition(&self, more: Value) -> Value {
        let mut model = self.format.model(self.provider.origin());
        model.as_object_mut().unwrap().remove("api_key");
        model["name"] = "m".into();
        let mut definition = json!({
            "name": "a",
            "prompt": "{{ task_id }} {{ now }}",
            "model": model,
            "limits": { "timeout_seconds": self.timeout_seconds },
        });
        for (name, value) in more.as_object().unwrap() {
            match value.as_object() {
                Some(fields) => definition[name]
                    .as_object_mut()
                    .unwrap()
                    .extend(fields.clone()),
                None => definition[name] = value.clone(),
            }
        }
        definition
    }

    pub(crate) async fn agent(&self, more: Value) -> Agent {
        let made = self
            .manage(Method::POST, "/api/agents", &self.definition(more))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        Agent {
            id: string(&made.body["agent_id"]),
            url: string(&made.body["webhook_url"]),
        }
    }

    /// Triggers as callers do: with the same key until the response is 200.
    pub(crate) async fn trigger(&self, url: &str, key: Option<&str>, payload: &str) -> String {
        self.seen.lock().unwrap().payloads.push(payload.to_owned());
        let path = url.strip_prefix(URL).unwrap();
        for _ in 0..MOST_TRIES {
            let headers = key.map(|key| ("idempotency-key", key.to_owned()));
            match self
                .send(Method::POST, path, headers.as_slice(), payload)
                .await
            {
                Some(answer) if answer.status == 200 => {
                    let task = string(&answer.body["task_id"]);
                    let (key, payload) = (key.map(str::to_owned), payload.to_owned());
                    let accepted = Accepted {
                        key,
                        payload,
                        task: task.clone(),
                    };
                    self.seen.lock().unwrap().accepted.push(accepted);
                    return task;
                }
                Some(answer) => assert_eq!(answer.status, 503, "a trigger: {}", answer.body),
                None => {}
            }
            self.time.forward(Duration::from_secs(1));
        }
        panic!("a trigger was never accepted")
    }

    /// The status of the task, or `None` if there is no such task.
    pub(crate) async fn status(&self, task: &str) -> Option<Value> {
        let path = format!("/api/task_status?task_id={task}");
        for _ in 0..MOST_TRIES {
            match self.send(Method::GET, &path, &[], "").await {
                Some(Answer { status: 200, body }) => {
                    self.seen
                        .lock()
                        .unwrap()
                        .statuses
                        .push((task.to_owned(), body.clone()));
                    return Some(body);
                }
                Some(Answer { status: 404, .. }) => return None,
                Some(answer) => assert_eq!(answer.status, 503, "a status: {}", answer.body),
                None => {}
            }
            self.time.forward(Duration::from_secs(1));
        }
        panic!("a status was never answered")
    }

    /// Manages as administrators do: until there is a response other than 503. A conflict
    /// with an own earlier request is retried.
    pub(crate) async fn manage(&self, method: Method, path: &str, body: &Value) -> Answer {
        let authorization = [("authorization", format!("Bearer {SMALL_ADMIN_TOKEN}"))];
        for _ in 0..MOST_TRIES {
            match self
                .send(method.clone(), path, &authorization, &body.to_string())
                .await
            {
                Some(answer) if answer.status == 409 && answer.body["code"] == "conflict" => {
                    assert!(
                        self.seen.lock().unwrap().unclear,
                        "a conflict without an earlier request"
                    );
                }
                Some(answer) if answer.status != 503 => return answer,
                _ => self.seen.lock().unwrap().unclear = true,
            }
        }
        panic!("{method} {path} was never answered")
    }

    /// Sends one request. Returns `None` if the process died meanwhile.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Option<Answer> {
        let process = self.machines[0].process();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answered = async {
            let response = process.app.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .unwrap();
            Answer {
                status,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            }
        };
        let answer = tokio::select! {
            answer = answered => answer,
            () = process.wire.life.cancelled() => return None,
        };
        assert!(answer.status < 500 || is_a_good_503(&answer), "{answer:?}");
        Some(answer)
    }

    /// Plays the event source mapping until both queues are empty.
    pub(crate) async fn drain(&self) {
        self.drain_by(1).await;
    }

    /// The same with a queue that delivers every message twice at the same time.
    pub(crate) async fn drain_with_twins(&self) {
        self.drain_by(2).await;
    }

    async fn drain_by(&self, copies: usize) {
        for _ in 0..MOST_BATCHES {
            let Some((queue, batch)) = self.batch() else {
                return;
            };
            match copies {
                1 => self.invoke(&self.machines[0], queue, batch).await,
                _ => {
                    let twins = batch
                        .iter()
                        .map(|message| self.wire.sqs.twin(message))
                        .collect();
                    let first = self.invoke(&self.machines[0], queue, batch);
                    tokio::join!(first, self.invoke(&self.machines[1], queue, twins));
                }
            }
        }
        panic!("the queue is never empty")
    }

    /// Receives and runs one batch.
    pub(crate) async fn run_one_batch(&self) {
        let (queue, batch) = self.batch().expect("a message");
        self.invoke(&self.machines[0], queue, batch).await;
    }

    /// The mapping receives a batch and cannot invoke the function, so the messages are
    /// visible again after their visibility timeout. Each receive counts.
    pub(crate) fn throttle_one_batch(&self) {
        let (_, batch) = self.batch().expect("a message");
        assert!(!batch.is_empty());
    }

    /// The next batch. Sets the clock forward if no message is visible.
    fn batch(&self) -> Option<(&'static str, Vec<Received>)> {
        loop {
            for queue in [LIVE, DEAD] {
                let batch = self.wire.sqs.receive(queue, BATCH);
                if !batch.is_empty() {
                    return Some((queue, batch));
                }
            }
            let now = self.time.clock().now();
            self.time.forward(self.wire.sqs.next_visible()?.since(now));
        }
    }

    /// Handles a batch as the agent function's `main` and its mapping do.
    async fn invoke(&self, machine: &Machine, queue: &'static str, batch: Vec<Received>) {
        let process = machine.process();
        let source = if queue == DEAD {
            &process.dead_letters
        } else {
            &process.queue
        };
        let deliveries: Vec<_> = batch
            .iter()
            .map(|message| delivery(message, queue))
            .collect();
        let deadline = self.time.clock().now().plus(INVOCATION);
        let (runner, source) = (Arc::clone(&process.runner), Arc::clone(source));
        let mortal = Mortal::default();
        let run =
            mortal.spawn(async move { run_batch(&runner, &source, deliveries, deadline).await });
        let failed = tokio::select! {
            failed = run => failed.unwrap(),
            () = process.wire.life.cancelled() => return,
        };
        for message in batch.iter().filter(|message| !failed.contains(&message.id)) {
            self.wire.sqs.delete(message);
        }
    }

    /// Sends the message of every ended task again, to both queues.
    pub(crate) fn send_again(&self, tasks: &[TaskSeen]) {
        for task in tasks.iter().filter(|task| task.has_ended()) {
            for queue in [LIVE, DEAD] {
                let group = task.status["agent_id"].clone();
                let message =
                    json!({ "QueueUrl": queue, "MessageBody": task.id, "MessageGroupId": group });
                assert_eq!(self.wire.sqs.call("SendMessage", &message).0, 200);
            }
        }
    }

    /// All tasks that have a record.
    pub(crate) async fn tasks(&self) -> Vec<TaskSeen> {
        let mut tasks = Vec::new();
        for item in self.items("tasks").await {
            let Some(key) = item["id"]["S"].as_str().and_then(TaskKey::from_hex) else {
                continue;
            };
            let created_at = millis(&item["created_at"]).expect("a task has a creation time");
            let id = TaskId::new(created_at, key).to_string();
            let status = self.status(&id).await.expect("a stored task is found");
            tasks.push(TaskSeen { id, item, status });
        }
        tasks.sort_by(|one, other| one.id.cmp(&other.id));
        tasks
    }

    pub(crate) async fn items(&self, table: &str) -> Vec<Value> {
        let scanned = self
            .wire
            .call_dynamodb(
                "Scan",
                json!({ "TableName": table, "ConsistentRead": true }),
            )
            .await;
        assert!(
            scanned.get("LastEvaluatedKey").is_none(),
            "one page holds all"
        );
        scanned["Items"].as_array().unwrap().clone()
    }
}

/// A runtime for one invocation. Dropping it ends the tasks that the invocation spawned.
struct Mortal(Option<Runtime>);

impl Default for Mortal {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }
}

impl Mortal {
    fn spawn<T: Send + 'static>(
        &self,
        run: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0
            .as_ref()
            .expect("it lives until it is dropped")
            .spawn(run)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl TaskSeen {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.status["status"].as_str(), Some("SUCCESS" | "FAILURE"))
    }
}

fn table_of(name: &str) -> Value {
    json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    })
}

pub(crate) fn millis(attribute: &Value) -> Option<Moment> {
    attribute["N"]
        .as_str()?
        .parse()
        .ok()
        .map(Moment::from_millis)
}

fn delivery(message: &Received, queue: &str) -> Delivery {
    assert!(
        !message.group.is_empty(),
        "a message without its agent's group"
    );
    Delivery {
        message_id: message.id.clone(),
        receipt: message.receipt.clone(),
        task: TaskId::parse(&message.body).expect("a message with the id of a task"),
        agent: AgentId::parse(&message.group),
        receives: message.receives,
        dead_lettered: queue == DEAD,
    }
}

/// Errors of AWS give a 503 in the common error format, with a reference.
fn is_a_good_503(answer: &Answer) -> bool {
    let Answer { status, body } = answer;
    let reference = body["reference"].as_str().map(str::len);
    *status == 503
        && body["success"] == false
        && body["code"] == "unavailable"
        && body["message"].is_string()
        && reference == Some(16)
}
