//! Run slots: an agent that limits its runs has so many at a time, over all
//! functions. Others of its tasks wait, without a claim and without an attempt.

use std::time::Duration;

use domain::agent::Limits;
use domain::{AgentId, Failure, Moment, TaskId, gives_up_waiting, wait_pause};
use store::{Slot, SlotAnswer, StoreError, Wait, error_chain};

use crate::task::{Disposition, leave};
use crate::{Runner, told};

/// Pauses between tries to give a run slot back.
const GIVE_BACK_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1000)];
/// Left free at the end of an invocation, so that the batch is answered.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Whether a task may run now.
pub(crate) enum Turn {
    /// It may; holding this slot, if its agent limits its runs.
    Go(Option<Slot>),
    /// Its agent is busy.
    Wait(AgentId),
}

impl Runner {
    /// Takes a run slot for the task, if its agent limits its runs.
    pub(crate) async fn turn(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
        lease_until: Moment,
    ) -> Result<Turn, StoreError> {
        let Some((agent, slots)) = self.limited(id, agent).await? else { return Ok(Turn::Go(None)) };
        match self.tasks.take_slot(agent, slots, self.clock.now(), lease_until).await? {
            SlotAnswer::Taken(slot) => Ok(Turn::Go(Some(slot))),
            SlotAnswer::Full => Ok(Turn::Wait(agent)),
        }
    }

    /// The task's agent and how many runs it may have, if it says so. What is wrong
    /// with a task or an agent is for its run to find out.
    async fn limited(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Option<(AgentId, u32)>, StoreError> {
        let Some((agent, limits)) = self.limits(id, agent).await? else { return Ok(None) };
        Ok(limits.max_concurrent_runs.map(|slots| (agent, slots)))
    }

    /// How long a run of the task may take.
    pub(crate) async fn longest_run(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Duration, StoreError> {
        let limits = self.limits(id, agent).await?;
        Ok(limits.map_or(Duration::ZERO, |(_, limits)| limits.timeout()))
    }

    async fn limits(
        &self,
        id: TaskId,
        agent: Option<AgentId>,
    ) -> Result<Option<(AgentId, Limits)>, StoreError> {
        let agent = match agent {
            Some(agent) => Some(agent),
            None => self.tasks.owner(id).await?,
        };
        let Some(agent) = agent else { return Ok(None) };
        match self.agents.remembered(agent).await {
            Ok(record) => Ok(record.map(|record| (agent, record.agent.draft().limits.clone()))),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the task wait, or ends it if it has waited for too long. A message
    /// whose task has ended does not go round for ever.
    pub(crate) async fn wait_for_slot(&self, id: TaskId, agent: AgentId) -> Result<Disposition, StoreError> {
        let (now, pause) = (self.clock.now(), random_wait_pause());
        match self.tasks.wait_for_slot(id, now, now.plus(pause)).await? {
            Wait::Since(since) if gives_up_waiting(now.since(since)) => {
                self.end_unheld(id, Failure::no_slot()).await
            }
            Wait::Since(_) => {
                told::no_slot(agent, pause);
                Ok(Disposition::ComeBackIn(pause))
            }
            Wait::Refused(refusal) => Ok(leave(refusal, now)),
        }
    }

    /// A slot that is not given back is blocked until its lease ends, and the item of an
    /// agent with thousands of waiting tasks may be throttled.
    pub(crate) async fn give_back(&self, slot: Option<Slot>, deadline: Moment) {
        let Some(slot) = slot else { return };
        let left = deadline.minus(ANSWER_MARGIN).since(self.clock.now());
        if tokio::time::timeout(left, self.try_to_give_back(&slot)).await.is_err() {
            tracing::error!("run slot blocked until its lease ends, because the invocation ends");
        }
    }

    async fn try_to_give_back(&self, slot: &Slot) {
        for pause in GIVE_BACK_PAUSES {
            match self.tasks.free_slot(slot).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error = error_chain(&error), "run slot not given back yet"),
            }
            tokio::time::sleep(pause).await;
        }
        if let Err(error) = self.tasks.free_slot(slot).await {
            tracing::error!(error = error_chain(&error), "run slot blocked until its lease ends");
        }
    }
}

/// How long a task that waits is left alone.
pub(crate) fn random_wait_pause() -> Duration {
    let mut chance = [0; 2];
    // Without randomness all look again after the same time: crowded, not wrong.
    let _ = getrandom::fill(&mut chance);
    wait_pause(u16::from_be_bytes(chance))
}
