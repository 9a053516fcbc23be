//! A task's item, read.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{AgentId, Brief, Ended, Moment, Status, Task, TaskId, TaskKey};

use super::{RECORD_VERSION, Tasks};
use crate::item::{Item, Reader};
use crate::{StoreError, blob};

impl Tasks {
    /// The same without what the task answered, which need not be read.
    pub(super) async fn brief(&self, found: &Item) -> Result<Brief, StoreError> {
        if let Some(AttributeValue::M(spilled)) = found.get("outcome")
            && let Some(brief) = spilled.get("brief")
        {
            let mut found = found.clone();
            found.insert("outcome".to_owned(), brief.clone());
            return self.task_ending(&found, |_, _| true).await.map(Brief::of);
        }
        self.task(found).await.map(Brief::of)
    }

    /// The task an item holds; a spilled outcome is read from its own items.
    pub(super) async fn task(&self, found: &Item) -> Result<Task, StoreError> {
        self.task_ending(found, Task::can_have_ended).await
    }

    async fn task_ending(
        &self,
        found: &Item,
        can_have_ended: fn(Status, Option<&Ended>) -> bool,
    ) -> Result<Task, StoreError> {
        let reader = Reader(found).of_version(RECORD_VERSION)?;
        let ended = match found.contains_key("outcome") {
            true => {
                let json = blob::read(&self.db, &self.table, found, "outcome").await?;
                Some(serde_json::from_slice(&json).map_err(|_| reader.damaged("outcome"))?)
            }
            false => None,
        };
        let status = status(reader)?;
        if !can_have_ended(status, ended.as_ref()) {
            return Err(reader.damaged("outcome"));
        }
        Ok(Task {
            id: task_id(reader)?,
            agent_id: agent_id(reader)?,
            status,
            attempt: reader.count("attempt")?,
            started_at: reader.optional_moment("started_at")?,
            finished_at: reader.optional_moment("finished_at")?,
            lease_until: reader.optional_moment("lease_until")?,
            spent: Duration::from_millis(reader.number("spent_ms")?),
            worker_lost: worker_lost(reader)?,
            ended,
            expires_at: Moment::from_millis(reader.number("expires_at")?.saturating_mul(1000)),
        })
    }
}

pub(super) fn task_id(reader: Reader<'_>) -> Result<TaskId, StoreError> {
    let key = TaskKey::from_hex(reader.text("id")?).ok_or_else(|| reader.damaged("id"))?;
    Ok(TaskId::new(reader.moment("created_at")?, key))
}

pub(super) fn agent_id(reader: Reader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text("agent_id")?).ok_or_else(|| reader.damaged("agent_id"))
}

pub(super) fn status(reader: Reader<'_>) -> Result<Status, StoreError> {
    Status::parse(reader.text("status")?).ok_or_else(|| reader.damaged("status"))
}

/// Whether an attempt is known to have lost its worker.
pub(super) fn worker_lost(reader: Reader<'_>) -> Result<bool, StoreError> {
    match reader.0.contains_key("worker_lost") {
        true => reader.flag("worker_lost"),
        false => Ok(false),
    }
}
