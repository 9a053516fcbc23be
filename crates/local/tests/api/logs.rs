//! The real binary's log, as JSON lines.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use domain::{ClaimRefusal, Ended, ErrorType, Failure, Isolation, TaskId};
use serde_json::{Value, json};
use store::{Claim, EndAbandoned, Finish};
use tempfile::TempDir;

use crate::support::functions::functions;
use crate::support::{ADMIN_TOKEN, FakeModel, Reply, accepted, client, string};

/// The server, and its log until it is stopped.
pub(crate) struct Logging {
    process: Child,
    pub(crate) url: String,
    log: Lines<BufReader<ChildStderr>>,
    _folder: TempDir,
}

impl Logging {
    fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--data-dir",
            ])
            .arg(folder.path().join("data"))
            .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("listening on ")
                    .map(str::to_owned)
            })
            .expect("the server prints its address");
        Self {
            process,
            url,
            log,
            _folder: folder,
        }
    }

    /// Every line until this task ended, without the fields that vary.
    pub(crate) fn lines_until_the_end_of(&mut self, task: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        for line in &mut self.log {
            let line: Value =
                serde_json::from_str(&line.unwrap()).expect("a line is a JSON object");
            let is_last = line["message"] == "task ended" && line["task_id"] == task;
            lines.push(line);
            if is_last {
                break;
            }
        }
        lines
    }

    /// The next line with this message.
    pub(crate) fn line(&mut self, message: &str) -> Value {
        let mut lines = self
            .log
            .by_ref()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines
            .find(|line| line["message"] == message)
            .expect("a line with this message")
    }

    /// Sends the signal of Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn agent(url: &str, model: &FakeModel) -> Value {
    let model = json!({ "base_url": model.url, "name": "m", "api_key": "sk-9f2c41d07b-secret" });
    let request = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN);
    let made = request.json(&json!({ "name": "logged", "prompt": "p-secret", "model": model }));
    made.send().await.unwrap().json().await.unwrap()
}

fn level_message_attempt(line: &Value) -> (&str, &str, &Value) {
    let text = |field: &str| line[field].as_str().unwrap();
    (text("level"), text("message"), &line["attempt"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_can_be_followed_by_its_id_from_the_trigger_to_the_end_and_nothing_secret_is_logged()
{
    let model = FakeModel::start(|call, _| match call {
        0 => Reply::Status(503, vec![]),
        _ => Reply::Text("answer-secret"),
    })
    .await;
    let mut server = Logging::start();
    let made = agent(&server.url, &model).await;
    let (agent_id, webhook) = (string(&made["agent_id"]), string(&made["webhook_url"]));
    let trigger = client()
        .post(&webhook)
        .header("idempotency-key", "key-secret")
        .body(r#"{"a":"payload-secret"}"#);
    let task = accepted(trigger.send().await.unwrap()).await;
    let lines = server.lines_until_the_end_of(&task);

    let about: Vec<&Value> = lines
        .iter()
        .filter(|line| line["task_id"] == task.as_str())
        .collect();
    let logged: Vec<_> = about
        .iter()
        .map(|line| level_message_attempt(line))
        .collect();
    assert_eq!(
        logged,
        [
            ("INFO", "trigger accepted", &Value::Null),
            ("INFO", "attempt started", &json!(1)),
            ("WARN", "model provider returned an error", &json!(1)),
            ("WARN", "model failed", &json!(1)),
            ("WARN", "task released after a transient error", &json!(1)),
            ("INFO", "attempt started", &json!(2)),
            ("INFO", "model replied", &json!(2)),
            ("INFO", "task ended", &json!(2)),
        ]
    );
    for line in &about {
        assert_eq!(line["agent_id"], agent_id.as_str(), "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
    }
    let end = about.last().unwrap();
    assert_eq!(
        (&end["outcome"], &end["input_tokens"], &end["output_tokens"]),
        (&json!("success"), &json!(11), &json!(7))
    );
    let millis = |name: &str| {
        end[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {end}"))
    };
    assert!(
        millis("queue_ms") + millis("run_ms") + 1000 <= millis("total_ms"),
        "a pause of 1 s: {end}"
    );
    assert!(end.get("_aws").is_none(), "metrics are for AWS: {end}");

    let text = Value::from(lines.clone()).to_string();
    let token = webhook.rsplit_once('/').unwrap().1;
    for secret in ["-secret", token, ADMIN_TOKEN] {
        assert!(!text.contains(secret), "the log contains {secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_text_of_a_server_is_logged_only_if_the_operator_wants_it() {
    let model = FakeModel::start(|_, _| {
        let error = json!({ "message": "No: payload-secret, key sk-9f2c41d07b-secret", "param": "messages[0].content",
            "type": "invalid_request_error", "code": "context_length_exceeded" });
        Reply::Refusal(400, json!({ "error": error, "request_id": "req_0123456789" }))
    })
    .await;
    for wanted in ["false", "true"] {
        let mut server = Logging::start_with(&[("AGENT_WEBHOOKS_LOG_SERVER_ERRORS", wanted)]);
        let made = agent(&server.url, &model).await;
        let trigger = client().post(string(&made["webhook_url"])).body("{}");
        let task = accepted(trigger.send().await.unwrap()).await;
        let lines = Value::from(server.lines_until_the_end_of(&task)).to_string();
        assert_eq!(
            lines.contains("payload-secret"),
            wanted == "true",
            "{lines}"
        );
        assert!(!lines.contains("sk-9f2c41d07b"), "{lines}");
        assert!(
            lines.contains(r#""server_request_id":"req_0123456789""#),
            "{lines}"
        );
        let status = format!("{}/api/task_status?task_id={task}", server.url);
        let status: Value = client()
            .get(status)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let detail = json!({ "status": 400, "type": "invalid_request_error", "code": "context_length_exceeded",
            "parameter": "messages[0].content", "request_id": "req_0123456789" });
        assert_eq!(status["error"]["detail"], detail, "{status}");
        assert!(!status.to_string().contains("-secret"), "{status}");
    }
}

#[tokio::test]
async fn a_recorded_end_whose_response_was_lost_is_reported_as_an_end() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let id = accepted(functions.trigger(None).await).await;
    let id = TaskId::parse(&id).unwrap();
    let (tasks, hour) = (&functions.runner.tasks, Duration::from_secs(3600));
    let now = functions.time.clock().now();
    let Claim::Granted(claimed) = tasks
        .claim(id, now, now.plus(hour), 5, Isolation::Shared)
        .await
        .unwrap()
    else {
        panic!("no worker holds it")
    };
    let failure = Failure::permanent(ErrorType::Internal, "x");
    let ended = Ended::without_usage(failure);
    let finish = async |at| tasks.finish(&claimed, &ended, at, hour).await.unwrap();
    assert_eq!(finish(now).await, Finish::Recorded);
    assert_eq!(
        finish(now).await,
        Finish::Recorded,
        "the same request, sent again"
    );
    assert_eq!(
        finish(now.plus(hour)).await,
        Finish::Fenced,
        "another end, too late"
    );

    let lost = accepted(functions.trigger(None).await).await;
    let lost = TaskId::parse(&lost).unwrap();
    let abandoned = Ended::without_usage(Failure::worker_lost());
    let end_abandoned = async |at| {
        tasks
            .end_abandoned(lost, &abandoned, at, hour)
            .await
            .unwrap()
    };
    assert!(matches!(end_abandoned(now).await, EndAbandoned::Ended(_)));
    assert!(
        matches!(end_abandoned(now).await, EndAbandoned::Ended(_)),
        "the same request, sent again"
    );
    assert!(matches!(
        end_abandoned(now.plus(hour)).await,
        EndAbandoned::Refused(ClaimRefusal::Ended)
    ));
}
