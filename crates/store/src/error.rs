//! Errors of DynamoDB, SQS and the secret store.

use std::error::Error;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The service refused the request, failed or was unreachable. A retry is harmless.
    #[error("failed to {attempt}")]
    Unavailable {
        /// A verb phrase, such as "store the task".
        attempt: &'static str,
        /// The error of the SDK or the file system.
        source: Box<dyn Error + Send + Sync>,
    },
    /// After a rollback. The record is not changed until the newer release is deployed again.
    #[error("the record {id} was written by a newer release; deploy that release again")]
    Newer { id: String },
    #[error("a secret of this name is being deleted, so the name cannot be used yet")]
    BeingDeleted,
    /// The record is not in the format that this release writes.
    #[error("the attribute {attribute} of the record {id} is missing or malformed")]
    Damaged { id: String, attribute: &'static str },
}

/// Formats an error with all its causes on one line, for the log.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl StoreError {
    pub(crate) fn unavailable(
        attempt: &'static str,
    ) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self {
        move |source| Self::Unavailable { attempt, source }
    }
}

/// Adds `.attempt("store the task")?` to SDK results.
pub(crate) trait StoreAttempt<T> {
    fn attempt(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T, E: Error + Send + Sync + 'static> StoreAttempt<T> for Result<T, E> {
    fn attempt(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::unavailable(what)(Box::new(error)))
    }
}
