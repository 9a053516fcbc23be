//! Ends a task: as the worker that holds it, or because no worker does.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::{ClaimRefusal, Ended, Moment, Status, Task, TaskId};

use super::recorded_or_fenced;
use crate::conditions::refused_item;
use crate::error::StoreAttempt;
use crate::item::{self, Item};
use crate::tasks::{Claimed, EndAbandoned, Finish, RECORD_VERSION, Tasks};
use crate::{StoreError, blob};

impl Tasks {
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
}

/// Whether the task has ended with this update already: then the response to an earlier try
/// was lost.
fn is_this_end(found: &Item, claimed: &Claimed, finished_at: Moment) -> bool {
    found.get("attempt") == Some(&item::number(claimed.task.attempt))
        && found.get("finished_at") == Some(&item::moment(finished_at))
}
