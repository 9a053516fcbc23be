//! Makes a task PENDING again: after a transient error, a clean stop or the death of its worker.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ErrorType, Failure, MAX_EVENTS, Moment, Run, Status, TaskId};

use super::recorded_or_fenced;
use crate::StoreError;
use crate::item;
use crate::tasks::events::{self, ADD_EVENT};
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
}
