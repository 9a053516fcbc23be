//! Claims a task. The attempt number of the claim is the fencing token.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use domain::{ClaimRefusal, Isolation, Moment, Status, Task, TaskId};

use crate::StoreError;
use crate::blob::random_name;
use crate::conditions::refused_item;
use crate::error::StoreAttempt;
use crate::item::{self, Item};
use crate::tasks::attributes::{
    ATTEMPT, CREATED_AT, HOLDER, LEASE_UNTIL, STARTED_AT, VERSION, WAITS_SINCE, WORKER_LOST,
};
use crate::tasks::events::{add_event, claim_event, with_event};
use crate::tasks::{Claim, Claimed, RECORD_VERSION, Tasks};

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
        let (update, add_event) = (self.update(id), add_event());
        let (mark, claimable, update) = match isolation {
            Isolation::Shared => (
                String::new(),
                format!("#status = :pending AND attribute_not_exists({WORKER_LOST})"),
                update,
            ),
            Isolation::Alone => (
                format!(", {WORKER_LOST} = :true"),
                "#status IN (:pending, :started)".to_owned(),
                update.expression_attribute_values(":true", AttributeValue::Bool(true)),
            ),
        };
        let update = update
            .update_expression(format!(
                "SET #status = :started, {ATTEMPT} = {ATTEMPT} + :one, {LEASE_UNTIL} = :lease, \
                 {HOLDER} = :holder, {STARTED_AT} = if_not_exists({STARTED_AT}, :started_at), \
                 {add_event}{mark} REMOVE {WAITS_SINCE}"
            ))
            .condition_expression(format!(
                "{CREATED_AT} = :created_at AND {VERSION} <= :known AND {ATTEMPT} < :max_attempts AND \
                 {claimable} AND (attribute_not_exists({LEASE_UNTIL}) OR {LEASE_UNTIL} <= :now)"
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
            .return_values(ReturnValue::AllNew);
        match with_event(update, claim_event(started_at)).send().await {
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

    async fn claimed(&self, item: Item, claimed_at: Moment) -> Result<Claim, StoreError> {
        let task = self.task(&item).await?;
        Ok(Claim::Granted(Box::new(Claimed {
            task,
            claimed_at,
            item,
        })))
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
        let Some(found) = found else {
            return Ok(Claim::Refused(ClaimRefusal::Gone));
        };
        let ours = found
            .get(HOLDER)
            .is_some_and(|value| value == &item::text(holder));
        let task = self.task(found).await?;
        if ours && task.status == Status::Started {
            return self.claimed(found.clone(), now).await;
        }
        Ok(Claim::Refused(Task::claim_refusal(
            Some(&task),
            id,
            now,
            max_attempts,
        )))
    }
}
