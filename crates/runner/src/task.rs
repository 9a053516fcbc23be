//! One task: claim, run, finish.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::ApiKey;
use domain::{
    AgentId, AttemptEnd, ClaimRefusal, Ended, ErrorType, Failure, Fault, Isolation, Moment, RetryPolicy, Run,
    TaskId, after_fault, gives_up_waiting,
};
use futures::FutureExt as _;
use store::{
    AgentRecord, Agents, Burial, Claim, Claimed, Clock, Finish, Release, Secrets, StoreError, Tasks, Wait,
    error_chain,
};
use subprocess::Subprocesses;

use crate::drive::{self, Attempt};
use crate::gate::{Entered, EnteredAlone, RunGate};
use crate::slots::{Turn, random_wait_pause};
use crate::{Models, RunSettings, Sources, told};

/// Kept free at the end of an invocation to record how the run ended.
const FINISH_MARGIN: Duration = Duration::from_secs(3);
/// Waits between tries to record how a run ended.
const FINISH_PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(1000)];
/// A lease outlives its invocation by this much: so much may the clocks of two
/// functions disagree, each of them wrong by up to 5 s.
const LEASE_SLACK: Duration = Duration::from_secs(10);

/// Everything a run needs.
#[derive(Debug)]
pub struct Runner {
    /// Where tasks are claimed and finished.
    pub tasks: Tasks,
    /// Where agents are looked up.
    pub agents: Arc<Agents>,
    /// Where providers' keys are.
    pub secrets: Arc<Secrets>,
    /// What agents look up.
    pub sources: Arc<Sources>,
    /// The clients of the providers.
    pub models: Models,
    /// Renders prompts.
    pub subprocesses: Subprocesses,
    /// Lets a task that lost its worker run alone.
    pub gate: RunGate,
    /// The operator's choices.
    pub settings: RunSettings,
    /// Tells the time.
    pub clock: Clock,
}

/// What the queue does with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Delete it.
    Done,
    /// Hand it out again after this long.
    ComeBackIn(Duration),
}

/// How a task comes to run in this process.
#[derive(Debug)]
pub(crate) enum RunEntry {
    /// Beside others.
    Shared(Entered),
    /// Alone, and before the others of its batch.
    Alone(EnteredAlone),
    /// Another task of its batch runs alone now.
    Later,
    /// Not at all: the process is about to stop.
    Closed,
}

/// The process is about to stop. The task is found again at the next start.
const NOT_STARTED: Disposition = Disposition::ComeBackIn(Duration::ZERO);

/// Only the next look at the task can tell whether its message is needed.
const LOOK_AGAIN: Disposition = Disposition::ComeBackIn(Duration::from_secs(1));

impl Runner {
    /// Runs a task if its agent has a run slot for it and it can be claimed.
    /// `deadline` is when this process may die: the leases end then, and need no
    /// heartbeat.
    pub(crate) async fn run(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        entry: RunEntry,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        let entered = match entry {
            RunEntry::Shared(entered) => entered,
            RunEntry::Alone(alone) => return self.run_entered_alone(alone, id, agent, deadline).await,
            RunEntry::Later => {
                let pause = random_wait_pause();
                told::deferred_by_run_alone(pause);
                return Ok(Disposition::ComeBackIn(pause));
            }
            RunEntry::Closed => return Ok(NOT_STARTED),
        };
        let disposition = self.run_as(Isolation::Shared, id, agent, deadline).await?;
        drop(entered);
        match disposition {
            Some(disposition) => Ok(disposition),
            None => self.run_alone(id, agent, deadline).await,
        }
    }

    /// Runs a task that lost its worker, once no other run is in progress here. Nothing
    /// is claimed before, so that the wait uses up neither lease nor run slot. The task
    /// comes back later if another one waits already, or if the rest of the invocation
    /// would be too short for the run.
    async fn run_alone(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        let longest_run = self.longest_run(id, agent).await?;
        let latest_start = deadline.minus(FINISH_MARGIN).minus(longest_run);
        told::waits_to_run_alone();
        let patience = latest_start.since(self.clock.now());
        match self.gate.enter_alone(patience).await {
            Some(alone) => self.run_entered_alone(alone, id, agent, deadline).await,
            None => self.come_back_to_run_alone(id).await,
        }
    }

    async fn run_entered_alone(
        &self,
        alone: EnteredAlone,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        // A run is large, and would be moved about the stack.
        let run = Box::pin(self.run_as(Isolation::Alone, id, agent, deadline));
        Ok(alone.perform(run).await?.unwrap_or(LOOK_AGAIN))
    }

    /// Lets the task wait, or ends it if it has waited for too long.
    async fn come_back_to_run_alone(&self, id: TaskId) -> Result<Disposition, StoreError> {
        if self.gate.is_closed() {
            return Ok(NOT_STARTED);
        }
        let (now, pause) = (self.clock.now(), random_wait_pause());
        match self.tasks.wait_to_run_alone(id, now, now.plus(pause)).await? {
            Wait::Since(since) if gives_up_waiting(now.since(since)) => {
                self.end_unheld(id, Failure::never_alone()).await
            }
            Wait::Since(_) => Ok(Disposition::ComeBackIn(pause)),
            Wait::Refused(refusal) => Ok(leave(refusal, now)),
        }
    }

    /// None if the task must run alone, and does not.
    async fn run_as(
        &self,
        isolation: Isolation,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Option<Disposition>, StoreError> {
        let lease_until = deadline.plus(LEASE_SLACK);
        match self.turn(id, agent, lease_until).await? {
            Turn::Wait(agent) => self.wait_for_slot(id, agent).await.map(Some),
            Turn::Go(slot) => {
                let disposition = self.claim(isolation, id, deadline, lease_until).await;
                self.give_back(slot, deadline).await;
                disposition
            }
        }
    }

    async fn claim(
        &self,
        isolation: Isolation,
        id: TaskId,
        deadline: Moment,
        lease_until: Moment,
    ) -> Result<Option<Disposition>, StoreError> {
        let now = self.clock.now();
        match self.tasks.claim(id, now, lease_until, self.settings.max_attempts, isolation).await? {
            Claim::Granted(claimed) => self.perform(&claimed, deadline).await.map(Some),
            Claim::Refused(ClaimRefusal::Exhausted) => self.bury(id).await.map(Some),
            Claim::Refused(ClaimRefusal::MustRunAlone) => Ok(None),
            Claim::Refused(refusal) => Ok(Some(leave(refusal, now))),
        }
    }

    /// Ends a task that used up its attempts or its deliveries, as `worker_lost`.
    pub(crate) async fn bury(&self, id: TaskId) -> Result<Disposition, StoreError> {
        self.end_unheld(id, Failure::worker_lost()).await
    }

    /// Ends a task that nobody holds; one that is held is left for later.
    pub(crate) async fn end_unheld(&self, id: TaskId, failure: Failure) -> Result<Disposition, StoreError> {
        let run = match self.tasks.left_at(id).await {
            // It must end, whatever is left of its run.
            Err(StoreError::Damaged { .. }) => None,
            left => left?,
        };
        let (ended, now) = (Run::given_up(run.as_ref(), failure), self.clock.now());
        match self.tasks.end_unheld(id, &ended, now, self.settings.retention).await? {
            Burial::Ended(task) => {
                told::end_unheld(&task, now);
                Ok(Disposition::Done)
            }
            Burial::Refused(refusal) => Ok(leave(refusal, now)),
        }
    }

    async fn perform(&self, claimed: &Claimed, deadline: Moment) -> Result<Disposition, StoreError> {
        told::start(claimed);
        let read = async {
            let (payload, earlier) =
                (self.tasks.payload(claimed).await?, self.tasks.checkpointed(claimed).await?);
            Ok((payload, earlier, self.agents.remembered(claimed.task.agent_id).await?))
        };
        let (payload, earlier, agent) = match read.await {
            Ok(read) => read,
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(error = error_chain(&error), "damaged record");
                let failure =
                    Failure::permanent(ErrorType::Internal, "What this task needs cannot be read back");
                return self.finish(claimed, &Ended::without_usage(failure)).await;
            }
            Err(error) => {
                // Nobody should have to wait for the lease of a run that never began.
                let why = &Failure::passing(ErrorType::Internal, "What this task needs could not be read");
                let (at, spent) = (self.clock.now(), claimed.task.spent);
                self.tasks.release(claimed, Release { at, why, spent, not_before: at, run: None }).await?;
                return Err(error);
            }
        };
        let Some(record) = agent else {
            let failure =
                Failure::permanent(ErrorType::InvalidAgent, "The agent was deleted before this task ended");
            return self.finish(claimed, &Run::given_up(earlier.as_ref(), failure)).await;
        };
        let timeout = record.agent.draft().limits.timeout();
        let alive_for = deadline.minus(FINISH_MARGIN).since(self.clock.now());
        let budget = timeout.saturating_sub(claimed.task.spent).min(alive_for);
        let attempt = drive::attempt(self, &record, claimed, &payload, earlier, budget);
        let attempt = AssertUnwindSafe(attempt).catch_unwind().await;
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(_) => self.panicked(claimed).await,
        };
        let attempt = self.reconsider(attempt, &record).await;
        self.settle(claimed, attempt, timeout).await
    }

    /// A function remembers agents for some seconds. If the definition has been replaced
    /// meanwhile, perhaps with a new API key, a permanent fault of the old one says
    /// nothing about the new one, which the next attempt uses.
    async fn reconsider(&self, attempt: Attempt, used: &AgentRecord) -> Attempt {
        let (failure, run) = match attempt {
            Attempt::Faulted { fault: Fault::Permanent(failure), run }
                if may_be_outdated(failure.kind, used) =>
            {
                (failure, run)
            }
            attempt => return attempt,
        };
        let current = self.agents.refreshed(used.agent.id()).await;
        let fault = match current {
            Ok(Some(current)) if current.revision != used.revision => {
                Fault::Passing { failure: Failure { retryable: true, ..failure }, retry_after: None }
            }
            _ => Fault::Permanent(failure),
        };
        Attempt::Faulted { fault, run }
    }

    async fn panicked(&self, claimed: &Claimed) -> Attempt {
        tracing::error!("run panicked");
        let failure = Failure::permanent(ErrorType::Internal, "The run failed inside the server");
        let run = self.tasks.checkpointed(claimed).await.ok().flatten();
        Attempt::Ended(Run::given_up(run.as_ref(), failure))
    }

    /// Records the end of the task, or gives it back for another attempt.
    async fn settle(
        &self,
        claimed: &Claimed,
        attempt: Attempt,
        timeout: Duration,
    ) -> Result<Disposition, StoreError> {
        let (fault, run) = match attempt {
            Attempt::Ended(ended) => return self.finish(claimed, &ended).await,
            Attempt::Fenced => return Ok(void()),
            Attempt::Faulted { fault, run } => (fault, run),
        };
        let spent = claimed.task.spent + self.clock.now().since(claimed.claimed_at);
        let policy = RetryPolicy { max_attempts: self.settings.max_attempts, timeout };
        match after_fault(fault, claimed.task.attempt, spent, policy) {
            AttemptEnd::Release { pause, why } => self.release(claimed, spent, pause, &why, &run).await,
            AttemptEnd::Fail(failure) => self.finish(claimed, &run.stopped(failure)).await,
        }
    }

    async fn finish(&self, claimed: &Claimed, ended: &Ended) -> Result<Disposition, StoreError> {
        // An earlier attempt may have begun by a clock that is ahead of this one.
        let now = self.clock.now().max(claimed.task.started_at.unwrap_or(claimed.claimed_at));
        match self.record(claimed, ended, now).await? {
            Finish::Recorded => {
                told::end(claimed, ended, now);
                Ok(Disposition::Done)
            }
            Finish::Fenced => Ok(void()),
        }
    }

    /// Records the end, trying for some seconds: without it the model would be
    /// asked, and paid, again.
    async fn record(&self, claimed: &Claimed, ended: &Ended, now: Moment) -> Result<Finish, StoreError> {
        let retention = self.settings.retention;
        for pause in FINISH_PAUSES {
            match self.tasks.finish(claimed, ended, now, retention).await {
                Ok(finish) => return Ok(finish),
                Err(error) => tracing::warn!(error = error_chain(&error), "end not recorded yet"),
            }
            tokio::time::sleep(pause).await;
        }
        self.tasks.finish(claimed, ended, now, retention).await
    }

    async fn release(
        &self,
        claimed: &Claimed,
        spent: Duration,
        pause: Duration,
        why: &Failure,
        run: &Run,
    ) -> Result<Disposition, StoreError> {
        let at = self.clock.now();
        let run = run.is_under_way().then_some(run);
        let release = Release { at, why, spent: spent + pause, not_before: at.plus(pause), run };
        match self.tasks.release(claimed, release).await? {
            // Perhaps by our own write, tried again after a lost answer: only the
            // next look at the task can tell whether its message is needed.
            Finish::Fenced => Ok(Disposition::ComeBackIn(pause)),
            Finish::Recorded => {
                told::release(pause);
                Ok(Disposition::ComeBackIn(pause))
            }
        }
    }
}

/// A model's key of the agent itself gets a new name when it is replaced, and the old one
/// is deleted. Other faults of a model are not worth another read of the agent.
fn may_be_outdated(fault: ErrorType, used: &AgentRecord) -> bool {
    let model = used.agent.draft().model.as_ref();
    let has_own_key = matches!(model.and_then(|model| model.api_key.as_ref()), Some(ApiKey::Stored(_)));
    fault == ErrorType::InvalidAgent || (fault == ErrorType::ModelError && has_own_key)
}

pub(crate) fn leave(refusal: ClaimRefusal, now: Moment) -> Disposition {
    match refusal {
        ClaimRefusal::Gone | ClaimRefusal::Ended => Disposition::Done,
        ClaimRefusal::Held { until } => {
            let pause = until.since(now);
            told::left(pause);
            Disposition::ComeBackIn(pause)
        }
        // Changed between two looks at it.
        ClaimRefusal::MustRunAlone | ClaimRefusal::Exhausted => LOOK_AGAIN,
    }
}

/// A newer attempt may hold the task, and this be its only message.
fn void() -> Disposition {
    tracing::warn!("attempt void: the task had ended, or has a newer attempt");
    LOOK_AGAIN
}
