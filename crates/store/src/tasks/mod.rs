//! The tasks table: one item is both the task and its idempotency record.
//!
//! | operation | call |
//! | --- | --- |
//! | [`Tasks::admit`] | one conditional put, which returns the earlier task of the same key |
//! | [`Tasks::get`], [`Tasks::show`] | one strongly consistent read |
//! | [`Tasks::find_by_key`] | one put that never takes effect |
//! | [`Tasks::claim`], [`Tasks::finish`], [`Tasks::release`] | one conditional update each |
//! | [`Tasks::count_trigger`] | one conditional update, for agents with a limit |
//! | [`Tasks::checkpoint`] | one conditional update, for each turn with tool calls |
//! | [`Tasks::end_abandoned`], [`Tasks::wait_to_run_alone`] | one conditional update each |
//! | [`Tasks::wait_for_slot`] | one conditional update, and another if the task lost its worker |
//! | [`Tasks::take_slot`], [`Tasks::free_slot`] | one conditional update each, for agents with a limit |
//! | [`Tasks::list`] | one query of the index |
//! | [`Tasks::briefs`] | one batch of reads per 100 tasks |
//!
//! Payloads and results over 8 KiB (compressed) add a call per 350 KiB.

pub(crate) mod attributes;
mod events;
mod listing;
mod rate;
mod record;
mod show;
mod slots;
mod transitions;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::{AgentId, ClaimRefusal, Moment, Payload, Status, Task, TaskId, TaskKey};

use crate::conditions::refused_item;
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};
use crate::{StoreError, blob};
use attributes::{
    AGENT_ID, ATTEMPT, CREATED_AT, EVENTS, EXPIRES_AT, ID, LISTED, PAYLOAD, SPENT_MS, STATUS,
    TASK_ID, VERSION, WAITS_UNTIL, WORKER_LOST,
};
pub use listing::FailureFilter;
pub(crate) use listing::TASKS_INDEX;
pub use rate::Rate;
use record::{agent_id, status, task_id, worker_lost};
pub use show::TaskDetails;
pub use slots::{Slot, SlotAnswer, Wait};
pub use transitions::Release;

/// The version of every record, and the newest that this release can read.
const RECORD_VERSION: u64 = 1;

#[derive(Clone, Debug)]
pub struct Tasks {
    db: Client,
    table: String,
}

/// The result of [`Tasks::admit`].
#[derive(Debug)]
pub enum Admission {
    Created,
    /// The key already has this task.
    Repeated {
        /// Equals the offered id only if the response to an earlier try was lost.
        id: TaskId,
        status: Status,
        /// The task waits for a run slot, and the queue has a message for it.
        waits: bool,
    },
}

/// The result of [`Tasks::claim`].
#[derive(Debug)]
pub enum Claim {
    /// The caller holds the task until the lease ends.
    Granted(Box<Claimed>),
    Refused(ClaimRefusal),
}

/// A task that this worker holds.
#[derive(Debug)]
pub struct Claimed {
    /// The task as claimed. Its `attempt` is the fencing token.
    pub task: Task,
    pub claimed_at: Moment,
    item: Item,
}

/// The result of an update by the worker that holds the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Recorded,
    /// Nothing was written, because the task has ended or a newer attempt holds it.
    Fenced,
}

/// The result of [`Tasks::end_abandoned`].
#[derive(Debug)]
pub enum EndAbandoned {
    /// The task as ended.
    Ended(Box<Task>),
    /// A worker holds the task, or it has ended, or it does not exist.
    Refused(ClaimRefusal),
}

/// A task that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct UnfinishedTask {
    pub id: TaskId,
    pub agent_id: AgentId,
    pub status: Status,
    /// An earlier attempt lost its worker.
    pub worker_lost: bool,
    /// The number of events in its record.
    pub events: usize,
}

/// Tasks and run slots that a process left behind when it ended.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// Every task that has not ended, or the error for a record that cannot be read.
    pub tasks: Vec<Result<UnfinishedTask, StoreError>>,
    /// Agents with run slots.
    pub slots: Vec<AgentId>,
}

impl Tasks {
    pub fn new(aws: &crate::aws::Aws, table: impl Into<String>) -> Self {
        Self {
            db: aws.dynamodb(),
            table: table.into(),
        }
    }

    /// Stores a new PENDING task. If the key has a task that is less than 24 hours old or has
    /// not ended, returns that one and changes nothing.
    pub async fn admit(
        &self,
        id: TaskId,
        agent: AgentId,
        payload: &Payload,
    ) -> Result<Admission, StoreError> {
        let created_at = id.created_at();
        let expires_at = Task::initial_expiry(created_at);
        let payload = blob::store_content(
            &self.db,
            &self.table,
            payload.as_json().as_bytes(),
            expires_at,
        )
        .await?;
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item(ID, item::text(id.key().as_hex()))
            .item(VERSION, item::number(RECORD_VERSION))
            .item(AGENT_ID, item::text(agent.to_string()))
            .item(LISTED, item::text(listing::list_key(agent, id.key().shard())))
            .item(TASK_ID, item::text(id.to_string()))
            .item(STATUS, item::text(Status::Pending.as_str()))
            .item(ATTEMPT, item::number(0_u64))
            .item(SPENT_MS, item::number(0_u64))
            .item(CREATED_AT, item::moment(created_at))
            .item(EXPIRES_AT, item::number(expires_at.ttl_seconds()))
            .item(PAYLOAD, payload)
            .condition_expression(format!(
                "attribute_not_exists({ID}) OR ({CREATED_AT} <= :window AND #status IN (:success, :failure))"
            ))
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(
                ":window",
                item::moment(created_at.minus(domain::IDEMPOTENCY_WINDOW)),
            )
            .expression_attribute_values(":success", item::text(Status::Success.as_str()))
            .expression_attribute_values(":failure", item::text(Status::Failure.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Admission::Created),
            Err(error) => match refused_item(&error).flatten() {
                Some(found) => repeated_admission(found, created_at),
                None => Err(error).attempt("store the task"),
            },
        }
    }

    pub async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        match self.read_item(id.key()).await? {
            Some(found) => self.task(&found).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the earlier task of the key, as [`Self::admit`] would, without storing a task.
    /// Sends a put whose condition always fails, because the webhook function has permission
    /// to put tasks but not to read them.
    pub async fn find_by_key(
        &self,
        key: TaskKey,
        now: Moment,
    ) -> Result<Option<Admission>, StoreError> {
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item(ID, item::text(key.as_hex()))
            .condition_expression(format!(
                "attribute_exists({ID}) AND attribute_not_exists({ID})"
            ))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else {
            return Err(StoreError::Damaged {
                id: key.as_hex(),
                attribute: "condition",
            });
        };
        let found = match refused_item(&error) {
            Some(Some(found)) => found,
            Some(None) => return Ok(None),
            None => return Err(error).attempt("look up the task of the idempotency key"),
        };
        let reader = ItemReader(found).require_version(RECORD_VERSION)?;
        let window_over = task_id(reader)?
            .created_at()
            .plus(domain::IDEMPOTENCY_WINDOW)
            <= now;
        match status(reader)?.has_ended() && window_over {
            true => Ok(None),
            false => repeated_admission(found, now).map(Some),
        }
    }

    /// Returns the id of the task's agent.
    pub async fn owner(&self, id: TaskId) -> Result<Option<AgentId>, StoreError> {
        let found = self.read_item(id.key()).await?;
        found
            .as_ref()
            .map(|found| agent_id(ItemReader(found)))
            .transpose()
    }

    async fn read_item(&self, key: TaskKey) -> Result<Option<Item>, StoreError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key(ID, item::text(key.as_hex()));
        let found = get
            .consistent_read(true)
            .send()
            .await
            .attempt("read the task")?;
        Ok(found.item)
    }

    /// Returns what an ended process left behind. Scans the table, so it is only for the start
    /// and stop of a server. A record that cannot be read is returned as an error and does not
    /// affect the others.
    pub async fn unfinished_tasks(&self) -> Result<Unfinished, StoreError> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression(format!(
                "#status IN (:pending, :started) OR begins_with({ID}, :slots)"
            ))
            .projection_expression(format!(
                "{ID}, {VERSION}, #status, {AGENT_ID}, {CREATED_AT}, {EVENTS}, {WORKER_LOST}"
            ))
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":slots", item::text(slots::ID_PREFIX))
            .into_paginator()
            .items()
            .send();
        let mut unfinished = Unfinished::default();
        while let Some(found) = pages.next().await {
            let found = found.attempt("scan the tasks")?;
            match ItemReader(&found)
                .text(ID)?
                .strip_prefix(slots::ID_PREFIX)
                .and_then(AgentId::parse)
            {
                Some(agent) => unfinished.slots.push(agent),
                None => unfinished.tasks.push(unfinished_task(&found)),
            }
        }
        Ok(unfinished)
    }
}

fn unfinished_task(found: &Item) -> Result<UnfinishedTask, StoreError> {
    let reader = ItemReader(found).require_version(RECORD_VERSION)?;
    Ok(UnfinishedTask {
        id: task_id(reader)?,
        agent_id: agent_id(reader)?,
        status: status(reader)?,
        worker_lost: worker_lost(reader)?,
        events: events::count_events(found),
    })
}

fn repeated_admission(found: &Item, now: Moment) -> Result<Admission, StoreError> {
    let reader = ItemReader(found).require_version(RECORD_VERSION)?;
    Ok(Admission::Repeated {
        id: task_id(reader)?,
        status: status(reader)?,
        waits: reader
            .optional_moment(WAITS_UNTIL)?
            .is_some_and(|until| now < until),
    })
}
