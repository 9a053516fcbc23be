//! Limits the memory of runs for what models and tools send.
//!
//! | what | limit |
//! | --- | --- |
//! | a run: replies, tool results, the messages that are sent to the model again | 1 MiB by estimate, or 48 MiB with a permit |
//! | permits | 4 on one machine; in a function, half of its memory: 5 of 512 MB |
//! | permits of one agent | half of them, rounded up |
//!
//! The estimate is twice the bytes that were read, for the text and for the request that
//! repeats it, plus 300 bytes for each JSON value. A run that needs more than 1 MiB waits for
//! a permit before it reads more, and holds it until its attempt ends. It never waits for a
//! second permit, so runs cannot deadlock. The wait counts towards the run's time limit.
//!
//! The calls of a turn are made in parallel. A run reads their
//! [large answers](RunMemory::large_answer) one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::AgentId;
use store::env::{Env, EnvError};
use subprocess::PerAgent;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// The most memory that a run with a permit uses at a time.
///
/// A reply has at most 8 MiB, and its text as much again. The conversation has at most 4 MiB,
/// and up to six times as much in a request if every character is escaped. JSON that goes
/// back to a provider has at most 20,000 values, which take 6 MiB.
const PERMIT_MIB: usize = 48;
/// The estimate up to which a run needs no permit.
const FREE_BYTES: usize = 1024 * 1024;
/// A JSON value in memory takes 72 bytes, and 100 to 400 more for each array or object.
const BYTES_PER_VALUE: usize = 300;
/// An answer above this size counts as large and is parsed on a thread for blocking work.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;
/// Of the local server. Together with 32 runs that need no permit, this is 224 MiB.
const LOCAL_PERMITS: usize = 4;

/// The most JSON values in the tool lists of all MCP servers of a run. The SDK stores them
/// all, and those of allowed tools are in each request.
pub(crate) const MAX_LISTED_VALUES: usize = 30_000;

tokio::task_local! {
    static RUN: RunMemory;
}

/// The permits of a process.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    permits: Arc<Semaphore>,
    permits_of_agents: PerAgent,
    /// One large answer is parsed at a time, so that other cores serve other callers. The large
    /// answers of an agent wait for each other before they wait for those of others.
    parsing: Arc<Semaphore>,
    parsing_of_agents: PerAgent,
}

/// The memory account of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct RunMemory(Arc<RunMemoryInner>);

#[derive(Debug)]
struct RunMemoryInner {
    /// `None` outside of a run.
    budget: Option<(MemoryBudget, AgentId)>,
    estimate: AtomicUsize,
    listed_values: AtomicUsize,
    ended: CancellationToken,
    /// Held until the attempt ends.
    permits: OnceCell<Permits>,
    large_answers: Arc<Semaphore>,
}

/// One permit of the agent, and one of the process.
type Permits = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

/// Held while a large answer of a tool is read.
#[derive(Debug)]
pub(crate) struct LargeAnswer {
    _permit: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    pub fn local() -> Self {
        Self::with_permits(LOCAL_PERMITS)
    }

    /// Of a function, according to its memory.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let megabytes = env.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 512, 128, 10_240)?;
        Ok(Self::with_permits((megabytes / 2 / PERMIT_MIB).max(1)))
    }

    fn with_permits(permits: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            permits_of_agents: PerAgent::new(permits.div_ceil(2)),
            parsing: Arc::new(Semaphore::new(1)),
            parsing_of_agents: PerAgent::new(1),
        }
    }

    /// Waits for a permit of the agent, then for one of the process.
    async fn run_permits(&self, agent: AgentId) -> Permits {
        let own = self.permits_of_agents.acquire(agent).await;
        (own, Arc::clone(&self.permits).acquire_owned().await.ok())
    }

    /// Waits for the agent's permit to parse, then for that of the process.
    async fn parse_permits(&self, agent: AgentId) -> Permits {
        let own = self.parsing_of_agents.acquire(agent).await;
        (own, Arc::clone(&self.parsing).acquire_owned().await.ok())
    }
}

impl RunMemory {
    pub(crate) fn new(budget: &MemoryBudget, agent: AgentId) -> Self {
        Self::with_budget(Some((budget.clone(), agent)))
    }

    /// The account of the attempt that this is called in.
    pub(crate) fn current() -> Self {
        RUN.try_with(Self::clone)
            .unwrap_or_else(|_| Self::with_budget(None))
    }

    fn with_budget(budget: Option<(MemoryBudget, AgentId)>) -> Self {
        let (permits, large_answers) = (OnceCell::new(), Arc::new(Semaphore::new(1)));
        Self(Arc::new(RunMemoryInner {
            budget,
            estimate: AtomicUsize::new(0),
            listed_values: AtomicUsize::new(0),
            ended: CancellationToken::new(),
            permits,
            large_answers,
        }))
    }

    pub(crate) fn agent(&self) -> Option<AgentId> {
        self.0.budget.as_ref().map(|(_, agent)| *agent)
    }

    /// Makes this the account of an attempt.
    pub(crate) async fn scope<T>(self, attempt: impl Future<Output = T>) -> T {
        let _ending = self.0.ended.clone().drop_guard();
        RUN.scope(self, attempt).await
    }

    /// Cancelled when the attempt has ended. Background work must stop then, because it holds
    /// the attempt's permit.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// Must be called before more of an answer is read, of which there are `bytes` so far.
    pub(crate) async fn before_reading_more(&self, bytes: usize) {
        if self.0.estimate.load(Ordering::Relaxed) + 2 * bytes > FREE_BYTES {
            self.take_permit().await;
        }
    }

    /// Must be called before data of this size is stored in memory.
    pub(crate) async fn before_storing(&self, bytes: usize, values: usize) {
        let more = (2 * bytes).saturating_add(values.saturating_mul(BYTES_PER_VALUE));
        let before = self.0.estimate.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > FREE_BYTES {
            self.take_permit().await;
        }
    }

    /// Whether the tool lists of a run may have this many more JSON values. Counts them.
    pub(crate) fn may_list(&self, values: usize) -> bool {
        self.0
            .listed_values
            .fetch_add(values, Ordering::Relaxed)
            .saturating_add(values)
            <= MAX_LISTED_VALUES
    }

    /// Waits until no other large answer of the run is read.
    pub(crate) async fn large_answer(&self) -> LargeAnswer {
        LargeAnswer {
            _permit: Arc::clone(&self.0.large_answers).acquire_owned().await.ok(),
        }
    }

    /// Does work that would delay other runs on a thread for blocking work. The work may
    /// outlive the attempt, and holds the attempt's permit until its end.
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
            Some((budget, agent)) => Some(budget.parse_permits(*agent).await),
            None => None,
        };
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((memory, parsing));
            done
        });
        working.await
    }

    async fn take_permit(&self) {
        if let Some((budget, agent)) = &self.0.budget {
            self.0
                .permits
                .get_or_init(|| budget.run_permits(*agent))
                .await;
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

    /// Whether the call returns without waiting.
    async fn returns_at_once(waiting: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::ZERO, waiting).await.is_ok()
    }

    #[tokio::test]
    async fn large_runs_wait_for_a_permit_and_small_ones_do_not() {
        let budget = MemoryBudget::with_permits(1);
        let large = run(&budget, AGENT);
        large.before_storing(600 * 1024, 0).await;
        assert!(
            returns_at_once(large.before_storing(8 << 20, 20_000)).await,
            "it has its permit"
        );
        let waiting = run(&budget, OTHER);
        assert!(
            returns_at_once(waiting.before_storing(100 * 1024, 2000)).await,
            "it is small"
        );
        assert!(!returns_at_once(waiting.before_reading_more(200 * 1024)).await);
        assert!(!returns_at_once(waiting.before_storing(0, 1500)).await);
        drop(large);
        assert!(returns_at_once(waiting.before_reading_more(200 * 1024)).await);
    }

    #[tokio::test]
    async fn an_agent_has_at_most_half_of_the_permits() {
        let budget = MemoryBudget::with_permits(4);
        let runs: Vec<_> = (0..3).map(|_| run(&budget, AGENT)).collect();
        assert!(returns_at_once(runs[0].before_reading_more(FREE_BYTES)).await);
        assert!(returns_at_once(runs[1].before_reading_more(FREE_BYTES)).await);
        assert!(!returns_at_once(runs[2].before_reading_more(FREE_BYTES)).await);
        let other = run(&budget, OTHER);
        assert!(returns_at_once(other.before_reading_more(FREE_BYTES)).await);
        drop(runs);
        assert!(returns_at_once(run(&budget, AGENT).before_reading_more(FREE_BYTES)).await);
    }

    #[tokio::test]
    async fn large_answers_of_one_run_are_read_one_at_a_time() {
        let run = run(&MemoryBudget::local(), AGENT);
        let first = run.large_answer().await;
        assert!(!returns_at_once(async { drop(run.large_answer().await) }).await);
        drop(first);
        assert!(returns_at_once(async { drop(run.large_answer().await) }).await);
    }

    #[tokio::test]
    async fn large_answers_of_an_agent_wait_for_each_other_before_they_wait_for_others() {
        let budget = MemoryBudget::with_permits(4);
        let (order, (release, released)) =
            (Arc::new(Mutex::new(Vec::new())), mpsc::channel::<()>());
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
        tokio::join!(
            parse(AGENT, 1, Some(released)),
            parse(AGENT, 3, None),
            parse(OTHER, 2, None),
            async { release.send(()).unwrap() }
        );
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn half_of_a_functions_memory_is_for_large_runs() {
        for (megabytes, permits) in [
            (None, 5),
            (Some("128"), 1),
            (Some("512"), 5),
            (Some("10240"), 106),
        ] {
            let env = Env::from_fn(move |_| megabytes.map(str::to_owned));
            let budget = MemoryBudget::from_env(&env).unwrap();
            assert_eq!(budget.permits.available_permits(), permits);
        }
    }
}
