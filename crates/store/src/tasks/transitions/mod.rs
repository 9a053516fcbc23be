//! The transitions of a task: one conditional update each, with the attempt as fencing token.

mod checkpoint;
mod claim;
mod finish;
mod release;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use domain::TaskId;

use super::{Finish, Tasks};
use crate::StoreError;
use crate::conditions::is_condition_failed;
use crate::error::StoreAttempt;
use crate::item;
pub use release::Release;

impl Tasks {
    /// An update of this task, and not of a newer one with the same key: each condition
    /// starts with `created_at = :created_at`.
    pub(super) fn update(&self, id: TaskId) -> UpdateItemFluentBuilder {
        self.db
            .update_item()
            .table_name(&self.table)
            .key("id", item::text(id.key().as_hex()))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":created_at", item::moment(id.created_at()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
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
