//! Hostile callers, over bare sockets. At the end, each test asserts that other callers
//! were not affected, that the server still works, and that no refused request created a
//! task.

mod bodies;
mod crowds;
mod definitions;
mod echoes;
mod egress;
mod endless;
mod folder;
mod headers;
mod lost;
mod models;
mod others;
mod prompts;
mod replies;
mod slow;

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use local::serve::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::others::{Bystander, Watch};
use crate::support::{Agent, FakeModel, World};

/// Longer than any step of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much slower responses to others may become. These attacks are short, so the p99 is
/// the slowest of a few calls, and the test's own work is in the same process.
const SHORT_ATTACK_LIMIT: Duration = Duration::from_millis(300);

/// A server with one agent, in this process and on separate threads.
struct Site {
    world: World,
    agent: Agent,
    model: FakeModel,
    /// The path of the agent's webhook.
    path: String,
    /// Another agent's caller, unless the limits are too low for one.
    others: Option<(Bystander, Watch)>,
    runtime: ServerRuntime,
}

/// The threads of the server. Dropping it ends them.
struct ServerRuntime(Option<Runtime>);

/// The bytes of the server until it closed the connection.
struct Heard(String);

impl Site {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Settings) + Send + 'static) -> Self {
        let mut site = Self::open_unwatched_with(change).await;
        let bystander = Bystander::start(&site.world.url).await;
        let watch = bystander.watch();
        site.others = Some((bystander, watch));
        site
    }

    /// Without calls of others, because the limits are too low for them.
    async fn open_unwatched_with(change: impl FnOnce(&mut Settings) + Send + 'static) -> Self {
        let model = FakeModel::saying("Done.").await;
        let runtime = ServerRuntime::new();
        let world = runtime.run(World::start_with(change)).await;
        let agent = world.agent(&model, json!({})).await;
        let path = agent.url.replace(&world.url, "");
        Self {
            world,
            agent,
            model,
            path,
            others: None,
            runtime,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.world.url.trim_start_matches("http://"))
            .await
            .unwrap()
    }

    /// A trigger with these header lines, each with its line end, and this body.
    fn post(&self, headers: &str, body: &str) -> String {
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}",
            self.path
        )
    }

    /// Sends `bytes` on a new connection and reads until it is closed.
    async fn hear(&self, bytes: impl AsRef<[u8]>) -> Heard {
        let mut stream = self.connect().await;
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(bytes.as_ref()).await;
        listen(&mut stream).await
    }

    /// Asserts that others were not affected, the server works, and only `tasks` tasks were created.
    async fn closes_unharmed(self, tasks: usize) {
        if let Some((_bystander, watch)) = self.others {
            watch.finish_within(SHORT_ATTACK_LIMIT).await;
        }
        let ended = self.world.run(&self.agent, r#""afterwards""#).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        // Earlier tasks may take longer than this last one.
        self.model.asked_at_least(tasks + 1).await;
        let restarted = self.runtime.run(self.world.restart()).await;
        assert_eq!(restarted.resumed(), 0, "a task was stored and never queued");
        let asked = self.model.asked();
        let users: Vec<&str> = asked
            .iter()
            .map(crate::support::model::Asked::user)
            .collect();
        assert_eq!(users.len(), tasks + 1, "{users:?}");
    }
}

impl ServerRuntime {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.0.as_ref().unwrap().spawn(work).await.unwrap()
    }
}

impl Drop for ServerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Heard {
    /// The status of the first response, or 0 if there was none.
    fn status(&self) -> u16 {
        let first = self
            .0
            .strip_prefix("HTTP/1.1 ")
            .or(self.0.strip_prefix("HTTP/1.0 "));
        first.map_or(0, |rest| rest[..3].parse().unwrap())
    }

    /// The task of an accepted trigger.
    fn task(&self) -> String {
        let body = self.0.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{}", self.0));
        crate::support::string(&body["task_id"])
    }

    fn answers(&self) -> usize {
        self.0.matches("HTTP/1.").count()
    }

    /// The code of the only response, which must have the common error format.
    fn code(&self) -> String {
        let body = self.0.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{}", self.0));
        assert_eq!(body["success"], false, "{body}");
        assert!(body["message"].is_string(), "{body}");
        crate::support::string(&body["code"])
    }
}

/// Zeros as gzip, compressed to a thousandth of their length.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; zeros]).unwrap();
    packer.finish().unwrap()
}

/// Reads until the server closes the connection.
async fn listen(stream: &mut TcpStream) -> Heard {
    let mut heard = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut heard))
        .await
        .expect("the server closes");
    if let Err(error) = ended {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    Heard(String::from_utf8_lossy(&heard).into_owned())
}
