//! The queue of task ids for the workers. A message is only an id. The task's record has its
//! whole state, so sending a message again is harmless.

mod memory;
mod sqs;

use std::sync::Arc;
use std::time::Duration;

use domain::{AgentId, TaskId};

pub use memory::{MemoryQueue, QueueMessage};
pub use sqs::SqsQueue;

use crate::StoreError;

#[derive(Debug)]
pub enum Queue {
    Sqs(SqsQueue),
    /// In this process. After a restart, the server fills it from the tasks table.
    Memory(Arc<MemoryQueue>),
}

impl Queue {
    /// Sends a task to the workers. The messages of an agent form a group, and groups take
    /// turns, so that a burst of one agent does not delay the others.
    pub async fn send(&self, task: TaskId, agent: AgentId) -> Result<(), StoreError> {
        match self {
            Self::Sqs(queue) => queue.send(task, agent).await,
            Self::Memory(queue) => {
                queue.send(task, agent);
                Ok(())
            }
        }
    }

    /// Sends a task that becomes visible after `delay`. Its receive count starts again.
    pub async fn send_later(
        &self,
        task: TaskId,
        agent: AgentId,
        delay: Duration,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqs(queue) => queue.send_later(task, agent, delay).await,
            Self::Memory(queue) => {
                queue.send_later(task, agent, delay);
                Ok(())
            }
        }
    }

    /// Sets the visibility timeout of a received message, counted from now.
    pub async fn defer(&self, receipt: &str, delay: Duration) -> Result<(), StoreError> {
        match self {
            Self::Sqs(queue) => queue.defer(receipt, delay).await,
            Self::Memory(queue) => {
                queue.defer(receipt, delay);
                Ok(())
            }
        }
    }
}
