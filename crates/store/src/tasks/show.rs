//! A task with its payload and history.

use domain::{HistoryEvent, Moment, Payload, Status, Task, TaskId, task_history};

use super::attributes::WAITS_UNTIL;
use super::{Tasks, events};
use crate::StoreError;
use crate::item::ItemReader;

#[derive(Clone, Debug)]
pub struct TaskDetails {
    pub task: Task,
    pub payload: Payload,
    /// The time of the next try, if the task waits for a run slot.
    pub waits_until: Option<Moment>,
    /// In chronological order.
    pub events: Vec<HistoryEvent>,
}

impl Tasks {
    pub async fn show(&self, id: TaskId) -> Result<Option<TaskDetails>, StoreError> {
        let Some(found) = self.read_item(id.key()).await? else {
            return Ok(None);
        };
        let task = self.task(&found).await?;
        if task.id != id {
            return Ok(None);
        }
        let waits_until = ItemReader(&found).optional_moment(WAITS_UNTIL)?;
        Ok(Some(TaskDetails {
            payload: self.payload_in(&found).await?,
            waits_until: waits_until.filter(|_| task.status == Status::Pending),
            events: task_history(&task, events::parse_events(&found)?),
            task,
        }))
    }
}
