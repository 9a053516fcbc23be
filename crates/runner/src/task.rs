//! One task: claim, run, finish.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use domain::{
    AgentId, ClaimRefusal, Ended, ErrorType, Failure, Isolation, Moment, Payload, Run, TaskId,
    gives_up_waiting,
};
use futures::FutureExt as _;
use store::{Claim, Claimed, EndAbandoned, Release, StoreError, StoredAgent, Wait, error_chain};

use crate::disposition::{Disposition, LOOK_AGAIN, defer_refused};
use crate::drive;
use crate::gate::{ExclusiveRunPermit, RunPermit};
use crate::slots::{SlotDecision, random_wait_pause};
use crate::{Runner, log};

/// Reserved at the end of an invocation to record how the run ended.
const FINISH_MARGIN: Duration = Duration::from_secs(3);
/// A lease outlives its invocation by this much, because the clocks of two functions may
/// differ by it: each may be wrong by up to 5 s.
const LEASE_SLACK: Duration = Duration::from_secs(10);

/// Whether and how a task may run in this process.
#[derive(Debug)]
pub(crate) enum RunEntry {
    /// In parallel with others.
    Shared(RunPermit),
    /// Alone, and before the others of its batch.
    Alone(ExclusiveRunPermit),
    /// Another task of its batch runs alone now.
    Later,
    /// The process is about to stop.
    Closed,
}

/// The process is about to stop. The task is found again at the next start.
const NOT_STARTED: Disposition = Disposition::RetryAfter(Duration::ZERO);

/// The payload, the run so far, and the agent.
type Inputs = (Payload, Option<Run>, Option<StoredAgent>);

impl Runner {
    /// Runs a task if its agent has a free run slot and the task can be claimed.
    /// `deadline` is when this process may be stopped. Leases end shortly after it, so they
    /// need no heartbeat.
    pub(crate) async fn run(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        entry: RunEntry,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        let entered = match entry {
            RunEntry::Shared(entered) => entered,
            RunEntry::Alone(alone) => {
                return self
                    .run_with_exclusive_permit(alone, id, agent, deadline)
                    .await;
            }
            RunEntry::Later => {
                let pause = random_wait_pause();
                log::log_deferred_by_run_alone(pause);
                return Ok(Disposition::RetryAfter(pause));
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

    /// Runs a task that lost its worker, once no other run is in progress in this process.
    /// Claims nothing before that, so that the wait uses neither lease nor run slot. The task
    /// is deferred if another one already waits to run alone, or if the rest of the invocation
    /// would be too short for the run.
    async fn run_alone(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        let run_timeout = self.run_timeout(id, agent).await?;
        let latest_start = deadline.minus(FINISH_MARGIN).minus(run_timeout);
        log::log_waits_to_run_alone();
        let patience = latest_start.since(self.clock.now());
        match self.gate.enter_alone(patience).await {
            Some(alone) => {
                self.run_with_exclusive_permit(alone, id, agent, deadline)
                    .await
            }
            None => self.retry_to_run_alone(id).await,
        }
    }

    async fn run_with_exclusive_permit(
        &self,
        alone: ExclusiveRunPermit,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        // The future of a run is large, and would be moved on the stack.
        let run = Box::pin(self.run_as(Isolation::Alone, id, agent, deadline));
        Ok(alone.perform(run).await?.unwrap_or(LOOK_AGAIN))
    }

    /// Defers the task, or ends it if it has waited for too long.
    async fn retry_to_run_alone(&self, id: TaskId) -> Result<Disposition, StoreError> {
        if self.gate.is_closed() {
            return Ok(NOT_STARTED);
        }
        let (now, pause) = (self.clock.now(), random_wait_pause());
        match self
            .tasks
            .wait_to_run_alone(id, now, now.plus(pause))
            .await?
        {
            Wait::Since(since) if gives_up_waiting(now.since(since)) => {
                self.end_abandoned(id, Failure::never_alone()).await
            }
            Wait::Since(_) => Ok(Disposition::RetryAfter(pause)),
            Wait::Refused(refusal) => Ok(defer_refused(refusal, now)),
        }
    }

    /// Returns `None` if the task must run alone and `isolation` is shared.
    async fn run_as(
        &self,
        isolation: Isolation,
        id: TaskId,
        agent: Option<AgentId>,
        deadline: Moment,
    ) -> Result<Option<Disposition>, StoreError> {
        let lease_until = deadline.plus(LEASE_SLACK);
        match self.acquire_slot(id, agent, lease_until).await? {
            SlotDecision::Wait(agent) => self.wait_for_slot(id, agent).await.map(Some),
            SlotDecision::Run(slot) => {
                let disposition = self.claim(isolation, id, deadline, lease_until).await;
                self.release_slot(slot, deadline).await;
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
        match self
            .tasks
            .claim(id, now, lease_until, self.settings.max_attempts, isolation)
            .await?
        {
            Claim::Granted(claimed) => self.perform(&claimed, deadline).await.map(Some),
            Claim::Refused(ClaimRefusal::Exhausted) => self.end_worker_lost(id).await.map(Some),
            Claim::Refused(ClaimRefusal::MustRunAlone) => Ok(None),
            Claim::Refused(refusal) => Ok(Some(defer_refused(refusal, now))),
        }
    }

    /// Ends a task that has used up its attempts or its deliveries, as `worker_lost`.
    pub(crate) async fn end_worker_lost(&self, id: TaskId) -> Result<Disposition, StoreError> {
        self.end_abandoned(id, Failure::worker_lost()).await
    }

    /// Ends a task that no worker holds. Defers it if a worker holds it.
    pub(crate) async fn end_abandoned(
        &self,
        id: TaskId,
        failure: Failure,
    ) -> Result<Disposition, StoreError> {
        let run = match self.tasks.abandoned_run(id).await {
            // The task must end even if its stored run is damaged.
            Err(StoreError::Damaged { .. }) => None,
            run => run?,
        };
        let (ended, now) = (Run::given_up(run.as_ref(), failure), self.clock.now());
        match self
            .tasks
            .end_abandoned(id, &ended, now, self.settings.retention)
            .await?
        {
            EndAbandoned::Ended(task) => {
                log::log_ended_abandoned(&task, now);
                Ok(Disposition::Ack)
            }
            EndAbandoned::Refused(refusal) => Ok(defer_refused(refusal, now)),
        }
    }

    async fn perform(
        &self,
        claimed: &Claimed,
        deadline: Moment,
    ) -> Result<Disposition, StoreError> {
        log::log_started(claimed);
        let (payload, earlier, agent) = match self.read_inputs(claimed).await {
            Ok(inputs) => inputs,
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(error = error_chain(&error), "damaged record");
                let failure =
                    Failure::permanent(ErrorType::Internal, "The data of this task is damaged");
                return self.finish(claimed, &Ended::without_usage(failure)).await;
            }
            Err(error) => {
                self.release_unread(claimed).await?;
                return Err(error);
            }
        };
        let Some(record) = agent else {
            let failure = Failure::permanent(
                ErrorType::InvalidAgent,
                "The agent was deleted before this task ended",
            );
            return self
                .finish(claimed, &Run::given_up(earlier.as_ref(), failure))
                .await;
        };
        let timeout = record.agent.definition().limits.timeout();
        let alive_for = deadline.minus(FINISH_MARGIN).since(self.clock.now());
        let budget = timeout.saturating_sub(claimed.task.spent).min(alive_for);
        let attempt = drive::attempt(self, &record, claimed, &payload, earlier, budget);
        let attempt = AssertUnwindSafe(attempt).catch_unwind().await;
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(_) => self.end_panicked(claimed).await,
        };
        let attempt = self.retry_if_outdated(attempt, &record).await;
        self.settle(claimed, attempt, timeout).await
    }
    /// Reads what a run starts from. Without the agent if it was deleted.
    async fn read_inputs(&self, claimed: &Claimed) -> Result<Inputs, StoreError> {
        let payload = self.tasks.payload(claimed).await?;
        let earlier = self.tasks.load_checkpoint(claimed).await?;
        let agent = self.agents.get_cached(claimed.task.agent_id).await?;
        Ok((payload, earlier, agent))
    }

    /// Releases a task whose data could not be read. The caller should not wait for the lease
    /// of a run that never began.
    async fn release_unread(&self, claimed: &Claimed) -> Result<(), StoreError> {
        let text = "The data of this task could not be read";
        let (at, spent) = (self.clock.now(), claimed.task.spent);
        let release = Release {
            at,
            why: &Failure::transient(ErrorType::Internal, text),
            spent,
            not_before: at,
            run: None,
        };
        self.tasks.release(claimed, release).await?;
        Ok(())
    }
}
