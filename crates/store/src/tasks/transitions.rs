//! Claim, finish, release: one conditional update each, fenced by the attempt.

use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::{
    ClaimRefusal, Ended, ErrorType, Failure, Isolation, MAX_EVENTS, Moment, Payload, Run, Status, Task,
    TaskId,
};

use super::events::{self, ADD_EVENT, Release};
use super::{Burial, Claim, Claimed, Finish, RECORD_VERSION, Tasks, Unended, task_id};
use crate::blob::random_name;
use crate::error::Attempt;
use crate::item::{self, Item, Reader};
use crate::{StoreError, blob};

impl Tasks {
    /// Takes the task for this runner until `lease_until`, if it has not ended,
    /// no lease is on it, and an attempt is left. A task that lost its worker is
    /// claimed to run alone only, and its record says so from then on. Its wait is
    /// over: a later one is counted from its own beginning.
    pub async fn claim(
        &self,
        id: TaskId,
        now: Moment,
        lease_until: Moment,
        max_attempts: u32,
        isolation: Isolation,
    ) -> Result<Claim, StoreError> {
        let holder = random_name("")?;
        // Another function's clock may be behind the trigger's.
        let started_at = now.max(id.created_at());
        let update = self.update(id);
        let (mark, claimable, update) = match isolation {
            Isolation::Shared => ("", "#status = :pending AND attribute_not_exists(worker_lost)", update),
            Isolation::Alone => (
                ", worker_lost = :true",
                "#status IN (:pending, :started)",
                update.expression_attribute_values(":true", AttributeValue::Bool(true)),
            ),
        };
        let update = update
            .update_expression(format!(
                "SET #status = :started, attempt = attempt + :one, lease_until = :lease, holder = :holder, \
                 started_at = if_not_exists(started_at, :started_at), {ADD_EVENT}{mark} \
                 REMOVE waits_since"
            ))
            .condition_expression(format!(
                "created_at = :created_at AND v <= :known AND attempt < :max_attempts AND {claimable} AND \
                 (attribute_not_exists(lease_until) OR lease_until <= :now)"
            ))
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":known", item::number(RECORD_VERSION))
            .expression_attribute_values(":max_attempts", item::number(max_attempts))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":lease", item::moment(lease_until))
            .expression_attribute_values(":holder", item::text(&holder))
            .expression_attribute_values(":now", item::moment(now))
            .expression_attribute_values(":started_at", item::moment(started_at))
            .expression_attribute_values(":no_events", events::list([]))
            .expression_attribute_values(":event", events::list([events::claimed(started_at)]))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(updated) => {
                let item = updated.attributes.unwrap_or_default();
                self.claimed(item, now).await
            }
            Err(error) => match refused(&error) {
                Some(found) => self.refusal(found, id, &holder, now, max_attempts).await,
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
        match update.send().await {
            Err(error) if refused(&error).flatten().is_some_and(|found| is_ours(found, claimed, now)) => {
                Ok(Finish::Recorded)
            }
            result => written(result, "finish the task"),
        }
    }

    /// Writes down how far the run of a claimed task has come, unless a newer
    /// attempt holds it. A later attempt goes on from there.
    pub async fn checkpoint(&self, claimed: &Claimed, run: &Run) -> Result<Finish, StoreError> {
        let update = self
            .update(claimed.task.id)
            .update_expression("SET run = :run")
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":run", self.write_run(claimed, run).await?)
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt));
        written(update.send().await, "write down the run")
    }

    /// How far an earlier attempt had come.
    pub async fn checkpointed(&self, claimed: &Claimed) -> Result<Option<Run>, StoreError> {
        self.run_in(&claimed.item).await
    }

    /// How far the run of a task that nobody may hold has come.
    pub async fn left_at(&self, id: TaskId) -> Result<Option<Run>, StoreError> {
        let Some(found) = self.read(id.key()).await? else { return Ok(None) };
        let is_its_own = task_id(Reader(&found).of_version(RECORD_VERSION)?)? == id;
        if is_its_own { self.run_in(&found).await } else { Ok(None) }
    }

    async fn run_in(&self, found: &Item) -> Result<Option<Run>, StoreError> {
        if !found.contains_key("run") {
            return Ok(None);
        }
        let json = blob::read(&self.db, &self.table, found, "run").await?;
        serde_json::from_slice(&json).map(Some).map_err(|_| Reader(found).damaged("run"))
    }

    async fn write_run(&self, claimed: &Claimed, run: &Run) -> Result<AttributeValue, StoreError> {
        let content = serde_json::to_vec(run).attempt("write the run as JSON")?;
        blob::write(&self.db, &self.table, &content, claimed.task.expires_at).await
    }

    /// Gives a claimed task back: PENDING again, with the time it has used up, and
    /// nobody's for a while. What its run has come to, if given, is kept.
    pub async fn release(&self, claimed: &Claimed, release: Release<'_>) -> Result<Finish, StoreError> {
        let Release { at, why, spent, not_before, run } = release;
        let spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        let mut update = self.update(claimed.task.id);
        let mut set =
            format!("SET #status = :pending, spent_ms = :spent, lease_until = :not_before, {ADD_EVENT}");
        if let Some(run) = run {
            set.push_str(", run = :run");
            update = update.expression_attribute_values(":run", self.write_run(claimed, run).await?);
        }
        let update = update
            .update_expression(set + " REMOVE holder")
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt))
            .expression_attribute_values(":not_before", item::moment(not_before))
            .expression_attribute_values(":spent", item::number(spent_ms))
            .expression_attribute_values(":no_events", events::list([]))
            .expression_attribute_values(
                ":event",
                events::list([events::released(at, Some(why), Some(not_before))]),
            );
        written(update.send().await, "release the task")
    }

    /// Ends a task that no living runner holds. If one does, or it has ended, or
    /// is gone, says so.
    pub async fn end_unheld(
        &self,
        id: TaskId,
        ended: &Ended,
        now: Moment,
        retention: Duration,
    ) -> Result<Burial, StoreError> {
        let update = self
            .end(id, ended, now, retention)
            .await?
            .condition_expression(
                "created_at = :created_at AND v <= :known AND \
                 (#status = :pending OR (#status = :started AND lease_until <= :now))",
            )
            .expression_attribute_values(":known", item::number(RECORD_VERSION))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(updated) => {
                let item = updated.attributes.unwrap_or_default();
                Ok(Burial::Ended(Box::new(self.task(&item).await?)))
            }
            Err(error) => match refused(&error) {
                Some(None) => Ok(Burial::Refused(ClaimRefusal::Gone)),
                Some(Some(found)) => {
                    let found = self.task(found).await?;
                    // This very end: the answer to the first try was lost on the way back.
                    if found.finished_at == Some(now) && found.ended.as_ref() == Some(ended) {
                        return Ok(Burial::Ended(Box::new(found)));
                    }
                    Ok(Burial::Refused(Task::refusal(Some(&found), id, now)))
                }
                None => Err(error).attempt("end the task that nobody holds"),
            },
        }
    }

    /// Makes a task PENDING again whose run was broken off by a clean stop, as if
    /// it had not been claimed. Only for a process that knows itself to be the
    /// one runner, and has broken off its runs: `attempt` goes back.
    pub async fn give_back(&self, task: &Unended, now: Moment) -> Result<Finish, StoreError> {
        let mut change =
            "SET #status = :pending, attempt = attempt - :one REMOVE lease_until, holder".to_owned();
        let mut update = self.update(task.id);
        match task.events.checked_sub(1) {
            // Such stops have no bound of their own: the claim is forgotten with its release.
            Some(last) if task.events >= MAX_EVENTS => change.push_str(&format!(", events[{last}]")),
            _ => {
                change = change.replacen("SET ", &format!("SET {ADD_EVENT}, "), 1);
                update = update
                    .expression_attribute_values(":no_events", events::list([]))
                    .expression_attribute_values(":event", events::list([events::released(now, None, None)]));
            }
        }
        let update = update
            .update_expression(change)
            .condition_expression("created_at = :created_at AND #status = :started")
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()));
        written(update.send().await, "give back the task")
    }

    /// Makes a task PENDING whose runner is known to be dead. Its attempt counts, and
    /// the next one runs alone.
    pub async fn break_lease(&self, id: TaskId, now: Moment) -> Result<Finish, StoreError> {
        let lost = Failure::passing(ErrorType::WorkerLost, "The server died in the middle of the run");
        let update = self
            .update(id)
            .update_expression(format!(
                "SET #status = :pending, worker_lost = :true, {ADD_EVENT} REMOVE lease_until, holder"
            ))
            .condition_expression("created_at = :created_at AND #status = :started")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":no_events", events::list([]))
            .expression_attribute_values(":event", events::list([events::released(now, Some(&lost), None)]))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()));
        written(update.send().await, "break the lease of the task")
    }

    pub(super) fn update(&self, id: TaskId) -> UpdateItemFluentBuilder {
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
        let mut outcome = blob::write(&self.db, &self.table, &content, expires_at).await?;
        if let AttributeValue::M(spilled) = &mut outcome {
            let brief = serde_json::to_vec(&ended.in_brief()).attempt("write the end as JSON")?;
            spilled.insert("brief".to_owned(), item::bytes(blob::pack(&brief)));
        }
        let mut set =
            "SET #status = :ended, outcome = :outcome, finished_at = :now, expires_at = :expires_at"
                .to_owned();
        let mut update = self.update(id);
        if ended.status() == Status::Failure {
            // The one thing that lists hold of an end, so that only failures write to them.
            set.push_str(", failed = :failed");
            update = update.expression_attribute_values(":failed", AttributeValue::Bool(true));
        }
        Ok(update
            .update_expression(set + " REMOVE lease_until, holder, run")
            .expression_attribute_values(":ended", item::text(ended.status().as_str()))
            .expression_attribute_values(":outcome", outcome)
            .expression_attribute_values(":now", item::moment(now))
            .expression_attribute_values(":expires_at", item::number(expires_at.ttl_seconds())))
    }

    /// What a claimed task was triggered with.
    pub async fn payload(&self, claimed: &Claimed) -> Result<Payload, StoreError> {
        self.payload_in(&claimed.item).await
    }

    pub(super) async fn payload_in(&self, found: &Item) -> Result<Payload, StoreError> {
        let json = blob::read(&self.db, &self.table, found, "payload").await?;
        String::from_utf8(json).map(Payload::from_stored).map_err(|_| Reader(found).damaged("payload"))
    }

    async fn claimed(&self, item: Item, claimed_at: Moment) -> Result<Claim, StoreError> {
        let task = self.task(&item).await?;
        Ok(Claim::Granted(Box::new(Claimed { task, claimed_at, item })))
    }

    /// A refusal, unless the record bears this very claim: then its answer was
    /// lost on the way back and the SDK tried again.
    async fn refusal(
        &self,
        found: Option<&Item>,
        id: TaskId,
        holder: &str,
        now: Moment,
        max_attempts: u32,
    ) -> Result<Claim, StoreError> {
        let Some(found) = found else { return Ok(Claim::Refused(ClaimRefusal::Gone)) };
        let ours = found.get("holder").is_some_and(|value| value == &item::text(holder));
        let task = self.task(found).await?;
        if ours && task.status == Status::Started {
            return self.claimed(found.clone(), now).await;
        }
        Ok(Claim::Refused(Task::claim_refusal(Some(&task), id, now, max_attempts)))
    }
}

/// `Some` if the condition failed, with the item as it stands, if there is one.
pub(super) fn refused<R>(error: &SdkError<UpdateItemError, R>) -> Option<Option<&Item>> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(failed) => {
            Some(failed.item.as_ref().filter(|item| !item.is_empty()))
        }
        _ => None,
    }
}

/// Whether an ended task bears this very end: then the answer to the first try was
/// lost on the way back, and this is a later one.
fn is_ours(found: &Item, claimed: &Claimed, finished_at: Moment) -> bool {
    found.get("attempt") == Some(&item::number(claimed.task.attempt))
        && found.get("finished_at") == Some(&item::moment(finished_at))
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
