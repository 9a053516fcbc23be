//! The tasks table: one item is both the task and its idempotency record.
//!
//! | operation | call |
//! | --- | --- |
//! | [`Tasks::admit`] | one conditional put, which hands back the earlier task of the same key |
//! | [`Tasks::get`], [`Tasks::show`] | one strongly consistent read |
//! | [`Tasks::named_by`] | one put that never takes effect |
//! | [`Tasks::claim`], [`Tasks::finish`], [`Tasks::release`] | one conditional update each |
//! | [`Tasks::count_trigger`] | one conditional update, for agents that limit their triggers |
//! | [`Tasks::checkpoint`] | one conditional update, for each turn in which an agent calls tools |
//! | [`Tasks::end_unheld`], [`Tasks::wait_to_run_alone`] | one conditional update each |
//! | [`Tasks::wait_for_slot`] | one conditional update, and another if the task lost its worker |
//! | [`Tasks::take_slot`], [`Tasks::free_slot`] | one conditional update each, for agents that limit their runs |
//! | [`Tasks::listed`] | one query of the index |
//! | [`Tasks::briefs`] | one batch of reads per 100 tasks |
//!
//! Payloads and results over 8 KiB (compressed) add a call per 350 KiB.

mod events;
mod listing;
mod rate;
mod record;
mod show;
mod slots;
mod transitions;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::{AgentId, ClaimRefusal, Moment, Payload, Status, Task, TaskId, TaskKey};

use crate::error::Attempt;
use crate::item::{self, Item, Reader};
use crate::{StoreError, blob};
pub use events::Release;
pub use listing::Pick;
pub(crate) use listing::TASKS_INDEX;
pub use rate::Rate;
use record::{agent_id, status, task_id, worker_lost};
pub use show::Shown;
pub use slots::{Slot, SlotAnswer, Wait};

/// Written into every record, and the latest form that this version reads.
const RECORD_VERSION: u64 = 1;

/// The tasks table.
#[derive(Clone, Debug)]
pub struct Tasks {
    db: Client,
    table: String,
}

/// What became of a trigger.
#[derive(Debug)]
pub enum Admission {
    /// A new task.
    Created,
    /// The key had this task already.
    Repeated {
        /// Its id: only on a lost answer the one that was offered.
        id: TaskId,
        /// Where it stands.
        status: Status,
        /// It waits for a run slot, and a message of it is on its way.
        waits: bool,
    },
}

/// What became of an attempt to claim.
#[derive(Debug)]
pub enum Claim {
    /// The caller holds the task until its lease ends.
    Granted(Box<Claimed>),
    /// Somebody else does, or nobody can.
    Refused(ClaimRefusal),
}

/// A task held by this runner.
#[derive(Debug)]
pub struct Claimed {
    /// The task as claimed; its `attempt` is the fencing token.
    pub task: Task,
    /// When this attempt began.
    pub claimed_at: Moment,
    item: Item,
}

/// What became of an attempt to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The end is recorded.
    Recorded,
    /// The task had ended, or a newer attempt holds it: this result is void.
    Fenced,
}

/// What became of an attempt to end a task that no runner could end.
#[derive(Debug)]
pub enum Burial {
    /// It has ended now, as it stands.
    Ended(Box<Task>),
    /// Somebody may still hold it, or it needs no end.
    Refused(ClaimRefusal),
}

/// A task found not to have ended.
#[derive(Clone, Copy, Debug)]
pub struct Unended {
    /// Which.
    pub id: TaskId,
    /// Whose.
    pub agent_id: AgentId,
    /// Whether a runner held it.
    pub status: Status,
    /// An earlier attempt lost its worker.
    pub worker_lost: bool,
    /// How many events its record keeps.
    pub events: usize,
}

/// What a process that is dead has left.
#[derive(Debug, Default)]
pub struct Left {
    /// Every task that has not ended, or why it cannot be read.
    pub unended: Vec<Result<Unended, StoreError>>,
    /// Agents whose runs had slots.
    pub slots: Vec<AgentId>,
}

impl Tasks {
    /// The table of this name.
    pub fn new(aws: &crate::aws::Aws, table: impl Into<String>) -> Self {
        Self { db: aws.dynamodb(), table: table.into() }
    }

    /// Stores a new PENDING task, unless its key names one that is not yet 24
    /// hours old or has not ended: then that one stays and is handed back.
    pub async fn admit(
        &self,
        id: TaskId,
        agent: AgentId,
        payload: &Payload,
    ) -> Result<Admission, StoreError> {
        let created_at = id.created_at();
        let expires_at = Task::initial_expiry(created_at);
        let payload = blob::write(&self.db, &self.table, payload.as_json().as_bytes(), expires_at).await?;
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item("id", item::text(id.key().as_hex()))
            .item("v", item::number(RECORD_VERSION))
            .item("agent_id", item::text(agent.to_string()))
            .item("listed", item::text(listing::part(agent, id.key().shard())))
            .item("task_id", item::text(id.to_string()))
            .item("status", item::text(Status::Pending.as_str()))
            .item("attempt", item::number(0_u64))
            .item("spent_ms", item::number(0_u64))
            .item("created_at", item::moment(created_at))
            .item("expires_at", item::number(expires_at.ttl_seconds()))
            .item("payload", payload)
            .condition_expression(
                "attribute_not_exists(id) OR (created_at <= :window AND #status IN (:success, :failure))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(
                ":window",
                item::moment(created_at.minus(domain::IDEMPOTENCY_WINDOW)),
            )
            .expression_attribute_values(":success", item::text(Status::Success.as_str()))
            .expression_attribute_values(":failure", item::text(Status::Failure.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(Admission::Created),
            Err(error) => match earlier_item(&error) {
                Some(found) => repeated(found, created_at),
                None => Err(error).attempt("put the task"),
            },
        }
    }

    /// The task as it stands now.
    pub async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        match self.read(id.key()).await? {
            Some(found) => self.task(&found).await.map(Some),
            None => Ok(None),
        }
    }

    /// The task that a key names at this moment, as [`Self::admit`] would find it,
    /// without storing anything. A put that never takes effect, because the webhook
    /// function may put tasks and read none.
    pub async fn named_by(&self, key: TaskKey, now: Moment) -> Result<Option<Admission>, StoreError> {
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .item("id", item::text(key.as_hex()))
            .condition_expression("attribute_exists(id) AND attribute_not_exists(id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else {
            return Err(StoreError::Damaged { id: key.as_hex(), attribute: "condition" });
        };
        if !error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) {
            return Err(error).attempt("look for the key's task");
        }
        let Some(found) = earlier_item(&error) else { return Ok(None) };
        let reader = Reader(found).of_version(RECORD_VERSION)?;
        let window_over = task_id(reader)?.created_at().plus(domain::IDEMPOTENCY_WINDOW) <= now;
        match status(reader)?.has_ended() && window_over {
            true => Ok(None),
            false => repeated(found, now).map(Some),
        }
    }

    /// Whose task this is.
    pub async fn owner(&self, id: TaskId) -> Result<Option<AgentId>, StoreError> {
        let found = self.read(id.key()).await?;
        found.as_ref().map(|found| agent_id(Reader(found))).transpose()
    }

    async fn read(&self, key: TaskKey) -> Result<Option<Item>, StoreError> {
        let get = self.db.get_item().table_name(&self.table).key("id", item::text(key.as_hex()));
        let found = get.consistent_read(true).send().await.attempt("get the task")?;
        Ok(found.item)
    }

    /// What a process that is dead has left. A scan: for a server's start and its end,
    /// never for a request. What cannot be read is handed back apart, and holds up no
    /// other.
    pub async fn left(&self) -> Result<Left, StoreError> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("#status IN (:pending, :started) OR begins_with(id, :slots)")
            .projection_expression("id, v, #status, agent_id, created_at, events, worker_lost")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":slots", item::text(slots::ID_PREFIX))
            .into_paginator()
            .items()
            .send();
        let mut left = Left::default();
        while let Some(found) = pages.next().await {
            let found = found.attempt("scan the tasks")?;
            match Reader(&found).text("id")?.strip_prefix(slots::ID_PREFIX).and_then(AgentId::parse) {
                Some(agent) => left.slots.push(agent),
                None => left.unended.push(unended(&found)),
            }
        }
        Ok(left)
    }
}

fn unended(found: &Item) -> Result<Unended, StoreError> {
    let reader = Reader(found).of_version(RECORD_VERSION)?;
    Ok(Unended {
        id: task_id(reader)?,
        agent_id: agent_id(reader)?,
        status: status(reader)?,
        worker_lost: worker_lost(reader)?,
        events: events::count(found),
    })
}

fn repeated(found: &Item, now: Moment) -> Result<Admission, StoreError> {
    let reader = Reader(found).of_version(RECORD_VERSION)?;
    Ok(Admission::Repeated {
        id: task_id(reader)?,
        status: status(reader)?,
        waits: reader.optional_moment("waits_until")?.is_some_and(|until| now < until),
    })
}

fn earlier_item<R>(error: &SdkError<PutItemError, R>) -> Option<&Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(failed) => {
            failed.item.as_ref().filter(|item| !item.is_empty())
        }
        _ => None,
    }
}
