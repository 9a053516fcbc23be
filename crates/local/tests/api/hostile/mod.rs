//! Callers who mean no good, over bare sockets. Each test ends by seeing that
//! the server still serves, and that no task came of what was refused.

mod bodies;
mod crowds;
mod heads;
mod models;
mod slow;

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use local::serve::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Agent, FakeModel, World};

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with one agent.
struct Site {
    world: World,
    agent: Agent,
    model: FakeModel,
    /// The path of the agent's webhook.
    path: String,
}

/// What came back until the server closed the connection.
struct Heard(String);

impl Site {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Settings)) -> Self {
        let model = FakeModel::saying("Done.").await;
        let world = World::start_with(change).await;
        let agent = world.agent(&model, json!({})).await;
        let path = agent.url.replace(&world.url, "");
        Self { world, agent, model, path }
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

    /// The server serves, and only `tasks` tasks came of all that was before.
    async fn closes_unharmed(self, tasks: usize) {
        let ended = self.world.run(&self.agent, r#""afterwards""#).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        // Earlier tasks may take longer than this last one.
        self.model.asked_at_least(tasks + 1).await;
        assert_eq!(self.world.restart().await.resumed(), 0, "a task was stored and never queued");
        let asked = self.model.asked();
        let users: Vec<&str> = asked.iter().map(crate::support::model::Asked::user).collect();
        assert_eq!(users.len(), tasks + 1, "{users:?}");
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
