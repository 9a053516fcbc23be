//! Task ids on their way to a runner. A message is only an id: the record is
//! the whole truth, so sending one again is always harmless.

mod memory;
mod sqs;

use std::sync::Arc;
use std::time::Duration;

use domain::{AgentId, TaskId};

pub use memory::{MemoryQueue, Message};
pub use sqs::SqsQueue;

use crate::StoreError;

/// The queue of this deployment.
#[derive(Debug)]
pub enum Queue {
    /// On AWS.
    Sqs(SqsQueue),
    /// In this process; a restarted server fills it anew from the tasks table.
    Memory(Arc<MemoryQueue>),
}

impl Queue {
    /// Sends a task to the runners. Messages of one agent form a group, and
    /// groups take turns, so that one agent's burst does not starve the others.
    pub async fn send(&self, task: TaskId, agent: AgentId) -> Result<(), StoreError> {
        match self {
            Self::Sqs(queue) => queue.send(task, agent).await,
            Self::Memory(queue) => {
                queue.send(task, agent);
                Ok(())
            }
        }
    }

    /// Sends a task that is to wait: its message is handed out after this long, its
    /// receives counted anew.
    pub async fn send_later(&self, task: TaskId, agent: AgentId, delay: Duration) -> Result<(), StoreError> {
        match self {
            Self::Sqs(queue) => queue.send_later(task, agent, delay).await,
            Self::Memory(queue) => {
                queue.send_later(task, agent, delay);
                Ok(())
            }
        }
    }

    /// Hides a received message for this long, counted from now.
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
