//! The transitions of a task: one conditional update each, with the attempt as fencing token.

mod checkpoint;
mod claim;
mod finish;
mod release;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::{Moment, Status, TaskId};

use super::attributes::{ATTEMPT, CREATED_AT, ID, LEASE_UNTIL, STATUS, VERSION};
use super::{Claimed, Finish, RECORD_VERSION, Tasks};
use crate::StoreError;
use crate::conditions::is_condition_failed;
use crate::error::StoreAttempt;
use crate::item;
pub use release::Release;

impl Tasks {
    /// An update of this task. Its condition must demand `created_at = :created_at`, because
    /// a newer task may have the same key.
    pub(super) fn update(&self, id: TaskId) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key(ID, item::text(id.key().as_hex()))
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":created_at", item::moment(id.created_at()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Demands that the task is STARTED.
    fn update_started(&self, id: TaskId) -> UpdateItemFluentBuilder {
        self.update(id)
            .condition_expression(format!("{CREATED_AT} = :created_at AND #status = :started"))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
    }

    /// Demands that this claim holds the task: the task is STARTED, with the attempt of this claim.
    fn update_held(&self, claimed: &Claimed) -> UpdateItemFluentBuilder {
        self.update(claimed.task.id)
            .condition_expression(format!(
                "{CREATED_AT} = :created_at AND #status = :started AND {ATTEMPT} = :attempt"
            ))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":attempt", item::number(claimed.task.attempt))
    }

    /// Demands that no worker holds the task: it is PENDING, or STARTED with an expired lease.
    pub(super) fn update_abandoned(&self, id: TaskId, now: Moment) -> UpdateItemFluentBuilder {
        self.update(id)
            .condition_expression(format!(
                "{CREATED_AT} = :created_at AND {VERSION} <= :known AND \
                 (#status = :pending OR (#status = :started AND {LEASE_UNTIL} <= :now))"
            ))
            .expression_attribute_values(":known", item::number(RECORD_VERSION))
            .expression_attribute_values(":pending", item::text(Status::Pending.as_str()))
            .expression_attribute_values(":started", item::text(Status::Started.as_str()))
            .expression_attribute_values(":now", item::moment(now))
    }
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
