//! Parses a task's item.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{AgentId, Ended, Moment, Payload, Status, Task, TaskBrief, TaskId, TaskKey};

use super::attributes::{
    AGENT_ID, ATTEMPT, CREATED_AT, EXPIRES_AT, FINISHED_AT, ID, LEASE_UNTIL, OUTCOME,
    OUTCOME_BRIEF, PAYLOAD, SPENT_MS, STARTED_AT, STATUS, WORKER_LOST,
};
use super::{Claimed, RECORD_VERSION, Tasks};
use crate::item::{Item, ItemReader};
use crate::{StoreError, blob};

impl Tasks {
    pub async fn payload(&self, claimed: &Claimed) -> Result<Payload, StoreError> {
        self.payload_in(&claimed.item).await
    }

    pub(super) async fn payload_in(&self, found: &Item) -> Result<Payload, StoreError> {
        let json = blob::load_content(&self.db, &self.table, found, PAYLOAD).await?;
        String::from_utf8(json)
            .map(Payload::from_stored)
            .map_err(|_| ItemReader(found).damaged(PAYLOAD))
    }

    /// Parses the summary, without reading the items of a spilled outcome.
    pub(super) async fn brief(&self, found: &Item) -> Result<TaskBrief, StoreError> {
        if let Some(AttributeValue::M(spilled)) = found.get(OUTCOME)
            && let Some(brief) = spilled.get(OUTCOME_BRIEF)
        {
            let mut found = found.clone();
            found.insert(OUTCOME.to_owned(), brief.clone());
            return self
                .task_ending(&found, |_, _| true)
                .await
                .map(TaskBrief::from_task);
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
        let ended = match found.contains_key(OUTCOME) {
            true => {
                let json = blob::load_content(&self.db, &self.table, found, OUTCOME).await?;
                Some(serde_json::from_slice(&json).map_err(|_| reader.damaged(OUTCOME))?)
            }
            false => None,
        };
        let status = status(reader)?;
        if !can_have_ended(status, ended.as_ref()) {
            return Err(reader.damaged(OUTCOME));
        }
        Ok(Task {
            id: task_id(reader)?,
            agent_id: agent_id(reader)?,
            status,
            attempt: reader.count(ATTEMPT)?,
            started_at: reader.optional_moment(STARTED_AT)?,
            finished_at: reader.optional_moment(FINISHED_AT)?,
            lease_until: reader.optional_moment(LEASE_UNTIL)?,
            spent: Duration::from_millis(reader.number(SPENT_MS)?),
            worker_lost: worker_lost(reader)?,
            ended,
            expires_at: Moment::from_millis(reader.number(EXPIRES_AT)?.saturating_mul(1000)),
        })
    }
}

pub(super) fn task_id(reader: ItemReader<'_>) -> Result<TaskId, StoreError> {
    let key = TaskKey::from_hex(reader.text(ID)?).ok_or_else(|| reader.damaged(ID))?;
    Ok(TaskId::new(reader.moment(CREATED_AT)?, key))
}

pub(super) fn agent_id(reader: ItemReader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text(AGENT_ID)?).ok_or_else(|| reader.damaged(AGENT_ID))
}

pub(super) fn status(reader: ItemReader<'_>) -> Result<Status, StoreError> {
    Status::parse(reader.text(STATUS)?).ok_or_else(|| reader.damaged(STATUS))
}

pub(super) fn worker_lost(reader: ItemReader<'_>) -> Result<bool, StoreError> {
    match reader.0.contains_key(WORKER_LOST) {
        true => reader.flag(WORKER_LOST),
        false => Ok(false),
    }
}
