//! How many runs an agent has at a time: an item with a slot for each, kept only
//! for agents that limit their runs. A slot is leased like a task, so that one
//! whose runner died is free again when its lease is over.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::{AgentId, ClaimRefusal, Moment, Status, Task, TaskId};

use super::transitions::refused;
use super::{RECORD_VERSION, Tasks};
use crate::StoreError;
use crate::blob::random_name;
use crate::error::Attempt;
use crate::item::{self, Item, Reader};

/// Others may take the slot that was seen free; then another is tried.
const TRIES: usize = 4;
/// Of the item's id, before the agent's.
pub(super) const ID_PREFIX: &str = "slots#";
/// The item stays this long after its last lease.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What a task that waits is noted to do.
const SET_WAITS: &str =
    "SET #status = :pending, waits_until = :until, waits_since = if_not_exists(waits_since, :now)";

/// A slot held by one run.
#[derive(Debug)]
pub struct Slot {
    agent: AgentId,
    name: String,
    lease: String,
}

/// Whether a run may begin.
#[derive(Debug)]
pub enum SlotAnswer {
    /// It may, and holds this slot until it gives it back or the lease ends.
    Taken(Slot),
    /// The agent has as many runs as it may have.
    Full,
}

/// What becomes of a task that found no slot, or no worker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It waits, and has done so since then.
    Since(Moment),
    /// There is nothing to wait for: it is held, has ended, or is gone.
    Refused(ClaimRefusal),
}

impl Tasks {
    /// Notes on a task that it waits for a slot, and looks again at `until`: as
    /// long as it does, a message of it is on its way. One whose worker was lost is
    /// PENDING again, and will run alone.
    pub async fn wait_for_slot(&self, id: TaskId, now: Moment, until: Moment) -> Result<Wait, StoreError> {
        let waits = self
            .wait(id, now, until)
            .condition_expression("created_at = :created_at AND v <= :known AND #status = :pending");
        match self.waiting(waits, id, now).await? {
            // Only its lease kept others from it, and that is over.
            Wait::Refused(ClaimRefusal::Exhausted) => self.wait_to_run_alone(id, now, until).await,
            wait => Ok(wait),
        }
    }

    /// The same for a task that lost its worker and waits for a worker of its own.
    pub async fn wait_to_run_alone(
        &self,
        id: TaskId,
        now: Moment,
        until: Moment,
    ) -> Result<Wait, StoreError> {
        let waits = self
            .wait(id, now, until)
            .update_expression(format!("{SET_WAITS}, worker_lost = :true"))
            .condition_expression(
                "created_at = :created_at AND v <= :known AND \
                 (#status = :pending OR (#status = :started AND lease_until <= :now))",
            )
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        self.waiting(waits, id, now).await
    }

    fn wait(&self, id: TaskId, now: Moment, until: Moment) -> UpdateItemFluentBuilder {
        self.update(id)
            .update_expression(SET_WAITS)
            .expression_attribute_values(":known", item::number(RECORD_VERSION))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":until", item::moment(until))
            .expression_attribute_values(":now", item::moment(now))
            .return_values(ReturnValue::AllNew)
    }

    async fn waiting(
        &self,
        update: UpdateItemFluentBuilder,
        id: TaskId,
        now: Moment,
    ) -> Result<Wait, StoreError> {
        match update.send().await {
            Ok(updated) => {
                let waiting = updated.attributes.unwrap_or_default();
                Reader(&waiting).moment("waits_since").map(Wait::Since)
            }
            Err(error) => match refused(&error) {
                Some(None) => Ok(Wait::Refused(ClaimRefusal::Gone)),
                Some(Some(found)) => {
                    let found = self.task(found).await?;
                    Ok(Wait::Refused(Task::refusal(Some(&found), id, now)))
                }
                None => Err(error).attempt("let the task wait"),
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
        // Runners that begin anywhere seldom want the same slot.
        let mut random = [0; 4];
        getrandom::fill(&mut random).attempt("draw random bits")?;
        let random = u32::from_be_bytes(random);
        let lease = lease(lease_until, &random_name("")?);
        let mut wanted = Some(random % slots);
        for _ in 0..TRIES {
            let Some(slot) = wanted.map(slot_name) else { break };
            match self.try_slot(agent, &slot, now, lease_until, &lease).await? {
                None => return Ok(SlotAnswer::Taken(Slot { agent, name: slot, lease })),
                // Our own write, tried again after a lost answer.
                Some(found) if leased_as(&found, &slot) == Some(lease.as_str()) => {
                    return Ok(SlotAnswer::Taken(Slot { agent, name: slot, lease }));
                }
                Some(found) => wanted = free_slot(&found, slots, random, now),
            }
        }
        Ok(SlotAnswer::Full)
    }

    /// Gives a slot back, if it is still this run's.
    pub async fn free_slot(&self, slot: &Slot) -> Result<(), StoreError> {
        let freed = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("id", item::text(slots_id(slot.agent)))
            .update_expression("REMOVE #slot")
            .condition_expression("#slot = :lease")
            .expression_attribute_names("#slot", &slot.name)
            .expression_attribute_values(":lease", item::text(&slot.lease))
            .send()
            .await;
        match freed {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Err(error).attempt("give back the run slot")
            }
            _ => Ok(()),
        }
    }

    /// Forgets the slots of an agent. Only for a process that knows that no run is alive.
    pub async fn forget_slots(&self, agent: AgentId) -> Result<(), StoreError> {
        let delete = self.db.delete_item().table_name(&self.table).key("id", item::text(slots_id(agent)));
        delete.send().await.attempt("delete the run slots")?;
        Ok(())
    }

    /// `None` if the slot is taken now, else the item as it stands.
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
            .key("id", item::text(slots_id(agent)))
            .update_expression("SET #slot = :lease, expires_at = :expires_at")
            .condition_expression("attribute_not_exists(#slot) OR #slot < :now")
            .expression_attribute_names("#slot", slot)
            .expression_attribute_values(":lease", item::text(lease))
            .expression_attribute_values(":now", item::text(self::lease(now, "")))
            .expression_attribute_values(":expires_at", item::number(lease_until.plus(KEPT).ttl_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match taken {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(failed.item.clone().unwrap_or_default()))
                }
                _ => Err(error).attempt("take a run slot"),
            },
        }
    }
}

fn slots_id(agent: AgentId) -> String {
    format!("{ID_PREFIX}{agent}")
}

fn slot_name(slot: u32) -> String {
    format!("s{slot}")
}

/// Sorts by its end, as text: DynamoDB compares it with a moment, and nobody else
/// holds the same. Thirteen digits of milliseconds last until the year 2286.
fn lease(until: Moment, holder: &str) -> String {
    format!("{:013}#{holder}", until.millis())
}

fn leased_as<'a>(found: &'a Item, slot: &str) -> Option<&'a str> {
    found.get(slot).and_then(|value: &AttributeValue| value.as_s().ok()).map(String::as_str)
}

/// A slot that nobody holds, looked for from a random one on.
fn free_slot(found: &Item, slots: u32, from: u32, now: Moment) -> Option<u32> {
    let over = lease(now, "");
    (0..slots)
        .map(|step| from.wrapping_add(step) % slots)
        .find(|slot| leased_as(found, &slot_name(*slot)).is_none_or(|lease| lease < over.as_str()))
}
