//! Run slots limit how many runs of an agent are in progress at a time, across all
//! functions. Further tasks of the agent wait without being claimed.

use std::time::Duration;

use domain::agent::Limits;
use domain::{AgentId, Failure, Moment, TaskId, gives_up_waiting, wait_pause};
use store::{Slot, SlotAnswer, StoreError, Wait, error_chain};

use crate::disposition::{Disposition, defer_refused};
use crate::{Runner, log};

/// Pauses between the attempts to release a run slot.
const RELEASE_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];
/// Reserved at the end of an invocation to return the result of the batch.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Whether a task may run now.
pub(crate) enum SlotDecision {
    /// The task may run. It holds this slot, if its agent limits its runs.
    Run(Option<Slot>),
    /// All run slots of this agent are taken.
    Wait(AgentId),
}

impl Runner {
    /// Takes a run slot for the task, if its agent limits its runs.
    pub(crate) async fn acquire_slot(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        lease_until: Moment,
    ) -> Result<SlotDecision, StoreError> {
        let Some((agent, slots)) = self.run_limit(id, agent).await? else {
            return Ok(SlotDecision::Run(None));
        };
        match self
            .tasks
            .take_slot(agent, slots, self.clock.now(), lease_until)
            .await?
        {
            SlotAnswer::Taken(slot) => Ok(SlotDecision::Run(Some(slot))),
            SlotAnswer::Full => Ok(SlotDecision::Wait(agent)),
        }
    }

    /// The task's agent and how many runs it may have, if it limits them. Problems with the
    /// task or the agent are ignored here: the run reports them.
    async fn run_limit(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Option<(AgentId, u32)>, StoreError> {
        let Some((agent, limits)) = self.agent_limits(id, agent).await? else {
            return Ok(None);
        };
        Ok(limits.max_concurrent_runs.map(|slots| (agent, slots)))
    }

    pub(crate) async fn run_timeout(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Duration, StoreError> {
        let limits = self.agent_limits(id, agent).await?;
        Ok(limits.map_or(Duration::ZERO, |(_, limits)| limits.timeout()))
    }

    async fn agent_limits(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Option<(AgentId, Limits)>, StoreError> {
        let agent = match agent {
            Some(agent) => Some(agent),
            None => self.tasks.owner(id).await?,
        };
        let Some(agent) = agent else { return Ok(None) };
        match self.agents.get_cached(agent).await {
            Ok(record) => {
                Ok(record.map(|record| (agent, record.agent.definition().limits.clone())))
            }
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Defers the task, or ends it if it has waited for too long. The message of a task that
    /// has ended is deleted.
    pub(crate) async fn wait_for_slot(
        &self,
        id: TaskId,
        agent: AgentId,
    ) -> Result<Disposition, StoreError> {
        let (now, pause) = (self.clock.now(), random_wait_pause());
        match self.tasks.wait_for_slot(id, now, now.plus(pause)).await? {
            Wait::Since(since) if gives_up_waiting(now.since(since)) => {
                self.end_abandoned(id, Failure::no_slot()).await
            }
            Wait::Since(_) => {
                log::log_waits_for_slot(agent, pause);
                Ok(Disposition::RetryAfter(pause))
            }
            Wait::Refused(refusal) => Ok(defer_refused(refusal, now)),
        }
    }

    /// Retries, because a slot that is not released is blocked until its lease ends, and the
    /// item of an agent with thousands of waiting tasks may be throttled.
    pub(crate) async fn release_slot(&self, slot: Option<Slot>, deadline: Moment) {
        let Some(slot) = slot else { return };
        let remaining = deadline.minus(ANSWER_MARGIN).since(self.clock.now());
        if tokio::time::timeout(remaining, self.try_release_slot(&slot))
            .await
            .is_err()
        {
            tracing::error!("run slot blocked until its lease ends, because the invocation ends");
        }
    }

    async fn try_release_slot(&self, slot: &Slot) {
        for pause in RELEASE_PAUSES {
            match self.tasks.free_slot(slot).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "run slot not released yet")
                }
            }
            tokio::time::sleep(pause).await;
        }
        if let Err(error) = self.tasks.free_slot(slot).await {
            tracing::error!(
                error = error_chain(&error),
                "run slot blocked until its lease ends"
            );
        }
    }
}

/// How long a waiting task is deferred.
pub(crate) fn random_wait_pause() -> Duration {
    let mut chance = [0; 2];
    // Without randomness all of them try again at the same time, which only costs throughput.
    let _ = getrandom::fill(&mut chance);
    wait_pause(u16::from_be_bytes(chance))
}
