//! How much memory runs may take for what models and tools send.
//!
//! | what | most |
//! | --- | --- |
//! | a run: replies, results, what is said again to the model | 1 MiB by estimate, or 48 MiB once it has a place |
//! | places | 4 on one machine; in a function, half of its memory: 5 of 512 MB |
//! | places of one agent | half of them, rounded up |
//!
//! An estimate is twice the bytes that were read, for the text itself and for the
//! request that repeats it, and 300 bytes for each JSON value. A run that needs more
//! than 1 MiB waits for a place before it reads on, and has it until its attempt ends.
//! It never waits for a second one, so runs cannot wait for each other in a circle. The
//! wait counts as time of the run.
//!
//! The calls of a turn are made side by side. Of their answers, a run reads the
//! [large ones](RunMemory::large_answer) one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::AgentId;
use store::env::{Env, EnvError};
use subprocess::PerAgent;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// The most that a run with a place holds at a time.
///
/// A reply has at most 8 MiB and its text as much again. What was said has at most
/// 4 MiB, in a request up to six times as many where every character is escaped. JSON
/// that goes back to a provider has at most 20,000 values, which is 6 MiB.
const PLACE_MIB: usize = 48;
/// The estimate up to which a run needs no place.
const FREE_BYTES: usize = 1024 * 1024;
/// A JSON value in memory: 72 bytes, and 100 to 400 more for each array or object.
const BYTES_PER_VALUE: usize = 300;
/// A larger answer is large, and parsed on a thread for blocking work.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;
/// Of the local server: with 32 runs that need no place, 224 MiB.
const LOCAL_PLACES: usize = 4;

/// Most JSON values in the lists of tools of all MCP servers of a run. The SDK keeps them
/// all, and those of allowed tools are in each request.
pub(crate) const MAX_LISTED_VALUES: usize = 30_000;

tokio::task_local! {
    static RUN: RunMemory;
}

/// The places of a process.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    places: Arc<Semaphore>,
    places_of_agents: PerAgent,
    /// One large answer is parsed at a time, so that other cores serve other callers. Those
    /// of an agent wait for each other before they wait for others.
    parsing: Arc<Semaphore>,
    parsing_of_agents: PerAgent,
}

/// What one attempt at a run may hold.
#[derive(Clone, Debug)]
pub(crate) struct RunMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// None outside of a run.
    budget: Option<(MemoryBudget, AgentId)>,
    estimate: AtomicUsize,
    listed_values: AtomicUsize,
    ended: CancellationToken,
    /// Held until the attempt ends.
    place: OnceCell<Permits>,
    large_answers: Arc<Semaphore>,
}

/// One of an agent's own permits, and one of the process.
type Permits = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

/// Only its holder reads a large answer of a tool.
#[derive(Debug)]
pub(crate) struct LargeAnswer {
    _permit: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    /// Of the local server.
    pub fn local() -> Self {
        Self::with_places(LOCAL_PLACES)
    }

    /// Of a function, by the memory that it has.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let megabytes = env.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 512, 128, 10_240)?;
        Ok(Self::with_places((megabytes / 2 / PLACE_MIB).max(1)))
    }

    fn with_places(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            places_of_agents: PerAgent::new(places.div_ceil(2)),
            parsing: Arc::new(Semaphore::new(1)),
            parsing_of_agents: PerAgent::new(1),
        }
    }

    /// Waits for one of the agent's own places, then for one of the process.
    async fn place(&self, agent: AgentId) -> Permits {
        let own = self.places_of_agents.acquire(agent).await;
        (own, Arc::clone(&self.places).acquire_owned().await.ok())
    }

    /// Waits for the agent's own permit to parse, then for that of the process.
    async fn parsing(&self, agent: AgentId) -> Permits {
        let own = self.parsing_of_agents.acquire(agent).await;
        (own, Arc::clone(&self.parsing).acquire_owned().await.ok())
    }
}

impl RunMemory {
    /// Of an attempt that begins.
    pub(crate) fn new(budget: &MemoryBudget, agent: AgentId) -> Self {
        Self::with_budget(Some((budget.clone(), agent)))
    }

    /// Of the attempt that this is called in.
    pub(crate) fn of_this_run() -> Self {
        RUN.try_with(Self::clone).unwrap_or_else(|_| Self::with_budget(None))
    }

    fn with_budget(budget: Option<(MemoryBudget, AgentId)>) -> Self {
        let (place, large_answers) = (OnceCell::new(), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Inner {
            budget,
            estimate: AtomicUsize::new(0),
            listed_values: AtomicUsize::new(0),
            ended: CancellationToken::new(),
            place,
            large_answers,
        }))
    }

    /// Whose attempt it is.
    pub(crate) fn agent(&self) -> Option<AgentId> {
        self.0.budget.as_ref().map(|(_, agent)| *agent)
    }

    /// Makes this the memory of an attempt.
    pub(crate) async fn scope<T>(self, attempt: impl Future<Output = T>) -> T {
        let _ending = self.0.ended.clone().drop_guard();
        RUN.scope(self, attempt).await
    }

    /// Cancelled when the attempt has ended. What goes on by itself must stop then, because it
    /// holds the attempt's place.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// Before more of something is read, of which there are `bytes` so far.
    pub(crate) async fn before_reading_on(&self, bytes: usize) {
        if self.0.estimate.load(Ordering::Relaxed) + 2 * bytes > FREE_BYTES {
            self.take_place().await;
        }
    }

    /// Before something is kept that has so many bytes and JSON values.
    pub(crate) async fn before_keeping(&self, bytes: usize, values: usize) {
        let more = (2 * bytes).saturating_add(values.saturating_mul(BYTES_PER_VALUE));
        let before = self.0.estimate.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > FREE_BYTES {
            self.take_place().await;
        }
    }

    /// Whether a run may keep so many more JSON values in lists of tools.
    pub(crate) fn may_list(&self, values: usize) -> bool {
        self.0.listed_values.fetch_add(values, Ordering::Relaxed).saturating_add(values) <= MAX_LISTED_VALUES
    }

    /// The right to read a large answer and to make something of it.
    pub(crate) async fn large_answer(&self) -> LargeAnswer {
        LargeAnswer { _permit: Arc::clone(&self.0.large_answers).acquire_owned().await.ok() }
    }

    /// Does on a thread for blocking work what would hold up other runs. That work may
    /// outlive the attempt, and the attempt's place is taken until then.
    pub(crate) async fn off_workers<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        if bytes <= SMALL_BYTES {
            return Ok(work());
        }
        let memory = self.clone();
        let parsing = match &self.0.budget {
            Some((budget, agent)) => Some(budget.parsing(*agent).await),
            None => None,
        };
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((memory, parsing));
            done
        });
        working.await
    }

    async fn take_place(&self) {
        if let Some((budget, agent)) = &self.0.budget {
            self.0.place.get_or_init(|| budget.place(*agent)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    const AGENT: AgentId = AgentId::random([7; 16]);
    const OTHER: AgentId = AgentId::random([8; 16]);

    fn run(budget: &MemoryBudget, agent: AgentId) -> RunMemory {
        RunMemory::new(budget, agent)
    }

    /// Whether it goes on without waiting.
    async fn goes_on(waiting: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::ZERO, waiting).await.is_ok()
    }

    #[tokio::test]
    async fn large_runs_wait_for_a_place_and_small_ones_do_not() {
        let budget = MemoryBudget::with_places(1);
        let large = run(&budget, AGENT);
        large.before_keeping(600 * 1024, 0).await;
        assert!(goes_on(large.before_keeping(8 << 20, 20_000)).await, "it has its place");
        let waiting = run(&budget, OTHER);
        assert!(goes_on(waiting.before_keeping(100 * 1024, 2000)).await, "it is small");
        assert!(!goes_on(waiting.before_reading_on(200 * 1024)).await);
        assert!(!goes_on(waiting.before_keeping(0, 1500)).await);
        drop(large);
        assert!(goes_on(waiting.before_reading_on(200 * 1024)).await);
    }

    #[tokio::test]
    async fn an_agent_has_at_most_half_of_the_places() {
        let budget = MemoryBudget::with_places(4);
        let runs: Vec<_> = (0..3).map(|_| run(&budget, AGENT)).collect();
        assert!(goes_on(runs[0].before_reading_on(FREE_BYTES)).await);
        assert!(goes_on(runs[1].before_reading_on(FREE_BYTES)).await);
        assert!(!goes_on(runs[2].before_reading_on(FREE_BYTES)).await);
        let other = run(&budget, OTHER);
        assert!(goes_on(other.before_reading_on(FREE_BYTES)).await);
        drop(runs);
        assert!(goes_on(run(&budget, AGENT).before_reading_on(FREE_BYTES)).await);
    }

    #[tokio::test]
    async fn large_answers_of_one_run_are_read_one_at_a_time() {
        let run = run(&MemoryBudget::local(), AGENT);
        let first = run.large_answer().await;
        assert!(!goes_on(async { drop(run.large_answer().await) }).await);
        drop(first);
        assert!(goes_on(async { drop(run.large_answer().await) }).await);
    }

    #[tokio::test]
    async fn large_answers_of_an_agent_are_parsed_after_those_that_others_wait_with() {
        let budget = MemoryBudget::with_places(4);
        let (order, (release, released)) = (Arc::new(Mutex::new(Vec::new())), mpsc::channel::<()>());
        let parse = |agent, number, blocked: Option<mpsc::Receiver<()>>| {
            let (run, order) = (run(&budget, agent), Arc::clone(&order));
            async move {
                let work = move || {
                    if let Some(blocked) = blocked {
                        blocked.recv().unwrap();
                    }
                    order.lock().unwrap().push(number);
                };
                run.off_workers(SMALL_BYTES + 1, work).await.unwrap();
            }
        };
        tokio::join!(parse(AGENT, 1, Some(released)), parse(AGENT, 3, None), parse(OTHER, 2, None), async {
            release.send(()).unwrap()
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn half_of_a_functions_memory_is_for_large_runs() {
        for (megabytes, places) in [(None, 5), (Some("128"), 1), (Some("512"), 5), (Some("10240"), 106)] {
            let env = Env::from_fn(move |_| megabytes.map(str::to_owned));
            let budget = MemoryBudget::from_env(&env).unwrap();
            assert_eq!(budget.places.available_permits(), places);
        }
    }
}
