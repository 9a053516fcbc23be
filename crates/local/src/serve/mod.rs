//! `serve`: the whole product in one process.

mod demo;
mod engine;
mod http;
mod poller;
mod recovery;
mod stored;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::admin::Admins;
use api::agents::{Intake, Management};
use api::task_status::Statuses;
use api::webhook::Triggers;
use domain::{WeakAdminToken, check_admin_token};
use runner::{MAX_RECEIVES, Models, ModelsError, PrivateHosts, RunGate, RunSettings, Runner, Sources};
use store::env::{Env, EnvError};
use store::{Bedrock, Clock, MemoryQueue, Queue, StoreError};
use subprocess::Subprocesses;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use traces::TracesError;

pub use engine::{Engine, EngineError};
pub use http::HttpLimits;

use crate::cli::ServeArgs;
use crate::data_dir::{KeptSecret, Lock};
use crate::{DataDir, DataDirError, say};
use stored::Stored;

/// Prompts that are not plain and are rendered at a time, each in a subprocess.
const PROMPTS_AT_ONCE: usize = 2;
/// How long runs under way may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How often expired items are deleted; readers never see them anyway. A sweep reads
/// all there is, so it comes more rarely when that takes long.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// As many times its own duration a sweep rests.
const SWEEP_REST: u32 = 100;
/// As on AWS: not shorter than an invocation.
const VISIBILITY: Duration = Duration::from_secs(3600);

/// The operator's choices that are not on the command line.
#[derive(Clone)]
pub struct Settings {
    /// How runs are run.
    pub runs: RunSettings,
    /// `AGENT_WEBHOOKS_CONCURRENCY`: runs at a time, 1 to 1000; 32 by default.
    pub concurrency: usize,
    /// `AGENT_WEBHOOKS_MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// `AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS`; here all are allowed by default,
    /// because models often run beside the server.
    pub private_hosts: PrivateHosts,
    /// `AWS_REGION`, `AWS_ACCESS_KEY_ID` and so on: for agents that ask Bedrock.
    pub bedrock: Option<Bedrock>,
    /// `AGENT_WEBHOOKS_ADMIN_TOKEN`: instead of the one kept in the data folder.
    pub admin_token: Option<String>,
    /// What one caller, and all of them together, may take up.
    pub http: HttpLimits,
    /// The file of this program, which it starts again for work on untrusted input.
    pub program: PathBuf,
    /// Tells the time.
    pub clock: Clock,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("runs", &self.runs).finish_non_exhaustive()
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A variable is malformed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The operator chose an admin token that is easily guessed.
    #[error("AGENT_WEBHOOKS_ADMIN_TOKEN is too weak")]
    WeakAdminToken(#[from] WeakAdminToken),
    /// The database cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The database does not do what it should.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The demo agent cannot be made.
    #[error("failed to make the demo agent")]
    Demo(#[from] api::agents::ManageError),
    /// No HTTP client.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The address is taken, or not ours.
    #[error("failed to listen on {address}; choose another address with --listen")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The signals of the system cannot be heard.
    #[error("failed to wait for signals")]
    Signals(#[source] std::io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// `http://HOST:PORT` as seen from this machine.
    pub url: String,
    /// Manages its agents.
    pub management: Management,
    /// Nothing was here before this start.
    pub is_new: bool,
    admin_token: AdminToken,
    runs: Runs,
    stop: CancellationToken,
    http: JoinHandle<()>,
    lock: Arc<Lock>,
}

/// What runs tasks.
#[derive(Debug)]
struct Runs {
    queue: Arc<MemoryQueue>,
    /// Tasks that lost their worker. One at a time, so that those that wait for their
    /// turn take no place of a run.
    lone_queue: Arc<MemoryQueue>,
    runner: Arc<Runner>,
    concurrency: usize,
    /// Once what was left is resumed.
    poller: Option<JoinHandle<usize>>,
}

/// Where the admin token is, for who wants to sign in.
#[derive(Debug)]
enum AdminToken {
    /// This start made it.
    Made { secret: KeptSecret, file: PathBuf },
    /// An earlier one did.
    Kept { file: PathBuf },
    /// The operator chose it.
    Given,
}

/// `agent-webhooks serve`: until SIGINT or SIGTERM.
pub async fn serve(args: ServeArgs, settings: Settings) -> Result<(), ServeError> {
    let started = Instant::now();
    let mut signals = StopSignals::listen()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %args.data_dir.display(), "starting");
    let mut server = Server::start(&args, settings).await?;
    // Some of what this process begins is at work until its end, which lets go of the lock.
    std::mem::forget(Arc::clone(&server.lock));
    say(format!("listening on {}", server.url));
    let resumed = tokio::select! {
        resumed = server.resume() => Some(resumed?),
        () = signals.next() => None,
    };
    if let Some(resumed) = resumed {
        demo::introduce(&server, resumed, started.elapsed()).await?;
        signals.next().await;
    }
    say("stopping: runs under way have 10 s to end; once more stops at once");
    tokio::select! {
        left = server.stop() => match left? {
            0 if resumed.is_none() => say("stopped; tasks that had not ended go on at the next start"),
            0 => say("stopped"),
            left => say(format!("stopped; runs that go on at the next start: {left}")),
        },
        () = signals.next() => say("stopped at once; what was under way goes on at the next start"),
    }
    Ok(())
}

impl Settings {
    /// Reads them.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        Ok(Self {
            runs: RunSettings::from_env(env)?,
            concurrency: env.number("AGENT_WEBHOOKS_CONCURRENCY", 32, 1, 1000)?,
            max_body_bytes: api::webhook::max_body_bytes(env)?,
            private_hosts: PrivateHosts::from_env(env, PrivateHosts::any())?,
            bedrock: Bedrock::from_env(env),
            admin_token: env.optional("AGENT_WEBHOOKS_ADMIN_TOKEN"),
            http: HttpLimits::default(),
            // Without it PDFs, pages and prompts that are not plain fail, and everything else works.
            program: subprocess::this_program(),
            clock: Clock::system(),
        })
    }
}

impl Server {
    /// Opens the data folder and answers requests. Runs nothing before [`Self::resume`].
    pub async fn start(args: &ServeArgs, settings: Settings) -> Result<Self, ServeError> {
        let data_dir = DataDir::new(&args.data_dir);
        let lock = data_dir.open()?;
        // Before anything is made: a first start that finds its port taken leaves nothing,
        // and the next one is the first.
        let (listener, url) = listen(&args.listen).await?;
        // A refused token leaves no database, and the next start is the first.
        let (token, admin_token) = admin_token(settings.admin_token, &data_dir)?;
        let signing_secret = data_dir.keep_signing_secret()?.value;
        let Stored { engine, tasks, agents, secrets, documents, is_new } = Stored::open(&data_dir).await?;
        let clock = settings.clock.clone();
        let [queue, lone_queue] = [(); 2].map(|()| Arc::new(MemoryQueue::new(VISIBILITY, MAX_RECEIVES)));

        data_dir.note_url(&url)?;
        let public_url = args.public_url.as_deref().unwrap_or(&url).trim_end_matches('/');
        let subprocesses = Subprocesses::new(settings.program, PROMPTS_AT_ONCE);
        let management = Management {
            agents: Arc::clone(&agents),
            tasks: tasks.clone(),
            secrets: Arc::clone(&secrets),
            intake: Intake::new(documents.clone()),
            subprocesses: subprocesses.clone(),
            clock: clock.clone(),
            admins: Admins::new(token, public_url, clock.clone()),
            signing_secret: signing_secret.into(),
            public_url: public_url.into(),
        };
        let triggers = Triggers {
            agents: Arc::clone(&agents),
            tasks: tasks.clone(),
            queue: Arc::new(Queue::Memory(Arc::clone(&queue))),
            clock: clock.clone(),
            max_body_bytes: settings.max_body_bytes,
        };
        let statuses = Statuses { tasks: tasks.clone(), clock: clock.clone() };
        let models = Models::new(settings.private_hosts)?.with_bedrock(settings.bedrock);
        let runner = Arc::new(Runner {
            subprocesses,
            gate: RunGate::default(),
            tasks,
            sources: Arc::new(Sources::new(Arc::clone(&agents), documents)),
            agents,
            secrets,
            models,
            settings: settings.runs,
            clock,
        });

        let stop = CancellationToken::new();
        let routes = api::webhook::router(triggers)
            .merge(api::task_status::router(statuses))
            .merge(api::agents::router(management.clone()))
            .merge(pages::router());
        let limits = settings.http.fitted(settings.concurrency);
        let http = tokio::spawn(http::answer(listener, api::app(routes), limits, stop.clone()));
        tokio::spawn(sweep(engine, stop.clone()));
        let runs = Runs { queue, lone_queue, runner, concurrency: settings.concurrency, poller: None };
        Ok(Self { url, management, is_new, admin_token, runs, stop, http, lock: Arc::new(lock) })
    }

    /// Queues what the process before this one had accepted and not ended, returns how
    /// many tasks that were, and begins to run tasks. This reads all that is stored,
    /// and callers are answered meanwhile. What they trigger may be queued twice,
    /// which is harmless; no run is under way, so that every lease is a dead one's.
    pub async fn resume(&mut self) -> Result<usize, StoreError> {
        let Runs { queue, lone_queue, runner, concurrency, poller } = &mut self.runs;
        let resumed = recovery::resume(&runner.tasks, queue, lone_queue, runner.clock.now()).await?;
        let poll = |queue: &Arc<MemoryQueue>, at_once| {
            poller::poll(Arc::clone(queue), Arc::clone(runner), at_once, self.stop.clone(), GRACE)
        };
        let (all, lone) = (poll(queue, *concurrency), poll(lone_queue, 1));
        *poller = Some(tokio::spawn(async move {
            let (left, left_alone) = tokio::join!(all, lone);
            left + left_alone
        }));
        Ok(resumed)
    }

    /// Stops answering, gives runs a moment, and returns how many were left. Those
    /// go on at the next start, and this attempt is not counted.
    pub async fn stop(self) -> Result<usize, StoreError> {
        self.stop.cancel();
        let left = match self.runs.poller {
            Some(poller) => poller.await.unwrap_or_default(),
            None => 0,
        };
        if left > 0 {
            recovery::give_back(&self.runs.runner.tasks, self.management.clock.now()).await?;
        }
        // Connections that stay open do not hold the process up.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.http).await;
        Ok(left)
    }
}

fn admin_token(given: Option<String>, data_dir: &DataDir) -> Result<(String, AdminToken), ServeError> {
    if let Some(token) = given {
        check_admin_token(&token)?;
        return Ok((token, AdminToken::Given));
    }
    let secret = data_dir.keep_admin_token()?;
    let (value, file) = (secret.value.clone(), data_dir.admin_token_file());
    match secret.is_new {
        true => Ok((value, AdminToken::Made { secret, file })),
        false => Ok((value, AdminToken::Kept { file })),
    }
}

async fn listen(address: &str) -> Result<(TcpListener, String), ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_owned(), source };
    let listener = http::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{bound}")))
}

async fn sweep(engine: Engine, stop: CancellationToken) {
    // At first there is enough to read for who resumes tasks.
    let mut rest = SWEEP_EVERY;
    while stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_some() {
        let began = Instant::now();
        engine.sweep().await;
        rest = SWEEP_EVERY.max(began.elapsed() * SWEEP_REST);
    }
}

/// SIGINT and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, ServeError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(ServeError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(ServeError::Signals)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
