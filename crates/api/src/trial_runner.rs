//! Who makes the calls of trials.

use std::error::Error;

use domain::{TrialRequest, TrialResponse};
use futures::future::BoxFuture;

/// Makes the calls of trials: in this process, or in the function that runs agents.
pub trait TrialRunner: Send + Sync {
    fn run_trial(
        &self,
        request: TrialRequest,
    ) -> BoxFuture<'_, Result<TrialResponse, TrialRunnerError>>;
}

/// Why a call was not made.
#[derive(Debug, thiserror::Error)]
pub enum TrialRunnerError {
    /// A later request may succeed.
    #[error("the function that runs agents is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the function that runs agents failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
