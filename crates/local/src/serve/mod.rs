//! `agent-webhooks serve`: the whole product in one process.

mod admin_token;
mod demo;
mod engine;
mod http;
mod poller;
mod recovery;
mod signals;
mod stored;
mod trials;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::admin::Admins;
use api::{DocumentImporter, Management};
use domain::WeakAdminToken;
use runner::{MAX_RECEIVES, Models, ModelsError, PrivateHosts, RunSettings, Runner};
use store::env::{Env, EnvError};
use store::{Bedrock, Clock, MemoryQueue, StoreError};
use subprocess::Subprocesses;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use traces::TracesError;

pub use engine::{Engine, EngineError};
pub use http::HttpLimits;
pub use trials::LocalTrials;

use crate::cli::ServeArgs;
use crate::data_dir::DataDirLock;
use crate::{DataDir, DataDirError, print_line};
use admin_token::AdminToken;
use signals::StopSignals;
use stored::Stored;

/// Subprocesses at a time. A prompt that is not plain is rendered in one.
const MAX_SUBPROCESSES: usize = 2;
/// How long the server waits for runs in progress when it stops.
const GRACE: Duration = Duration::from_secs(10);
/// Shortest pause between two deletions of expired items. Readers never see expired items.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a sweep is at least this many times as long as the sweep, because a
/// sweep reads all tables.
const SWEEP_PAUSE_FACTOR: u32 = 100;
/// Not shorter than the longest run of a message, as on AWS.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(3600);

/// The operator's settings that are not on the command line.
#[derive(Clone)]
pub struct Settings {
    pub runs: RunSettings,
    /// `AGENT_WEBHOOKS_CONCURRENCY`: concurrent runs, 1 to 1000; 32 by default.
    pub concurrency: usize,
    /// `AGENT_WEBHOOKS_MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// `AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS`. The local server allows all by default,
    /// because models often run on the same machine.
    pub private_hosts: PrivateHosts,
    /// `AWS_REGION`, `AWS_ACCESS_KEY_ID` and so on, for agents that use Amazon Bedrock.
    pub bedrock: Option<Bedrock>,
    /// `AGENT_WEBHOOKS_ADMIN_TOKEN`: used instead of the one in the data folder.
    pub admin_token: Option<String>,
    pub http: HttpLimits,
    /// The executable of this program. Subprocesses run it to process untrusted input.
    pub program: PathBuf,
    pub clock: Clock,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// Why the server does not start, or fails.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("AGENT_WEBHOOKS_ADMIN_TOKEN is too weak")]
    WeakAdminToken(#[from] WeakAdminToken),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to create the demo agent")]
    Demo(#[from] api::agents::ManageError),
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error("failed to listen on {address}; select another address with --listen")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("failed to install the handlers of SIGINT and SIGTERM")]
    Signals(#[source] std::io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// `http://HOST:PORT` as seen from this machine.
    pub url: String,
    pub management: Management,
    /// Whether this start created the database.
    pub is_new: bool,
    admin_token: AdminToken,
    workers: RunWorkers,
    stop: CancellationToken,
    http: JoinHandle<()>,
    lock: Arc<DataDirLock>,
}

/// The queues of tasks and the pollers that run them.
#[derive(Debug)]
struct RunWorkers {
    queue: Arc<MemoryQueue>,
    /// Tasks that lost their worker. They run one at a time, from a queue of their own, so
    /// that waiting ones use no run slots.
    lone_queue: Arc<MemoryQueue>,
    runner: Arc<Runner>,
    concurrency: usize,
    /// `None` until unfinished tasks are resumed.
    poller: Option<JoinHandle<usize>>,
}

/// Runs the server until SIGINT or SIGTERM.
pub async fn serve(args: ServeArgs, settings: Settings) -> Result<(), ServeError> {
    let started = Instant::now();
    let mut signals = StopSignals::listen().map_err(ServeError::Signals)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %args.data_dir.display(), "starting");
    let mut server = Server::start(&args, settings).await?;
    // Blocking work may continue until the process ends, so the lock is never dropped before.
    std::mem::forget(Arc::clone(&server.lock));
    print_line(format!("listening on {}", server.url));
    let resumed = tokio::select! {
        resumed = server.resume() => Some(resumed?),
        () = signals.next() => None,
    };
    if let Some(resumed) = resumed {
        demo::introduce(&server, resumed, started.elapsed()).await?;
        signals.next().await;
    }
    print_line(
        "stopping: waiting up to 10 s for runs in progress; interrupt again to stop at once",
    );
    tokio::select! {
        interrupted = server.stop() => match interrupted? {
            0 if resumed.is_none() => print_line("stopped; unfinished tasks continue at the next start"),
            0 => print_line("stopped"),
            runs => print_line(format!("stopped; interrupted runs, which continue at the next start: {runs}")),
        },
        () = signals.next() => print_line("stopped at once; runs in progress continue at the next start"),
    }
    Ok(())
}

impl Settings {
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        Ok(Self {
            runs: RunSettings::from_env(env)?,
            concurrency: env.number("AGENT_WEBHOOKS_CONCURRENCY", 32, 1, 1000)?,
            max_body_bytes: api::webhook::max_body_bytes(env)?,
            private_hosts: PrivateHosts::from_env(env, PrivateHosts::any())?,
            bedrock: Bedrock::from_env(env),
            admin_token: env.optional("AGENT_WEBHOOKS_ADMIN_TOKEN"),
            http: HttpLimits::default(),
            // If it cannot be started, PDFs, HTML pages and prompts that are not plain fail.
            // Everything else works.
            program: subprocess::this_program(),
            clock: Clock::system(),
        })
    }
}

impl Server {
    /// Opens the data folder and answers requests. Runs no task before [`Self::resume`].
    pub async fn start(args: &ServeArgs, settings: Settings) -> Result<Self, ServeError> {
        let data_dir = DataDir::new(&args.data_dir);
        let lock = data_dir.open()?;
        // Before anything is created: if the port is taken, the data folder stays empty, and
        // the next start is the first one.
        let (listener, url) = listen(&args.listen).await?;
        // Before the database is created, for the same reason: the token may be refused.
        let (token, admin_token) = admin_token::load(settings.admin_token, &data_dir)?;
        let signing_secret = data_dir.load_signing_secret()?.value;
        let stored = Stored::open(&data_dir).await?;
        data_dir.store_url(&url)?;
        let public_url = args.public_url.as_deref().unwrap_or(&url);
        let public_url = public_url.trim_end_matches('/');
        let is_new = stored.is_new;
        let clock = settings.clock.clone();
        let subprocesses = Subprocesses::new(settings.program, MAX_SUBPROCESSES);
        let [queue, lone_queue] =
            [(); 2].map(|()| Arc::new(MemoryQueue::new(VISIBILITY_TIMEOUT, MAX_RECEIVES)));
        let models = Models::new(settings.private_hosts)?.with_bedrock(settings.bedrock);
        let runner = stored.runner(subprocesses.clone(), models, settings.runs, clock.clone());
        let runner = Arc::new(runner);
        let management = Management {
            agents: Arc::clone(&stored.agents),
            tasks: stored.tasks.clone(),
            secrets: Arc::clone(&stored.secrets),
            document_importer: DocumentImporter::new(stored.documents.clone()),
            subprocesses,
            trials: Arc::new(LocalTrials(Arc::clone(&runner))),
            clock: clock.clone(),
            admins: Admins::new(token, public_url, clock),
            signing_secret: signing_secret.into(),
            public_url: public_url.into(),
        };
        let routes = stored.routes(&management, &queue, settings.max_body_bytes);
        let limits = settings.http.fit_to_open_files(settings.concurrency);

        let stop = CancellationToken::new();
        let requests = http::serve_requests(listener, api::app(routes), limits, stop.clone());
        let http = tokio::spawn(requests);
        tokio::spawn(sweep_expired(stored.engine.clone(), stop.clone()));
        let workers = RunWorkers {
            queue,
            lone_queue,
            runner,
            concurrency: settings.concurrency,
            poller: None,
        };
        Ok(Self {
            url,
            management,
            is_new,
            admin_token,
            workers,
            stop,
            http,
            lock: Arc::new(lock),
        })
    }

    /// Queues the unfinished tasks of the previous process, starts to run tasks, and returns
    /// how many it queued. This reads all tasks, while callers are already answered. A task
    /// that they trigger meanwhile may be queued twice, which is harmless. No run is in
    /// progress yet, so every lease belongs to a worker that has ended.
    pub async fn resume(&mut self) -> Result<usize, StoreError> {
        let RunWorkers {
            queue,
            lone_queue,
            runner,
            concurrency,
            poller,
        } = &mut self.workers;
        let resumed =
            recovery::resume_tasks(&runner.tasks, queue, lone_queue, runner.clock.now()).await?;
        let poll = |queue: &Arc<MemoryQueue>, concurrency| {
            poller::poll_queue(
                Arc::clone(queue),
                Arc::clone(runner),
                concurrency,
                self.stop.clone(),
                GRACE,
            )
        };
        let (all, lone) = (poll(queue, *concurrency), poll(lone_queue, 1));
        *poller = Some(tokio::spawn(async move {
            let (interrupted, interrupted_lone) = tokio::join!(all, lone);
            interrupted + interrupted_lone
        }));
        Ok(resumed)
    }

    /// Stops answering, waits up to 10 s for runs in progress, and returns how many it
    /// interrupted. These continue at the next start, and the interrupted attempt does not
    /// count.
    pub async fn stop(self) -> Result<usize, StoreError> {
        self.stop.cancel();
        let interrupted = match self.workers.poller {
            Some(poller) => poller.await.unwrap_or_default(),
            None => 0,
        };
        if interrupted > 0 {
            recovery::release_tasks(&self.workers.runner.tasks, self.management.clock.now())
                .await?;
        }
        // Open connections delay the end of the process by at most 1 s.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.http).await;
        Ok(interrupted)
    }
}

async fn listen(address: &str) -> Result<(TcpListener, String), ServeError> {
    let failed = |source| ServeError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = http::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{bound}")))
}

async fn sweep_expired(engine: Engine, stop: CancellationToken) {
    // Begins with a pause, because the start itself reads all tasks.
    let mut pause = SWEEP_PAUSE;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let began = Instant::now();
        engine.sweep().await;
        pause = SWEEP_PAUSE.max(began.elapsed() * SWEEP_PAUSE_FACTOR);
    }
}
