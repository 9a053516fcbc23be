//! Hostile callers, over bare sockets. Each test ends with the assertions that
//! other callers were not affected meanwhile, that the server still serves, and
//! that no task was created by a refused request.

mod bodies;
mod crowds;
mod definitions;
mod echoes;
mod egress;
mod endless;
mod folder;
mod heads;
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

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much later others may be answered. These attacks are short, so that their
/// p99 is the slowest of a few calls, and the test's own work is in the same process.
const SHORT_ATTACK_LIMIT: Duration = Duration::from_millis(300);

/// A server with one agent, in this process and on threads of its own.
struct Site {
    world: World,
    agent: Agent,
    model: FakeModel,
    /// The path of the agent's webhook.
    path: String,
    /// Another agent's caller, unless the limits leave no room for one.
    others: Option<(Bystander, Watch)>,
    runtime: ServerRuntime,
}

/// Has the server's threads, which end with it.
struct ServerRuntime(Option<Runtime>);

/// What came back until the server closed the connection.
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

    /// With limits that are too low for the calls of others.
    async fn open_unwatched_with(change: impl FnOnce(&mut Settings) + Send + 'static) -> Self {
        let model = FakeModel::saying("Done.").await;
        let runtime = ServerRuntime::new();
        let world = runtime.run(World::start_with(change)).await;
        let agent = world.agent(&model, json!({})).await;
        let path = agent.url.replace(&world.url, "");
        Self { world, agent, model, path, others: None, runtime }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.world.url.trim_start_matches("http://")).await.unwrap()
    }

    /// A trigger with these header lines, each ended, and this body.
    fn post(&self, headers: &str, body: &str) -> String {
        format!("POST {} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}", self.path)
    }

    /// Sends `bytes` on a connection of their own and listens to its end.
    async fn hear(&self, bytes: impl AsRef<[u8]>) -> Heard {
        let mut stream = self.connect().await;
        // The server may have heard enough before the end.
        let _ = stream.write_all(bytes.as_ref()).await;
        listen(&mut stream).await
    }

    /// Others were not affected, the server serves, and only `tasks` tasks were created.
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
        let users: Vec<&str> = asked.iter().map(crate::support::model::Asked::user).collect();
        assert_eq!(users.len(), tasks + 1, "{users:?}");
    }
}

impl ServerRuntime {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
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
    /// The status of the first answer, 0 if there was none.
    fn status(&self) -> u16 {
        let first = self.0.strip_prefix("HTTP/1.1 ").or(self.0.strip_prefix("HTTP/1.0 "));
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

    /// The code of the only answer, which must have the shape of every error.
    fn code(&self) -> String {
        let body = self.0.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{}", self.0));
        assert_eq!(body["success"], false, "{body}");
        assert!(body["message"].is_string(), "{body}");
        crate::support::string(&body["code"])
    }
}

/// Zeros as gzip, a thousandth of their length.
fn bomb(zeros: usize) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; zeros]).unwrap();
    packer.finish().unwrap()
}

/// Everything until the server closes.
async fn listen(stream: &mut TcpStream) -> Heard {
    let mut heard = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("the server closes");
    if let Err(error) = ended {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    Heard(String::from_utf8_lossy(&heard).into_owned())
}
