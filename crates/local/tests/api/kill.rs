//! The real binary, killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ADMIN_TOKEN, client, string};

const TRIGGERS: usize = 200;

struct Killable {
    process: Child,
    url: String,
}

impl Killable {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines
            .find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned))
            .expect("the server says where it listens");
        Self { process, url }
    }

    fn kill(&mut self) {
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn agent(url: &str) -> String {
    let sources = json!([{ "title": "Doc", "text": "The answer is in here." }]);
    let made: Value = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({ "name": "extractive", "sources": sources }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    string(&made["webhook_url"]).replace(url, "")
}

async fn status(url: &str, task: &str) -> Option<Value> {
    client().get(format!("{url}/api/task_status?task_id={task}")).send().await.ok()?.json().await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_200_before_a_kill_ends_success_after_the_restart() {
    for kill_after in [1, 60, 150] {
        let folder = TempDir::new().unwrap();
        let server = Mutex::new(Killable::start(folder.path()));
        let url = server.lock().unwrap().url.clone();
        let path = agent(&url).await;
        let answered = AtomicUsize::new(0);
        let send = async |n: usize| {
            let request =
                client().post(format!("{url}{path}")).body(format!("{{\"q\":\"the answer\",\"n\":{n}}}"));
            let response: Value = request.send().await.ok()?.json().await.ok()?;
            if answered.fetch_add(1, Ordering::SeqCst) + 1 == kill_after {
                server.lock().unwrap().kill();
            }
            response["task_id"].as_str().map(str::to_owned)
        };
        let tasks: Vec<String> = stream::iter(0..TRIGGERS)
            .map(send)
            .buffer_unordered(16)
            .filter_map(async |id| id)
            .collect()
            .await;
        assert!((kill_after..TRIGGERS).contains(&tasks.len()), "{} answered", tasks.len());

        let restarted = Killable::start(folder.path());
        let mut attempts = 0;
        for task in &tasks {
            let ended = loop {
                let status = status(&restarted.url, task).await.unwrap();
                if status["finished_at"].is_string() {
                    break status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            };
            assert_eq!(ended["status"], "SUCCESS", "{ended}");
            attempts += ended["attempt"].as_u64().unwrap();
        }
        println!(
            "killed after {kill_after} answers: {} tasks accepted, all SUCCESS, {attempts} attempts",
            tasks.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ended_before_a_kill_is_not_run_again() {
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start(folder.path());
    let path = agent(&server.url).await;
    let mut before = Vec::new();
    for n in 0..20 {
        let request = client()
            .post(format!("{}{path}", server.url))
            .body(format!("{{\"q\":\"the answer\",\"n\":{n}}}"));
        let accepted: Value = request.send().await.unwrap().json().await.unwrap();
        let task = string(&accepted["task_id"]);
        before.push((status(&server.url, &task).await.unwrap(), task));
    }
    server.kill();
    let restarted = Killable::start(folder.path());
    let mut kept = 0;
    for (old, task) in &before {
        let new = status(&restarted.url, task).await.unwrap();
        if old["finished_at"].is_string() {
            assert_eq!(old, &new);
            kept += 1;
        }
    }
    println!("{kept} of {} had ended before the kill and read the same after it", before.len());
}

#[tokio::test]
async fn two_servers_cannot_share_a_folder() {
    let folder = TempDir::new().unwrap();
    let _first = Killable::start(folder.path());
    let second = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another server is running"), "{message}");
}
