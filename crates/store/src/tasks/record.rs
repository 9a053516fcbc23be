//! Parses a task's item.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{AgentId, Ended, Moment, Payload, Status, Task, TaskBrief, TaskId, TaskKey};

use super::{Claimed, RECORD_VERSION, Tasks};
use crate::item::{Item, ItemReader};
use crate::{StoreError, blob};

impl Tasks {
    pub async fn payload(&self, claimed: &Claimed) -> Result<Payload, StoreError> {
        self.payload_in(&claimed.item).await
    }

    pub(super) async fn payload_in(&self, found: &Item) -> Result<Payload, StoreError> {
        let json = blob::load_content(&self.db, &self.table, found, "payload").await?;
        String::from_utf8(json).map(Payload::from_stored).map_err(|_| ItemReader(found).damaged("payload"))
    }

    /// Parses the summary, without reading the items of a spilled outcome.
    pub(super) async fn brief(&self, found: &Item) -> Result<TaskBrief, StoreError> {
        if let Some(AttributeValue::M(spilled)) = found.get("outcome")
            && let Some(brief) = spilled.get("brief")
        {
            let mut found = found.clone();
            found.insert("outcome".to_owned(), brief.clone());
            return self.task_ending(&found, |_, _| true).await.map(TaskBrief::from_task);
        }
        self.task(found).await.map(TaskBrief::from_task)
    }

    /// Parses the task, and reads a spilled outcome from its items.
    pub(super) async fn task(&self, found: &Item) -> Result<Task, StoreError> {
        self.task_ending(found, Task::can_have_ended).await
    }

    async fn task_ending(
        &self,
        found: &Item,
        can_have_ended: fn(Status, Option<&Ended>) -> bool,
    ) -> Result<Task, StoreError> {
        let reader = ItemReader(found).require_version(RECORD_VERSION)?;
        let ended = match found.contains_key("outcome") {
            true => {
                let json = blob::load_content(&self.db, &self.table, found, "outcome").await?;
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

pub(super) fn task_id(reader: ItemReader<'_>) -> Result<TaskId, StoreError> {
    let key = TaskKey::from_hex(reader.text("id")?).ok_or_else(|| reader.damaged("id"))?;
    Ok(TaskId::new(reader.moment("created_at")?, key))
}

pub(super) fn agent_id(reader: ItemReader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text("agent_id")?).ok_or_else(|| reader.damaged("agent_id"))
}

pub(super) fn status(reader: ItemReader<'_>) -> Result<Status, StoreError> {
    Status::parse(reader.text("status")?).ok_or_else(|| reader.damaged("status"))
}

pub(super) fn worker_lost(reader: ItemReader<'_>) -> Result<bool, StoreError> {
    match reader.0.contains_key("worker_lost") {
        true => reader.flag("worker_lost"),
        false => Ok(false),
    }
}
