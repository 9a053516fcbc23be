//! A server on a new folder, a fake model, and the requests of a caller.

pub(crate) mod api;
pub(crate) mod collector;
pub(crate) mod formats;
pub(crate) mod functions;
pub(crate) mod mcp;
pub(crate) mod model;
pub(crate) mod others;
pub(crate) mod pdf;
pub(crate) mod plan;
pub(crate) mod redaction;
pub(crate) mod secrets_manager;
pub(crate) mod sqs;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Moment;
use local::cli::{LogFormat, ServeArgs};
use local::serve::{Server, Settings};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use store::Clock;
use store::env::Env;
use tempfile::TempDir;

pub(crate) use api::FakeApi;
pub(crate) use model::{FakeModel, Reply};

/// The command, as built for these tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_agent-webhooks");
pub(crate) const ADMIN_TOKEN: &str = "an-admin-token-for-tests";

/// A running server and its folder.
pub(crate) struct World {
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) time: Time,
    server: Server,
    resumed: usize,
    folder: TempDir,
}

/// A clock that can be set forward.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    origin: Clock,
    ahead: Arc<AtomicU64>,
}

/// An agent of a test.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) url: String,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            origin: Clock::system(),
            ahead: Arc::default(),
        }
    }
}

impl Time {
    /// Stands still in 1970, so that for the engine every expiry time is in the past.
    pub(crate) fn long_ago() -> Self {
        Self {
            origin: Clock::new(|| Moment::from_millis(1_000_000)),
            ahead: Arc::default(),
        }
    }

    pub(crate) fn forward(&self, by: Duration) {
        self.ahead
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let (ahead, origin) = (Arc::clone(&self.ahead), self.origin.clone());
        Clock::new(move || {
            origin
                .now()
                .plus(Duration::from_millis(ahead.load(Ordering::SeqCst)))
        })
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change).await
    }

    /// On the folder `data` in `folder`.
    pub(crate) async fn start_in(folder: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let args = ServeArgs {
            listen: "127.0.0.1:0".to_owned(),
            data_dir: folder.path().join("data"),
            public_url: None,
            log_format: LogFormat::Text,
        };
        redaction::record_log();
        redaction::secret("admin token", ADMIN_TOKEN);
        let time = Time::default();
        let mut settings = Settings::from_env(&Env::from_fn(|_| None)).unwrap();
        settings.admin_token = Some(ADMIN_TOKEN.to_owned());
        settings.program = PROGRAM.into();
        settings.clock = time.clock();
        change(&mut settings);
        let mut server = Server::start(&args, settings).await.unwrap();
        let resumed = server.resume().await.unwrap();
        let signing_secret = std::fs::read_to_string(args.data_dir.join("signing-secret")).unwrap();
        redaction::secret("signing secret", &signing_secret);
        Self {
            http: client(),
            url: server.url.clone(),
            time,
            server,
            resumed,
            folder,
        }
    }

    /// Stops the server and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.server.stop().await.unwrap();
        Self::start_in(self.folder, |_| {}).await
    }

    /// The number of unfinished tasks that the start found.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed
    }

    pub(crate) fn secrets_file(&self) -> std::path::PathBuf {
        self.folder.path().join("data/secrets.json")
    }

    /// Stores a secret in the server's file.
    pub(crate) async fn store_secret(&self, name: &str, secret: &str) {
        store::Secrets::file(self.secrets_file())
            .put(name, secret)
            .await
            .unwrap();
    }

    pub(crate) fn manage(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(ADMIN_TOKEN)
    }

    /// An agent that calls `model`, with additional fields.
    pub(crate) async fn agent(&self, model: &FakeModel, mut definition: Value) -> Agent {
        definition["model"] = json!({ "base_url": model.url, "name": "test-model" });
        self.agent_as(definition).await
    }

    pub(crate) async fn agent_as(&self, mut definition: Value) -> Agent {
        if definition.get("name").is_none() {
            definition["name"] = json!("tested");
        }
        let response = self
            .manage(Method::POST, "/api/agents")
            .json(&definition)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let made: Value = response.json().await.unwrap();
        assert_eq!(status, 201, "{made}");
        redaction::definition(&definition);
        redaction::webhook(&string(&made["webhook_url"]));
        Agent {
            id: string(&made["agent_id"]),
            url: string(&made["webhook_url"]),
        }
    }

    /// Triggers with a JSON body and returns the task's id.
    pub(crate) async fn trigger(&self, agent: &Agent, payload: &str) -> String {
        accepted(self.post(agent, payload).send().await.unwrap()).await
    }

    pub(crate) fn post(&self, agent: &Agent, payload: &str) -> RequestBuilder {
        redaction::payload(payload.as_bytes());
        self.http
            .post(&agent.url)
            .header("content-type", "application/json")
            .body(payload.to_owned())
    }

    pub(crate) async fn status_response(&self, task: &str) -> Response {
        self.http
            .get(format!("{}/api/task_status?task_id={task}", self.url))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self, task: &str) -> Value {
        self.status_response(task).await.json().await.unwrap()
    }

    /// The status once the task has ended.
    pub(crate) async fn ended(&self, task: &str) -> Value {
        self.until(task, |status| status == "SUCCESS" || status == "FAILURE")
            .await
    }

    /// The status once it is as wanted. Waits up to 30 seconds.
    pub(crate) async fn until(&self, task: &str, wanted: impl Fn(&str) -> bool) -> Value {
        for _ in 0..1500 {
            let status = self.status(task).await;
            if wanted(status["status"].as_str().unwrap_or_default()) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "{task} did not reach the wanted status: {}",
            self.status(task).await
        )
    }

    /// Triggers and waits for the end.
    pub(crate) async fn run(&self, agent: &Agent, payload: &str) -> Value {
        let task = self.trigger(agent, payload).await;
        self.ended(&task).await
    }
}

/// The task id of an accepted trigger.
pub(crate) async fn accepted(response: Response) -> String {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["success"], true, "{body}");
    string(&body["task_id"])
}

/// The message and the code of a refusal, which must have the common error format.
pub(crate) async fn refused(response: Response, status: u16) -> (String, String) {
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["success"], false, "{body}");
    (string(&body["message"]), string(&body["code"]))
}

pub(crate) fn string(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
        .to_owned()
}

pub(crate) fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}
