//! What can go wrong between us and the stores.

use std::error::Error;

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refused, failed or could not be reached. Asking again is harmless.
    #[error("failed to {attempt}")]
    Unavailable {
        /// What was attempted, as a verb phrase.
        attempt: &'static str,
        /// What the SDK or the file system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A record of a form that came later than this version: after a rollback.
    /// It is left alone until the newer version is back.
    #[error("the record {id} was written by a newer version of this product")]
    Newer {
        /// The record's key.
        id: String,
    },
    /// A secret of this name is being deleted, so its name cannot be used again yet.
    #[error("a secret of this name is being deleted")]
    BeingDeleted,
    /// A record does not read as this version writes it.
    #[error("the record {id} has no readable {attribute}")]
    Damaged {
        /// The record's key.
        id: String,
        /// What is missing or malformed.
        attribute: &'static str,
    },
}

/// An error with all its causes in one line, for the log.
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
    pub(crate) fn unavailable(attempt: &'static str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self {
        move |source| Self::Unavailable { attempt, source }
    }
}

/// `.attempt("put the task")?` on an SDK result.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T, E: Error + Send + Sync + 'static> Attempt<T> for Result<T, E> {
    fn attempt(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::unavailable(what)(Box::new(error)))
    }
}
