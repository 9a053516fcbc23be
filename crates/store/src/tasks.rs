//! The tasks table: one item is both the task and its idempotency record.
//!
//! | operation | call |
//! | --- | --- |
//! | [`Tasks::admit`] | one conditional put, which hands back the earlier task of the same key |
//! | [`Tasks::get`] | one strongly consistent read |
//! | [`Tasks::claim`], [`Tasks::finish`], [`Tasks::release`] | one conditional update each |
//!
//! Payloads and results over 8 KiB (compressed) add a call per 350 KiB.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::{AgentId, ClaimRefusal, Ended, Failure, Moment, Payload, Status, Task, TaskId};

use crate::blob::random_name;
use crate::error::Attempt;
use crate::item::{self, Item, Reader};
use crate::{StoreError, blob};

/// Written into every record, so that a later version knows what it reads.
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
    /// What it was triggered with.
    pub payload: Payload,
    /// When this attempt began.
    pub claimed_at: Moment,
}

/// What became of an attempt to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The end is recorded.
    Recorded,
    /// The task had ended, or a newer attempt holds it: this result is void.
    Fenced,
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
                Some(found) => {
                    let reader = Reader(found);
                    Ok(Admission::Repeated { id: task_id(reader)?, status: status(reader)? })
                }
                None => Err(error).attempt("put the task"),
            },
        }
    }

    /// The task as it stands now.
    pub async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let found = self
            .db
            .get_item()
            .table_name(&self.table)
            .key("id", item::text(id.key().as_hex()))
            .consistent_read(true)
            .send()
            .await
            .attempt("get the task")?;
        match found.item {
            Some(found) => self.task(&found).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes the task for this runner until `lease_until`, if it is PENDING or
    /// its last runner's lease is over, and an attempt is left.
    pub async fn claim(
        &self,
        id: TaskId,
        now: Moment,
        lease_until: Moment,
        max_attempts: u32,
    ) -> Result<Claim, StoreError> {
        let holder = random_name("")?;
        let update = self
            .update(id)
            .update_expression(
                "SET #status = :started, attempt = attempt + :one, lease_until = :lease, \
                 holder = :holder, started_at = if_not_exists(started_at, :now)",
            )
            .condition_expression(
                "created_at = :created_at AND attempt < :max_attempts AND \
                 (#status = :pending OR (#status = :started AND lease_until < :now))",
            )
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":max_attempts", item::number(max_attempts))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":lease", item::moment(lease_until))
            .expression_attribute_values(":holder", item::text(&holder))
            .expression_attribute_values(":now", item::moment(now))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(updated) => {
                let item = updated.attributes.unwrap_or_default();
                self.claimed(&item, now).await.map(|claimed| Claim::Granted(Box::new(claimed)))
            }
            Err(error) => match refused(&error) {
                Some(found) => self.refusal(found, id, &holder, now).await,
                None => Err(error).attempt("claim the task"),
            },
        }
    }

    /// Records the end of a claimed task, unless a newer attempt holds it.
    pub async fn finish(
        &self,
        claimed: &Claimed,
        ended: &Ended,
        now: Moment,
        retention: Duration,
    ) -> Result<Finish, StoreError> {
        let id = claimed.task.id;
        let update = self
            .end(id, ended, now, retention)
            .await?
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt));
        written(update.send().await, "finish the task")
    }

    /// Gives a claimed task back: PENDING again, with the time it has used up.
    pub async fn release(&self, claimed: &Claimed, spent: Duration) -> Result<Finish, StoreError> {
        let spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        let update = self
            .update(claimed.task.id)
            .update_expression("SET #status = :pending, spent_ms = :spent REMOVE lease_until, holder")
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt))
            .expression_attribute_values(":spent", item::number(spent_ms));
        written(update.send().await, "release the task")
    }

    /// Ends a task that no living runner holds as `worker_lost`. If one does,
    /// or it has ended, or is gone, says so.
    pub async fn end_lost(
        &self,
        id: TaskId,
        now: Moment,
        retention: Duration,
    ) -> Result<Option<ClaimRefusal>, StoreError> {
        let ended = Ended::without_usage(Failure::worker_lost());
        let update = self
            .end(id, &ended, now, retention)
            .await?
            .condition_expression(
                "created_at = :created_at AND \
                 (#status = :pending OR (#status = :started AND lease_until < :now))",
            )
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(None),
            Err(error) => match refused(&error) {
                Some(None) => Ok(Some(ClaimRefusal::Gone)),
                Some(Some(found)) => {
                    let found = self.task(found).await?;
                    Ok(Some(Task::claim_refusal(Some(&found), id, now)))
                }
                None => Err(error).attempt("end the lost task"),
            },
        }
    }

    /// Every task that has not ended. A scan: for a server's start, never for a request.
    pub async fn unended(&self) -> Result<Vec<Unended>, StoreError> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("#status IN (:pending, :started)")
            .projection_expression("id, #status, agent_id, created_at")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .into_paginator()
            .items()
            .send();
        let mut unended = Vec::new();
        while let Some(found) = pages.next().await {
            let found = found.attempt("scan the tasks")?;
            let reader = Reader(&found);
            unended.push(Unended {
                id: task_id(reader)?,
                agent_id: agent_id(reader)?,
                status: status(reader)?,
            });
        }
        Ok(unended)
    }

    /// Ends the lease of a runner that is known to be dead.
    pub async fn break_lease(&self, id: TaskId) -> Result<Finish, StoreError> {
        let update = self
            .update(id)
            .update_expression("SET lease_until = :past")
            .condition_expression("created_at = :created_at AND #status = :started")
            .expression_attribute_values(":past", item::number(0_u64))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()));
        written(update.send().await, "break the lease of the task")
    }

    fn update(&self, id: TaskId) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("id", item::text(id.key().as_hex()))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":created_at", item::moment(id.created_at()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    async fn end(
        &self,
        id: TaskId,
        ended: &Ended,
        now: Moment,
        retention: Duration,
    ) -> Result<UpdateItemFluentBuilder, StoreError> {
        let expires_at = Task::final_expiry(id.created_at(), now, retention);
        let content = serde_json::to_vec(ended).attempt("write the outcome as JSON")?;
        let outcome = blob::write(&self.db, &self.table, &content, expires_at).await?;
        Ok(self
            .update(id)
            .update_expression(
                "SET #status = :ended, outcome = :outcome, finished_at = :now, \
                 expires_at = :expires_at REMOVE lease_until, holder",
            )
            .expression_attribute_values(":ended", item::text(ended.status().as_str()))
            .expression_attribute_values(":outcome", outcome)
            .expression_attribute_values(":now", item::moment(now))
            .expression_attribute_values(":expires_at", item::number(expires_at.ttl_seconds())))
    }

    async fn claimed(&self, found: &Item, claimed_at: Moment) -> Result<Claimed, StoreError> {
        let json = blob::read(&self.db, &self.table, found, "payload").await?;
        let json = String::from_utf8(json).map_err(|_| Reader(found).damaged("payload"))?;
        let task = self.task(found).await?;
        Ok(Claimed { task, payload: Payload::from_stored(json), claimed_at })
    }

    /// A refusal, unless the record bears this very claim: then its answer was
    /// lost on the way back and the SDK tried again.
    async fn refusal(
        &self,
        found: Option<&Item>,
        id: TaskId,
        holder: &str,
        now: Moment,
    ) -> Result<Claim, StoreError> {
        let Some(found) = found else { return Ok(Claim::Refused(ClaimRefusal::Gone)) };
        let ours = found.get("holder").is_some_and(|value| value == &item::text(holder));
        let task = self.task(found).await?;
        if ours && task.status == Status::Started {
            return self.claimed(found, now).await.map(|claimed| Claim::Granted(Box::new(claimed)));
        }
        Ok(Claim::Refused(Task::claim_refusal(Some(&task), id, now)))
    }

    async fn task(&self, found: &Item) -> Result<Task, StoreError> {
        let reader = Reader(found);
        let ended = match found.contains_key("outcome") {
            true => {
                let json = blob::read(&self.db, &self.table, found, "outcome").await?;
                Some(serde_json::from_slice(&json).map_err(|_| reader.damaged("outcome"))?)
            }
            false => None,
        };
        Ok(Task {
            id: task_id(reader)?,
            agent_id: agent_id(reader)?,
            status: status(reader)?,
            attempt: reader.count("attempt")?,
            started_at: reader.optional_moment("started_at")?,
            finished_at: reader.optional_moment("finished_at")?,
            lease_until: reader.optional_moment("lease_until")?,
            spent: Duration::from_millis(reader.number("spent_ms")?),
            ended,
            expires_at: Moment::from_millis(reader.number("expires_at")?.saturating_mul(1000)),
        })
    }
}

fn task_id(reader: Reader<'_>) -> Result<TaskId, StoreError> {
    let key = domain::TaskKey::from_hex(reader.text("id")?).ok_or_else(|| reader.damaged("id"))?;
    Ok(TaskId::new(reader.moment("created_at")?, key))
}

fn agent_id(reader: Reader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text("agent_id")?).ok_or_else(|| reader.damaged("agent_id"))
}

fn status(reader: Reader<'_>) -> Result<Status, StoreError> {
    Status::parse(reader.text("status")?).ok_or_else(|| reader.damaged("status"))
}

fn earlier_item<R>(error: &SdkError<PutItemError, R>) -> Option<&Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(failed) => failed.item.as_ref(),
        _ => None,
    }
}

/// `Some` if the condition failed, with the item as it stands, if there is one.
fn refused<R>(error: &SdkError<UpdateItemError, R>) -> Option<Option<&Item>> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(failed) => {
            Some(failed.item.as_ref().filter(|item| !item.is_empty()))
        }
        _ => None,
    }
}

fn written<T, R>(
    result: Result<T, SdkError<UpdateItemError, R>>,
    attempt: &'static str,
) -> Result<Finish, StoreError>
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(Finish::Recorded),
        Err(error) if refused(&error).is_some() => Ok(Finish::Fenced),
        Err(error) => Err(error).attempt(attempt),
    }
}
