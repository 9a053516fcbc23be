//! Makes a task PENDING again: after a transient error, a clean stop or the death of its worker.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ErrorType, Failure, MAX_EVENTS, Moment, Run, Status, TaskId};

use super::recorded_or_fenced;
use crate::StoreError;
use crate::item;
use crate::tasks::attributes::{ATTEMPT, EVENTS, HOLDER, LEASE_UNTIL, RUN, SPENT_MS, WORKER_LOST};
use crate::tasks::events::{add_event, release_event, with_event};
use crate::tasks::{Claimed, Finish, Tasks, UnfinishedTask};

/// How an attempt is released.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    pub at: Moment,
    pub why: &'a Failure,
    /// The run time of all attempts so far.
    pub spent: Duration,
    /// The task cannot be claimed before this time.
    pub not_before: Moment,
    /// The progress of the run.
    pub run: Option<&'a Run>,
}

impl Tasks {
    /// Makes a claimed task PENDING again and records the run time of its attempts. It cannot
    /// be claimed before `not_before`. Stores the progress of the run, if there is any.
    pub async fn release(
        &self,
        claimed: &Claimed,
        release: Release<'_>,
    ) -> Result<Finish, StoreError> {
        let Release {
            at,
            why,
            spent,
            not_before,
            run,
        } = release;
        let spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        let (mut update, add_event) = (self.update_held(claimed), add_event());
        let mut set = format!(
            "SET #status = :pending, {SPENT_MS} = :spent, {LEASE_UNTIL} = :not_before, {add_event}"
        );
        if let Some(run) = run {
            set.push_str(&format!(", {RUN} = :run"));
            update =
                update.expression_attribute_values(":run", self.store_run(claimed, run).await?);
        }
        let update = update
            .update_expression(format!("{set} REMOVE {HOLDER}"))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":not_before", item::moment(not_before))
            .expression_attribute_values(":spent", item::number(spent_ms));
        let update = with_event(update, release_event(at, Some(why), Some(not_before)));
        recorded_or_fenced(update.send().await, "release the task")
    }

    /// Makes a task PENDING again after a clean stop interrupted its run. The attempt is not
    /// counted. Call it only from the only process that runs tasks, after it has stopped all
    /// its runs: the fencing token is reused.
    pub async fn give_back(
        &self,
        task: &UnfinishedTask,
        now: Moment,
    ) -> Result<Finish, StoreError> {
        let set = format!("#status = :pending, {ATTEMPT} = {ATTEMPT} - :one");
        let remove = format!("{LEASE_UNTIL}, {HOLDER}");
        let update = self.update_started(task.id);
        let update = match task.events.checked_sub(1) {
            // The number of clean stops is unlimited, so a full list loses the claim as well.
            Some(last) if task.events >= MAX_EVENTS => {
                update.update_expression(format!("SET {set} REMOVE {remove}, {EVENTS}[{last}]"))
            }
            _ => with_event(update, release_event(now, None, None))
                .update_expression(format!("SET {}, {set} REMOVE {remove}", add_event())),
        };
        let update = update
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()));
        recorded_or_fenced(update.send().await, "give back the task")
    }

    /// Makes a task PENDING again whose worker has died. The attempt is counted, and the next
    /// one runs alone.
    pub async fn break_lease(&self, id: TaskId, now: Moment) -> Result<Finish, StoreError> {
        let lost = Failure::transient(
            ErrorType::WorkerLost,
            "The server stopped unexpectedly during the run",
        );
        let add_event = add_event();
        let update = with_event(self.update_started(id), release_event(now, Some(&lost), None))
            .update_expression(format!(
                "SET #status = :pending, {WORKER_LOST} = :true, {add_event} REMOVE {LEASE_UNTIL}, {HOLDER}"
            ))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()));
        recorded_or_fenced(update.send().await, "break the lease of the task")
    }
}
