//! "Others unaffected": the assertion that every hostile test shares.
//!
//! A [`Site`] is the real `agent-webhooks serve` as a child process, with one
//! agent (the bystander) that has nothing to do with the attack. While the test
//! attacks the site, a [`Watch`] calls `GET /api/health` and the bystander's
//! webhook at a fixed rate, each on a new connection, as any other caller does.
//! A [`Bystander`] does the same to any other server, such as one in process.
//!
//! ```ignore
//! let site = Site::start().await;
//! let watch = site.watch();
//! attack(&site.url).await;
//! watch.finish().await; // latency, refusals, the bystander's tasks
//! site.assert_memory_below(200 * MIB);
//! site.assert_stops_in_time().await;
//! ```
//!
//! The bystander's model, its caller and a control server run on their own threads, so
//! that an attack that keeps the test's runtime busy is not measured. Other work on the
//! machine must not fail the test either. The limit is therefore raised by the duration
//! of the same calls right before the attack, or by a multiple of the response time of
//! the control server, which only syncs a byte to disk. On an idle machine, these are a
//! few milliseconds. Only one site runs at a time in a test binary.
//!
//! To measure another build, set `AGENT_WEBHOOKS_TEST_PROGRAM` to its file. Run a test
//! with `--show-output` to see the figures.

#![expect(
    clippy::print_stdout,
    reason = "the figures of a test are part of its output"
)]

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::{ADMIN_TOKEN, Agent, FakeModel, PROGRAM, client, redaction, string};

pub(crate) const MIB: u64 = 1024 * 1024;

/// How much slower the p99 of calls of others may become.
const LIMIT: Duration = Duration::from_millis(100);
/// The same for a debug build, which takes several times the processor time.
const DEBUG_LIMIT: Duration = Duration::from_millis(200);
/// How often a trigger waits for a processor, for each time that a call to the control server does.
const CONTROLS: u32 = 3;
/// Interval of the rounds of calls. A round is a health check and a trigger.
const EVERY: Duration = Duration::from_millis(40);
/// Duration of the calls before the attack.
const QUIET: Duration = Duration::from_secs(1);
/// A call without a response after this time counts as refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// The bystander's tasks end within this after the attack.
const TASKS_END_WITHIN: Duration = Duration::from_secs(20);
/// After SIGTERM: 10 s for runs in progress, 1 s for connections, and a margin.
const STOPS_WITHIN: Duration = Duration::from_secs(13);

/// Concurrent attacks would affect each other's measurement.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A server as a child process, and an agent that is not attacked.
pub(crate) struct Site {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    pub(crate) pid: u32,
    process: Child,
    bystander: Bystander,
    _folder: TempDir,
}

/// How the server is started.
#[derive(Default)]
pub(crate) struct Start {
    /// More environment variables.
    pub(crate) env: Vec<(&'static str, String)>,
    /// More arguments of `serve`.
    pub(crate) args: Vec<String>,
    /// Limit of the process's address space, in bytes (`ulimit -v`).
    pub(crate) address_space: Option<u64>,
}

/// An agent that is not attacked, with separate threads for its caller, its model and
/// the control server.
pub(crate) struct Bystander {
    url: String,
    agent: Agent,
    model: FakeModel,
    control: String,
    quiet: Option<Figures>,
    runtime: Option<Runtime>,
    _alone: MutexGuard<'static, ()>,
}

/// Calls of others in progress.
pub(crate) struct Watch {
    stop: oneshot::Sender<()>,
    rounds: JoinHandle<Vec<Round>>,
    url: String,
    /// The figures without an attack.
    quiet: Option<Figures>,
}

/// What others experienced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) health: Latency,
    pub(crate) trigger: Latency,
    /// The same calls to a server that only syncs a byte to disk.
    pub(crate) control: Latency,
}

/// Of a number of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) calls: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

/// One call of each kind, and how long each took until the last byte of its response.
struct Round {
    health: Duration,
    trigger: Duration,
    control: Duration,
    /// The task, or the error.
    accepted: Result<String, String>,
    healthy: Result<(), String>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(Start::default()).await
    }

    pub(crate) async fn start_with(start: Start) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let folder = TempDir::new().unwrap();
        let mut process = command(&start, &folder).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let url = url.expect("the server prints its address");
        // A full pipe would block the server.
        std::thread::spawn(move || lines.for_each(drop));
        let bystander = Bystander::start_alone(&url, alone).await;
        Self {
            url,
            pid: process.id(),
            process,
            bystander,
            _folder: folder,
        }
    }

    /// Another agent, for the attack. `definition` has its own model.
    pub(crate) async fn agent(&self, definition: Value) -> Agent {
        create_agent(&self.url, definition).await
    }

    /// The `model` field of a definition that uses the bystander's model.
    pub(crate) fn quiet_model(&self) -> Value {
        self.bystander.model_setting()
    }

    pub(crate) fn manage(&self, method: Method, path: &str) -> RequestBuilder {
        client()
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(ADMIN_TOKEN)
    }

    /// The status of a task once it has ended.
    pub(crate) async fn ended(&self, task: &str, within: Duration) -> Value {
        ended(&client(), &self.url, task, Instant::now() + within).await
    }

    /// See [`Bystander::watch`].
    pub(crate) fn watch(&self) -> Watch {
        self.bystander.watch()
    }

    /// See [`Bystander::watch_from`].
    pub(crate) fn watch_from(&self, address: IpAddr) -> Watch {
        self.bystander.watch_from(address)
    }

    /// Waits for a child process of the server.
    pub(crate) async fn child_process(&self) -> Pid {
        let children = format!("/proc/{0}/task", self.pid);
        let started = Instant::now();
        loop {
            let threads = std::fs::read_dir(&children)
                .expect("it is running")
                .flatten();
            let mut lists = threads
                .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
            let child = lists.find_map(|list| list.split_whitespace().next()?.parse().ok());
            if let Some(child) = child.and_then(Pid::from_raw) {
                return child;
            }
            assert!(started.elapsed() < PATIENCE, "the server starts no child");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The peak memory of the process (`VmHWM`), in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The current address space of the process (`VmSize`), in bytes.
    pub(crate) fn address_space(&self) -> u64 {
        self.memory("VmSize:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it is running");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    pub(crate) fn assert_memory_below(&self, budget: u64) {
        let peak = self.peak_memory();
        println!("peak memory: {} MiB of {} MiB", peak / MIB, budget / MIB);
        assert!(
            peak < budget,
            "the server held {} MiB of at most {} MiB",
            peak / MIB,
            budget / MIB
        );
    }

    /// Asserts that SIGTERM ends the process with success and in time.
    pub(crate) async fn assert_stops_in_time(mut self) {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        while started.elapsed() < STOPS_WITHIN {
            if let Some(status) = self.process.try_wait().unwrap() {
                println!("stopped after {:?}", started.elapsed());
                assert!(status.success(), "the server ended with {status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("SIGTERM did not end the server within {STOPS_WITHIN:?}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Watch {
    /// Ends the calls and asserts that others were not affected.
    pub(crate) async fn finish(self) -> Figures {
        let is_debug =
            cfg!(debug_assertions) && std::env::var_os("AGENT_WEBHOOKS_TEST_PROGRAM").is_none();
        self.finish_within(if is_debug { DEBUG_LIMIT } else { LIMIT })
            .await
    }

    /// The same with another limit.
    pub(crate) async fn finish_within(self, limit: Duration) -> Figures {
        let quiet = self.quiet.unwrap();
        let figures = self.end().await;
        println!("others before: {quiet}");
        println!("others during: {figures}");
        let limit = |before: Latency| limit + before.p99.max(CONTROLS * figures.control.p99);
        let (health, trigger) = (limit(quiet.health), limit(quiet.trigger));
        assert!(
            figures.health.p99 < health,
            "health is slow for others (limit {health:?}): {figures}"
        );
        assert!(
            figures.trigger.p99 < trigger,
            "triggers are slow for others (limit {trigger:?}): {figures}"
        );
        figures
    }

    /// Returns the figures without asserting the latency. Asserts that no call was refused,
    /// and that every task of the bystander ends with SUCCESS.
    async fn end(self) -> Figures {
        let _ = self.stop.send(());
        let rounds = self.rounds.await.unwrap();
        let figures = Figures {
            health: Latency::from_durations(rounds.iter().map(|round| round.health)),
            trigger: Latency::from_durations(rounds.iter().map(|round| round.trigger)),
            control: Latency::from_durations(rounds.iter().map(|round| round.control)),
        };
        let unhealthy: Vec<_> = rounds
            .iter()
            .filter_map(|round| round.healthy.as_ref().err())
            .collect();
        assert!(
            unhealthy.is_empty(),
            "health was refused to others: {unhealthy:?}; {figures}"
        );
        let refused: Vec<_> = rounds
            .iter()
            .filter_map(|round| round.accepted.as_ref().err())
            .collect();
        assert!(
            refused.is_empty(),
            "triggers of others were refused: {refused:?}; {figures}"
        );
        let (http, deadline) = (client(), Instant::now() + TASKS_END_WITHIN);
        for task in rounds
            .iter()
            .filter_map(|round| round.accepted.as_ref().ok())
        {
            let ended = ended(&http, &self.url, task, deadline).await;
            assert_eq!(ended["status"], "SUCCESS", "a task of others: {ended}");
        }
        figures
    }
}

impl Bystander {
    /// Of the server at `url`, whose admin token is [`ADMIN_TOKEN`].
    pub(crate) async fn start(url: &str) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        Self::start_alone(url, alone).await
    }

    async fn start_alone(url: &str, alone: MutexGuard<'static, ()>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let model = runtime
            .spawn(FakeModel::saying("Nothing to report."))
            .await
            .unwrap();
        let control = runtime.spawn(control_server()).await.unwrap();
        let definition =
            json!({ "name": "bystander", "model": { "base_url": model.url, "name": "m" } });
        let agent = create_agent(url, definition).await;
        let url = url.to_owned();
        let runtime = Some(runtime);
        let mut bystander = Self {
            url,
            agent,
            model,
            control,
            quiet: None,
            runtime,
            _alone: alone,
        };
        let watch = bystander.watch();
        tokio::time::sleep(QUIET).await;
        bystander.quiet = Some(watch.end().await);
        bystander
    }

    fn model_setting(&self) -> Value {
        json!({ "base_url": self.model.url, "name": "m" })
    }

    /// Calls health and the bystander's webhook until [`Watch::finish`]. The calls
    /// come from the same address as the attack's do.
    pub(crate) fn watch(&self) -> Watch {
        self.watch_from(Ipv4Addr::LOCALHOST.into())
    }

    /// The same from another address, such as 127.0.0.2.
    pub(crate) fn watch_from(&self, address: IpAddr) -> Watch {
        let (stop, stopped) = oneshot::channel();
        let caller = Caller {
            client: one_call_per_connection(address),
            health: format!("{}/api/health", self.url),
            webhook: self.agent.url.clone(),
            control: self.control.clone(),
        };
        let rounds = self
            .runtime
            .as_ref()
            .unwrap()
            .spawn(caller.call_until(stopped));
        Watch {
            stop,
            rounds,
            url: self.url.clone(),
            quiet: self.quiet,
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sends the calls of one watch.
#[derive(Clone)]
struct Caller {
    client: Client,
    health: String,
    webhook: String,
    control: String,
}

impl Caller {
    /// Starts a round now and at every tick, also if earlier rounds have no response yet.
    async fn call_until(self, mut stopped: oneshot::Receiver<()>) -> Vec<Round> {
        let mut rounds = JoinSet::new();
        rounds.spawn(self.clone().call_all());
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => rounds.spawn(self.clone().call_all()),
                _ = &mut stopped => break,
            };
        }
        rounds.join_all().await
    }

    async fn call_all(self) -> Round {
        let health = timed(self.client.get(&self.health));
        let trigger = timed(
            self.client
                .post(&self.webhook)
                .json(&json!({ "note": "What does the unrelated caller want?" })),
        );
        let control = timed(self.client.get(&self.control));
        let ((healthy, health), (accepted, trigger), (_, control)) =
            tokio::join!(health, trigger, control);
        let accepted = accepted.map(|body| string(&body["task_id"]));
        Round {
            health,
            trigger,
            control,
            accepted,
            healthy: healthy.map(drop),
        }
    }
}

/// The body of a 200 or the error, and how long the call took.
async fn timed(request: RequestBuilder) -> (Result<Value, String>, Duration) {
    let started = Instant::now();
    let answered = body_of_success(request).await;
    (answered, started.elapsed())
}

async fn body_of_success(request: RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|error| format!("{error:?}"))?;
    match status.as_u16() {
        200 => serde_json::from_str(&body).map_err(|error| format!("{error}: {body}")),
        status => Err(format!("{status}: {body}")),
    }
}

impl Latency {
    fn from_durations(durations: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = durations.collect();
        sorted.sort_unstable();
        let calls = sorted.len();
        // Nearest rank: of 100 calls or fewer, p99 is the slowest.
        let within = |percent: usize| sorted[(calls * percent).div_ceil(100).saturating_sub(1)];
        Self {
            calls,
            p50: within(50),
            p99: within(99),
            max: within(100),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "health {}; trigger {}; control {}",
            self.health, self.trigger, self.control
        )
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            p50,
            p99,
            max,
        } = self;
        write!(
            f,
            "p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?} ({calls} calls)"
        )
    }
}

fn command(start: &Start, folder: &TempDir) -> Command {
    let program =
        std::env::var("AGENT_WEBHOOKS_TEST_PROGRAM").unwrap_or_else(|_| PROGRAM.to_owned());
    let mut command = match start.address_space {
        None => Command::new(program),
        Some(bytes) => {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
                .arg((bytes / 1024).to_string())
                .arg(program);
            shell
        }
    };
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(&start.args)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN)
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(redaction::spawned_log());
    command
}

async fn create_agent(url: &str, definition: Value) -> Agent {
    let request = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN)
        .json(&definition);
    let response = request.send().await.unwrap();
    let status = response.status();
    let made: Value = response.json().await.unwrap();
    assert_eq!(status, 201, "{made}");
    redaction::secret("admin token", ADMIN_TOKEN);
    redaction::definition(&definition);
    redaction::webhook(&string(&made["webhook_url"]));
    Agent {
        id: string(&made["agent_id"]),
        url: string(&made["webhook_url"]),
    }
}

async fn ended(http: &Client, url: &str, task: &str, deadline: Instant) -> Value {
    loop {
        let status =
            body_of_success(http.get(format!("{url}/api/task_status?task_id={task}"))).await;
        if let Ok(status) = &status
            && status["finished_at"].is_string()
        {
            return status.clone();
        }
        assert!(Instant::now() < deadline, "{task} does not end: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A new connection for each call, as a new caller has.
fn one_call_per_connection(address: IpAddr) -> Client {
    Client::builder()
        .no_proxy()
        .local_address(address)
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

async fn control_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(any(async || {
        tokio::task::spawn_blocking(sync_a_byte).await.unwrap();
        axum::Json(json!({}))
    }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn sync_a_byte() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"x").unwrap();
    file.sync_data().unwrap();
}
