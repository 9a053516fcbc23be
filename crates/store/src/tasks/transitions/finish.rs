//! Ends a task: as the worker that holds it, or because no worker does.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::{ClaimRefusal, Ended, Moment, Status, Task, TaskId};

use super::recorded_or_fenced;
use crate::conditions::refused_item;
use crate::error::StoreAttempt;
use crate::item::{self, Item};
use crate::tasks::attributes::{
    ATTEMPT, EXPIRES_AT, FAILED, FINISHED_AT, HOLDER, LEASE_UNTIL, OUTCOME, OUTCOME_BRIEF, RUN,
};
use crate::tasks::{Claimed, EndAbandoned, Finish, Tasks};
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
        let update = self
            .end(
                self.update_held(claimed),
                claimed.task.id,
                ended,
                now,
                retention,
            )
            .await?;
        match update.send().await {
            Err(error)
                if refused_item(&error)
                    .flatten()
                    .is_some_and(|found| is_this_end(found, claimed, now)) =>
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
            .end(self.update_abandoned(id, now), id, ended, now, retention)
            .await?;
        match update.return_values(ReturnValue::AllNew).send().await {
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

    /// Adds the end of a task to its update.
    async fn end(
        &self,
        mut update: UpdateItemFluentBuilder,
        id: TaskId,
        ended: &Ended,
        now: Moment,
        retention: Duration,
    ) -> Result<UpdateItemFluentBuilder, StoreError> {
        let expires_at = Task::final_expiry(id.created_at(), now, retention);
        let content = serde_json::to_vec(ended).attempt("serialize the outcome")?;
        let mut outcome = blob::store_content(&self.db, &self.table, &content, expires_at).await?;
        if let AttributeValue::M(spilled) = &mut outcome {
            let brief = serde_json::to_vec(&ended.in_brief())
                .attempt("serialize the summary of the outcome")?;
            spilled.insert(OUTCOME_BRIEF.to_owned(), item::bytes(blob::pack(&brief)));
        }
        let mut set = format!(
            "SET #status = :ended, {OUTCOME} = :outcome, {FINISHED_AT} = :now, {EXPIRES_AT} = :expires_at"
        );
        if ended.status() == Status::Failure {
            // The only attribute of an end in the index, so that only failures write to it.
            set.push_str(&format!(", {FAILED} = :failed"));
            update = update.expression_attribute_values(":failed", AttributeValue::Bool(true));
        }
        Ok(update
            .update_expression(format!("{set} REMOVE {LEASE_UNTIL}, {HOLDER}, {RUN}"))
            .expression_attribute_values(":ended", item::text(ended.status().as_str()))
            .expression_attribute_values(":outcome", outcome)
            .expression_attribute_values(":now", item::moment(now))
            .expression_attribute_values(":expires_at", item::number(expires_at.ttl_seconds())))
    }
}

/// Whether the task has ended with this update already: then the response to an earlier try
/// was lost.
fn is_this_end(found: &Item, claimed: &Claimed, finished_at: Moment) -> bool {
    found.get(ATTEMPT) == Some(&item::number(claimed.task.attempt))
        && found.get(FINISHED_AT) == Some(&item::moment(finished_at))
}
