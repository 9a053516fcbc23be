//! Run slots, which limit the concurrent runs of an agent. Each agent with a limit has an
//! item with its slots. A slot is leased like a task, so that the slot of a dead worker
//! is free again when the lease ends.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::{AgentId, ClaimRefusal, Moment, Status, Task, TaskId};

use super::attributes::{
    CREATED_AT, EXPIRES_AT, ID, VERSION, WAITS_SINCE, WAITS_UNTIL, WORKER_LOST, slot_name,
};
use super::{RECORD_VERSION, Tasks};
use crate::StoreError;
use crate::blob::random_name;
use crate::conditions::{is_condition_failed, refused_item};
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};

/// Another worker may take a free slot first. Then the next free slot is tried.
const TRIES: usize = 4;
/// The item's id is this prefix and the agent's id.
pub(super) const ID_PREFIX: &str = "slots#";
/// How long the item is stored after its last lease.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// A slot held by one run.
#[derive(Debug)]
pub struct Slot {
    agent: AgentId,
    name: String,
    lease: String,
}

/// The result of [`Tasks::take_slot`].
#[derive(Debug)]
pub enum SlotAnswer {
    /// The run may start. It holds the slot until it frees it or the lease ends.
    Taken(Slot),
    /// All slots of the agent are taken.
    Full,
}

/// The result of making a task wait for a slot or for a worker without other runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The task has been waiting since this time.
    Since(Moment),
    /// A worker holds the task, or it has ended, or it does not exist.
    Refused(ClaimRefusal),
}

impl Tasks {
    /// Records that a task waits for a slot and tries again at `until`. Until then, the queue
    /// has a message for it. A task whose worker was lost is PENDING again and will run alone.
    pub async fn wait_for_slot(
        &self,
        id: TaskId,
        now: Moment,
        until: Moment,
    ) -> Result<Wait, StoreError> {
        let waits = with_wait(self.update(id), now, until)
            .update_expression(set_waits())
            .condition_expression(format!(
                "{CREATED_AT} = :created_at AND {VERSION} <= :known AND #status = :pending"
            ))
            .expression_attribute_values(":known", item::number(RECORD_VERSION));
        match self.send_wait(waits, id, now).await? {
            // The task is STARTED, and its lease has ended.
            Wait::Refused(ClaimRefusal::Exhausted) => self.wait_to_run_alone(id, now, until).await,
            wait => Ok(wait),
        }
    }

    /// Records that a task that lost its worker waits for a worker without other runs.
    pub async fn wait_to_run_alone(
        &self,
        id: TaskId,
        now: Moment,
        until: Moment,
    ) -> Result<Wait, StoreError> {
        let waits = with_wait(self.update_abandoned(id, now), now, until)
            .update_expression(format!("{}, {WORKER_LOST} = :true", set_waits()))
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        self.send_wait(waits, id, now).await
    }

    async fn send_wait(
        &self,
        update: UpdateItemFluentBuilder,
        id: TaskId,
        now: Moment,
    ) -> Result<Wait, StoreError> {
        match update.send().await {
            Ok(updated) => {
                let waiting = updated.attributes.unwrap_or_default();
                ItemReader(&waiting).moment(WAITS_SINCE).map(Wait::Since)
            }
            Err(error) => match refused_item(&error) {
                Some(None) => Ok(Wait::Refused(ClaimRefusal::Gone)),
                Some(Some(found)) => {
                    let found = self.task(found).await?;
                    Ok(Wait::Refused(Task::refusal(Some(&found), id, now)))
                }
                None => Err(error).attempt("record that the task waits"),
            },
        }
    }

    /// Takes one of the agent's first `slots` slots until `lease_until`.
    pub async fn take_slot(
        &self,
        agent: AgentId,
        slots: u32,
        now: Moment,
        lease_until: Moment,
    ) -> Result<SlotAnswer, StoreError> {
        // Workers start at a random slot, so that few try the same one.
        let mut random = [0; 4];
        getrandom::fill(&mut random).attempt("get random bytes")?;
        let random = u32::from_be_bytes(random);
        let lease = lease(lease_until, &random_name("")?);
        let mut wanted = Some(random % slots);
        for _ in 0..TRIES {
            let Some(slot) = wanted.map(slot_name) else {
                break;
            };
            match self
                .try_slot(agent, &slot, now, lease_until, &lease)
                .await?
            {
                None => {
                    return Ok(SlotAnswer::Taken(Slot {
                        agent,
                        name: slot,
                        lease,
                    }));
                }
                // The response to an earlier try was lost.
                Some(found) if leased_as(&found, &slot) == Some(lease.as_str()) => {
                    return Ok(SlotAnswer::Taken(Slot {
                        agent,
                        name: slot,
                        lease,
                    }));
                }
                Some(found) => wanted = find_free_slot(&found, slots, random, now),
            }
        }
        Ok(SlotAnswer::Full)
    }

    /// Frees the slot, if this run still holds it.
    pub async fn free_slot(&self, slot: &Slot) -> Result<(), StoreError> {
        let freed = self
            .db
            .update_item()
            .table_name(&self.table)
            .key(ID, item::text(slots_id(slot.agent)))
            .update_expression("REMOVE #slot")
            .condition_expression("#slot = :lease")
            .expression_attribute_names("#slot", &slot.name)
            .expression_attribute_values(":lease", item::text(&slot.lease))
            .send()
            .await;
        match freed {
            Err(error) if !is_condition_failed(&error) => Err(error).attempt("free the run slot"),
            _ => Ok(()),
        }
    }

    /// Deletes the slots of an agent. Call it only when none of its runs is in progress.
    pub async fn forget_slots(&self, agent: AgentId) -> Result<(), StoreError> {
        let delete = self
            .db
            .delete_item()
            .table_name(&self.table)
            .key(ID, item::text(slots_id(agent)));
        delete.send().await.attempt("delete the run slots")?;
        Ok(())
    }

    /// Returns `None` if it took the slot, else the current item.
    async fn try_slot(
        &self,
        agent: AgentId,
        slot: &str,
        now: Moment,
        lease_until: Moment,
        lease: &str,
    ) -> Result<Option<Item>, StoreError> {
        let taken = self
            .db
            .update_item()
            .table_name(&self.table)
            .key(ID, item::text(slots_id(agent)))
            .update_expression(format!("SET #slot = :lease, {EXPIRES_AT} = :expires_at"))
            .condition_expression("attribute_not_exists(#slot) OR #slot < :now")
            .expression_attribute_names("#slot", slot)
            .expression_attribute_values(":lease", item::text(lease))
            .expression_attribute_values(":now", item::text(self::lease(now, "")))
            .expression_attribute_values(
                ":expires_at",
                item::number(lease_until.plus(RETENTION).ttl_seconds()),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match taken {
            Ok(_) => Ok(None),
            Err(error) => match refused_item(&error) {
                Some(found) => Ok(Some(found.cloned().unwrap_or_default())),
                None => Err(error).attempt("take a run slot"),
            },
        }
    }
}

fn slots_id(agent: AgentId) -> String {
    format!("{ID_PREFIX}{agent}")
}

/// The update expression of a task that waits.
fn set_waits() -> String {
    format!(
        "SET #status = :pending, {WAITS_UNTIL} = :until, {WAITS_SINCE} = if_not_exists({WAITS_SINCE}, :now)"
    )
}

/// The values of [`set_waits`]. The update returns the record.
fn with_wait(
    update: UpdateItemFluentBuilder,
    now: Moment,
    until: Moment,
) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
        .expression_attribute_values(":until", item::moment(until))
        .expression_attribute_values(":now", item::moment(now))
        .return_values(ReturnValue::AllNew)
}

/// The value of a leased slot. It is unique, and DynamoDB compares it with a time as text:
/// 13 digits of milliseconds are enough until the year 2286.
fn lease(until: Moment, holder: &str) -> String {
    format!("{:013}#{holder}", until.millis())
}

fn leased_as<'a>(found: &'a Item, slot: &str) -> Option<&'a str> {
    found
        .get(slot)
        .and_then(|value: &AttributeValue| value.as_s().ok())
        .map(String::as_str)
}

/// Returns the first free slot, starting at `from`.
fn find_free_slot(found: &Item, slots: u32, from: u32, now: Moment) -> Option<u32> {
    let over = lease(now, "");
    (0..slots)
        .map(|step| from.wrapping_add(step) % slots)
        .find(|slot| leased_as(found, &slot_name(*slot)).is_none_or(|lease| lease < over.as_str()))
}
