//! A task with all there is to say of it.

use domain::{Event, Moment, Payload, Status, Task, TaskId, history};

use super::{Tasks, events};
use crate::StoreError;
use crate::item::Reader;

/// A task as people look at it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The task.
    pub task: Task,
    /// What it was triggered with.
    pub payload: Payload,
    /// It waits for a run slot of its agent, and looks again then.
    pub waits_until: Option<Moment>,
    /// What befell it, in order.
    pub events: Vec<Event>,
}

impl Tasks {
    /// The task as it stands now, with what it was triggered with and what befell it.
    pub async fn show(&self, id: TaskId) -> Result<Option<Shown>, StoreError> {
        let Some(found) = self.read(id.key()).await? else { return Ok(None) };
        let task = self.task(&found).await?;
        if task.id != id {
            return Ok(None);
        }
        let waits_until = Reader(&found).optional_moment("waits_until")?;
        Ok(Some(Shown {
            payload: self.payload_in(&found).await?,
            waits_until: waits_until.filter(|_| task.status == Status::Pending),
            events: history(&task, events::read(&found)?),
            task,
        }))
    }
}
