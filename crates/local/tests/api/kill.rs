//! The real binary, killed.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::stream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ADMIN_TOKEN, FakeModel, Reply, client, redaction, string};

const TRIGGERS: usize = 200;

/// The real binary as a child process.
pub(crate) struct Killable {
    pub(crate) process: Child,
    pub(crate) url: String,
}

impl Killable {
    fn start(folder: &Path) -> Self {
        Self::start_with(&mut serve(folder))
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let url = lines
            .find_map(listening)
            .expect("the server prints its address");
        Self { process, url }
    }

    pub(crate) fn kill(&mut self) {
        // Sends SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn serve(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdout(Stdio::piped())
        .stderr(redaction::spawned_log());
    command
}

/// The output of a server that is expected not to start.
fn refused(folder: &Path) -> Output {
    let mut process = serve(folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    if let Some(url) = lines.find_map(listening) {
        process.kill().unwrap();
        panic!("a second server in the folder listens on {url}");
    }
    process.wait_with_output().unwrap()
}

fn listening(line: String) -> Option<String> {
    line.strip_prefix("listening on ").map(str::to_owned)
}

pub(crate) async fn agent(url: &str, model: &FakeModel) -> String {
    limited_agent(url, model, json!({})).await
}

async fn limited_agent(url: &str, model: &FakeModel, limits: Value) -> String {
    let model = json!({ "base_url": model.url, "name": "m" });
    let made: Value = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({ "name": "killed", "model": model, "limits": limits }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    redaction::secret("admin token", ADMIN_TOKEN);
    redaction::webhook(&string(&made["webhook_url"]));
    string(&made["webhook_url"]).replace(url, "")
}

async fn status(url: &str, task: &str) -> Option<Value> {
    client()
        .get(format!("{url}/api/task_status?task_id={task}"))
        .send()
        .await
        .ok()?
        .json()
        .await
        .ok()
}

pub(crate) async fn ended(url: &str, task: &str) -> Value {
    for _ in 0..3000 {
        let status = status(url, task).await.unwrap();
        if status["finished_at"].is_string() {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{task} does not end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_answered_200_before_a_kill_ends_with_success_after_the_restart() {
    for kill_after in [1, 60, 150] {
        let folder = TempDir::new().unwrap();
        let server = Mutex::new(Killable::start(folder.path()));
        let url = server.lock().unwrap().url.clone();
        let model = FakeModel::saying("x").await;
        let path = agent(&url, &model).await;
        let answered = AtomicUsize::new(0);
        let send = async |n: usize| {
            let request = client().post(format!("{url}{path}")).body(n.to_string());
            let response: Value = request.send().await.ok()?.json().await.ok()?;
            if answered.fetch_add(1, Ordering::SeqCst) + 1 == kill_after {
                server.lock().unwrap().kill();
            }
            Some((n, response["task_id"].as_str()?.to_owned()))
        };
        let tasks: Vec<(usize, String)> = stream::iter(0..TRIGGERS)
            .map(send)
            .buffer_unordered(16)
            .filter_map(async |id| id)
            .collect()
            .await;
        assert!(
            (kill_after..TRIGGERS).contains(&tasks.len()),
            "{} answered",
            tasks.len()
        );

        let restarted = Killable::start(folder.path());
        let mut attempts = 0;
        for (n, task) in &tasks {
            let ended = ended(&restarted.url, task).await;
            assert_eq!(ended["status"], "SUCCESS", "{ended}");
            let runs = model
                .asked()
                .iter()
                .filter(|asked| asked.user() == n.to_string())
                .count() as u64;
            let attempt = ended["attempt"].as_u64().unwrap();
            assert!(
                (1..=attempt).contains(&runs),
                "{task}: {runs} runs in {attempt} attempts"
            );
            attempts += attempt;
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
    let model = FakeModel::saying("x").await;
    let path = agent(&server.url, &model).await;
    let mut before = Vec::new();
    for n in 0..20 {
        let request = client()
            .post(format!("{}{path}", server.url))
            .body(n.to_string());
        let accepted: Value = request.send().await.unwrap().json().await.unwrap();
        let task = string(&accepted["task_id"]);
        before.push((ended(&server.url, &task).await, task));
    }
    server.kill();
    let restarted = Killable::start(folder.path());
    for (old, task) in &before {
        assert_eq!(old, &status(&restarted.url, task).await.unwrap());
    }
    // A later task has run, so none of their messages is queued any more.
    let request = client().post(format!("{}{path}", restarted.url)).body("{}");
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    ended(&restarted.url, &string(&accepted["task_id"])).await;
    assert_eq!(model.asked().len(), before.len() + 1, "each was run once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_slot_in_use_at_a_kill_is_free_after_the_restart() {
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start(folder.path());
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Never
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let path = limited_agent(&server.url, &model, json!({ "max_concurrent_runs": 1 })).await;
    let accepted = client()
        .post(format!("{}{path}", server.url))
        .body("{}")
        .send()
        .await
        .unwrap();
    let task = string(&accepted.json::<Value>().await.unwrap()["task_id"]);
    while model.asked().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.kill();
    let restarted = Killable::start(folder.path());
    assert_eq!(ended(&restarted.url, &task).await["status"], "SUCCESS");
}

#[tokio::test]
async fn a_folder_whose_first_start_was_killed_at_any_moment_can_be_used() {
    // A first start takes about 50 ms here. The last of these delays lets a slow one finish.
    for killed_after_ms in (0..80).step_by(2) {
        let folder = TempDir::new().unwrap();
        let mut first = serve(folder.path()).spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(killed_after_ms)).await;
        first.kill().unwrap();
        first.wait().unwrap();
        let second = Killable::start(folder.path());
        let made = client()
            .get(format!("{}/api/agents", second.url))
            .bearer_auth(ADMIN_TOKEN)
            .send()
            .await;
        assert_eq!(
            made.unwrap().status(),
            200,
            "killed after {killed_after_ms} ms"
        );
    }
}

#[tokio::test]
async fn two_servers_cannot_share_a_folder() {
    let folder = TempDir::new().unwrap();
    let _first = Killable::start(folder.path());
    let second = refused(folder.path());
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another server is running"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_not_shared_with_a_server_that_is_still_stopping() {
    let folder = TempDir::new().unwrap();
    // The collector accepts connections and never responds, so the last export delays the end.
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let mut command = serve(folder.path());
    let mut process = command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let url = lines.find_map(listening).unwrap();
    let mut server = Killable { process, url };
    let model = FakeModel::saying("x").await;
    let path = agent(&server.url, &model).await;
    let accepted = client()
        .post(format!("{}{path}", server.url))
        .body("{}")
        .send()
        .await
        .unwrap();
    let task = string(&accepted.json::<Value>().await.unwrap()["task_id"]);
    ended(&server.url, &task).await;

    kill_process(Pid::from_child(&server.process), Signal::INT).unwrap();
    assert!(lines.any(|line| line == "stopped"));
    let second = refused(folder.path());
    assert!(
        server.process.try_wait().unwrap().is_none(),
        "the first server ended too early for this test"
    );
    assert_eq!(second.status.code(), Some(1));
    assert!(server.process.wait().unwrap().success());
    Killable::start(folder.path());
}
