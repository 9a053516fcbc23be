//! Claim, finish, release: one conditional update each, with the attempt as fencing token.

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
use super::{Claim, Claimed, EndAbandoned, Finish, RECORD_VERSION, Tasks, UnfinishedTask, task_id};
use crate::blob::random_name;
use crate::conditions::{is_condition_failed, refused_item};
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};
use crate::{StoreError, blob};

impl Tasks {
    /// Claims a task for this worker until `lease_until`.
    ///
    /// Returns [`Claim::Refused`] if the task has ended, is held by another worker, or has
    /// used up its attempts. A task that lost its worker can only be claimed to run alone.
    /// [`Isolation::Alone`] marks the record as such a task. A claim ends the wait for a slot.
    pub async fn claim(
        &self,
        id: TaskId,
        now: Moment,
        lease_until: Moment,
        max_attempts: u32,
        isolation: Isolation,
    ) -> Result<Claim, StoreError> {
        let holder = random_name("")?;
        // Our clock may be behind the clock of the function that received the trigger.
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
            .expression_attribute_values(":no_events", events::event_list([]))
            .expression_attribute_values(":event", events::event_list([events::claim_event(started_at)]))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(updated) => {
                let item = updated.attributes.unwrap_or_default();
                self.claimed(item, now).await
            }
            Err(error) => match refused_item(&error) {
                Some(found) => self.refusal(found, id, &holder, now, max_attempts).await,
                None => Err(error).attempt("claim the task"),
            },
        }
    }

    /// Ends a claimed task, unless a newer attempt holds it.
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
            Err(error)
                if refused_item(&error).flatten().is_some_and(|found| is_this_end(found, claimed, now)) =>
            {
                Ok(Finish::Recorded)
            }
            result => recorded_or_fenced(result, "finish the task"),
        }
    }

    /// Stores the progress of the run, unless a newer attempt holds the task. A later attempt
    /// continues from there.
    pub async fn checkpoint(&self, claimed: &Claimed, run: &Run) -> Result<Finish, StoreError> {
        let update = self
            .update(claimed.task.id)
            .update_expression("SET run = :run")
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":run", self.store_run(claimed, run).await?)
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt));
        recorded_or_fenced(update.send().await, "store the progress of the run")
    }

    /// Returns the progress that an earlier attempt stored.
    pub async fn load_checkpoint(&self, claimed: &Claimed) -> Result<Option<Run>, StoreError> {
        self.run_in(&claimed.item).await
    }

    /// Returns the stored progress of a task that no worker holds.
    pub async fn abandoned_run(&self, id: TaskId) -> Result<Option<Run>, StoreError> {
        let Some(found) = self.read_item(id.key()).await? else { return Ok(None) };
        let is_same_task = task_id(ItemReader(&found).require_version(RECORD_VERSION)?)? == id;
        if is_same_task { self.run_in(&found).await } else { Ok(None) }
    }

    async fn run_in(&self, found: &Item) -> Result<Option<Run>, StoreError> {
        if !found.contains_key("run") {
            return Ok(None);
        }
        let json = blob::load_content(&self.db, &self.table, found, "run").await?;
        serde_json::from_slice(&json).map(Some).map_err(|_| ItemReader(found).damaged("run"))
    }

    async fn store_run(&self, claimed: &Claimed, run: &Run) -> Result<AttributeValue, StoreError> {
        let content = serde_json::to_vec(run).attempt("serialize the run")?;
        blob::store_content(&self.db, &self.table, &content, claimed.task.expires_at).await
    }

    /// Makes a claimed task PENDING again and records the run time of its attempts. It cannot
    /// be claimed before `not_before`. Stores the progress of the run, if there is any.
    pub async fn release(&self, claimed: &Claimed, release: Release<'_>) -> Result<Finish, StoreError> {
        let Release { at, why, spent, not_before, run } = release;
        let spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        let mut update = self.update(claimed.task.id);
        let mut set =
            format!("SET #status = :pending, spent_ms = :spent, lease_until = :not_before, {ADD_EVENT}");
        if let Some(run) = run {
            set.push_str(", run = :run");
            update = update.expression_attribute_values(":run", self.store_run(claimed, run).await?);
        }
        let update = update
            .update_expression(set + " REMOVE holder")
            .condition_expression("created_at = :created_at AND #status = :started AND attempt = :attempt")
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt))
            .expression_attribute_values(":not_before", item::moment(not_before))
            .expression_attribute_values(":spent", item::number(spent_ms))
            .expression_attribute_values(":no_events", events::event_list([]))
            .expression_attribute_values(
                ":event",
                events::event_list([events::release_event(at, Some(why), Some(not_before))]),
            );
        recorded_or_fenced(update.send().await, "release the task")
    }

    /// Ends a task that is PENDING, or STARTED with an expired lease.
    pub async fn end_abandoned(
        &self,
        id: TaskId,
        ended: &Ended,
        now: Moment,
        retention: Duration,
    ) -> Result<EndAbandoned, StoreError> {
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
                Ok(EndAbandoned::Ended(Box::new(self.task(&item).await?)))
            }
            Err(error) => match refused_item(&error) {
                Some(None) => Ok(EndAbandoned::Refused(ClaimRefusal::Gone)),
                Some(Some(found)) => {
                    let found = self.task(found).await?;
                    // The response to an earlier try was lost.
                    if found.finished_at == Some(now) && found.ended.as_ref() == Some(ended) {
                        return Ok(EndAbandoned::Ended(Box::new(found)));
                    }
                    Ok(EndAbandoned::Refused(Task::refusal(Some(&found), id, now)))
                }
                None => Err(error).attempt("end the abandoned task"),
            },
        }
    }

    /// Makes a task PENDING again after a clean stop interrupted its run. The attempt is not
    /// counted. Call it only from the only process that runs tasks, after it has stopped all
    /// its runs: the fencing token is reused.
    pub async fn give_back(&self, task: &UnfinishedTask, now: Moment) -> Result<Finish, StoreError> {
        let mut change =
            "SET #status = :pending, attempt = attempt - :one REMOVE lease_until, holder".to_owned();
        let mut update = self.update(task.id);
        match task.events.checked_sub(1) {
            // The number of clean stops is unlimited, so a full list loses the claim as well.
            Some(last) if task.events >= MAX_EVENTS => change.push_str(&format!(", events[{last}]")),
            _ => {
                change = change.replacen("SET ", &format!("SET {ADD_EVENT}, "), 1);
                update = update
                    .expression_attribute_values(":no_events", events::event_list([]))
                    .expression_attribute_values(
                        ":event",
                        events::event_list([events::release_event(now, None, None)]),
                    );
            }
        }
        let update = update
            .update_expression(change)
            .condition_expression("created_at = :created_at AND #status = :started")
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()));
        recorded_or_fenced(update.send().await, "give back the task")
    }

    /// Makes a task PENDING again whose worker has died. The attempt is counted, and the next
    /// one runs alone.
    pub async fn break_lease(&self, id: TaskId, now: Moment) -> Result<Finish, StoreError> {
        let lost =
            Failure::transient(ErrorType::WorkerLost, "The server stopped unexpectedly during the run");
        let update = self
            .update(id)
            .update_expression(format!(
                "SET #status = :pending, worker_lost = :true, {ADD_EVENT} REMOVE lease_until, holder"
            ))
            .condition_expression("created_at = :created_at AND #status = :started")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":no_events", events::event_list([]))
            .expression_attribute_values(
                ":event",
                events::event_list([events::release_event(now, Some(&lost), None)]),
            )
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()));
        recorded_or_fenced(update.send().await, "break the lease of the task")
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
        let content = serde_json::to_vec(ended).attempt("serialize the outcome")?;
        let mut outcome = blob::store_content(&self.db, &self.table, &content, expires_at).await?;
        if let AttributeValue::M(spilled) = &mut outcome {
            let brief =
                serde_json::to_vec(&ended.in_brief()).attempt("serialize the summary of the outcome")?;
            spilled.insert("brief".to_owned(), item::bytes(blob::pack(&brief)));
        }
        let mut set =
            "SET #status = :ended, outcome = :outcome, finished_at = :now, expires_at = :expires_at"
                .to_owned();
        let mut update = self.update(id);
        if ended.status() == Status::Failure {
            // The only attribute of an end in the index, so that only failures write to it.
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

    pub async fn payload(&self, claimed: &Claimed) -> Result<Payload, StoreError> {
        self.payload_in(&claimed.item).await
    }

    pub(super) async fn payload_in(&self, found: &Item) -> Result<Payload, StoreError> {
        let json = blob::load_content(&self.db, &self.table, found, "payload").await?;
        String::from_utf8(json).map(Payload::from_stored).map_err(|_| ItemReader(found).damaged("payload"))
    }

    async fn claimed(&self, item: Item, claimed_at: Moment) -> Result<Claim, StoreError> {
        let task = self.task(&item).await?;
        Ok(Claim::Granted(Box::new(Claimed { task, claimed_at, item })))
    }

    /// Returns a refusal, unless the record has this claim already: then the response was lost
    /// and the SDK sent the request again.
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

/// Whether the task has ended with this update already: then the response to an earlier try
/// was lost.
fn is_this_end(found: &Item, claimed: &Claimed, finished_at: Moment) -> bool {
    found.get("attempt") == Some(&item::number(claimed.task.attempt))
        && found.get("finished_at") == Some(&item::moment(finished_at))
}

fn recorded_or_fenced<T, R>(
    result: Result<T, SdkError<UpdateItemError, R>>,
    attempt: &'static str,
) -> Result<Finish, StoreError>
where
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(Finish::Recorded),
        Err(error) if is_condition_failed(&error) => Ok(Finish::Fenced),
        Err(error) => Err(error).attempt(attempt),
    }
}
