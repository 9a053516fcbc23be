//! Run slots: an agent that limits its runs has so many at a time, over all
//! functions. Others of its tasks wait, without a claim and without an attempt.

use domain::{AgentId, Failure, Moment, TaskId, gives_up_slot, slot_pause};
use store::{Slot, SlotAnswer, StoreError, Wait, error_chain};

use crate::task::{Disposition, leave};
use crate::{Runner, told};

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
        let agent = match agent {
            Some(agent) => Some(agent),
            None => self.tasks.owner(id).await?,
        };
        let Some(agent) = agent else { return Ok(None) };
        match self.agents.remembered(agent).await {
            Ok(record) => {
                let slots = record.and_then(|record| record.agent.draft().limits.max_concurrent_runs);
                Ok(slots.map(|slots| (agent, slots)))
            }
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the task wait, or ends it if it has waited for too long. A message
    /// whose task has ended does not go round for ever.
    pub(crate) async fn wait_for_slot(&self, id: TaskId, agent: AgentId) -> Result<Disposition, StoreError> {
        let (now, mut chance) = (self.clock.now(), [0; 2]);
        // Without randomness all look again after the same time: crowded, not wrong.
        let _ = getrandom::fill(&mut chance);
        let pause = slot_pause(u16::from_be_bytes(chance));
        match self.tasks.wait_for_slot(id, now, now.plus(pause)).await? {
            Wait::Since(since) if gives_up_slot(now.since(since)) => {
                self.end_unheld(id, Failure::no_slot()).await
            }
            Wait::Since(_) => {
                told::no_slot(agent, pause);
                Ok(Disposition::SendAgain { agent, pause })
            }
            Wait::Refused(refusal) => Ok(leave(refusal, now)),
        }
    }

    pub(crate) async fn give_back(&self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        if let Err(error) = self.tasks.free_slot(&slot).await {
            // It is free again when its lease is over.
            tracing::warn!(error = error_chain(&error), "run slot not given back");
        }
    }
}
