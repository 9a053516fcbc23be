//! Whether DynamoDB refused a write because a condition failed.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use crate::item::Item;

/// Codes of `CancellationReason`
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
const TRANSACTION_CONFLICT: &str = "TransactionConflict";

/// The error of an operation that writes one item under a condition.
pub(crate) trait ConditionalWriteError {
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException>;
}

impl ConditionalWriteError for PutItemError {
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(failed) => Some(failed),
            _ => None,
        }
    }
}

impl ConditionalWriteError for UpdateItemError {
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(failed) => Some(failed),
            _ => None,
        }
    }
}

/// Returns `Some` with the current item when the condition failed. The item is `None` if it
/// does not exist, or if the request did not ask for it.
pub(crate) fn refused_item<E: ConditionalWriteError, R>(
    error: &SdkError<E, R>,
) -> Option<Option<&Item>> {
    let failed = error.as_service_error()?.failed_condition()?;
    Some(failed.item.as_ref().filter(|item| !item.is_empty()))
}

pub(crate) fn is_condition_failed<E: ConditionalWriteError, R>(error: &SdkError<E, R>) -> bool {
    refused_item(error).is_some()
}

/// Whether the condition of one of the transaction's writes failed.
pub(crate) fn is_transaction_refused<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    was_cancelled_by(error, CONDITION_FAILED)
}

/// Whether another transaction on the same items was in progress.
pub(crate) fn is_transaction_conflict<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    was_cancelled_by(error, TRANSACTION_CONFLICT)
}

fn was_cancelled_by<R>(error: &SdkError<TransactWriteItemsError, R>, code: &str) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled
            .cancellation_reasons()
            .iter()
            .any(|reason| reason.code() == Some(code)),
        _ => false,
    }
}
