//! Trials of the local server, which runs agents in the same process.

use std::fmt;
use std::sync::Arc;

use api::{TrialRunner, TrialRunnerError};
use domain::{TrialRequest, TrialResponse};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use runner::Runner;

/// Makes the calls of trials with the runner of this process.
pub struct LocalTrials(pub Arc<Runner>);

impl fmt::Debug for LocalTrials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalTrials")
    }
}

impl TrialRunner for LocalTrials {
    fn run_trial(
        &self,
        request: TrialRequest,
    ) -> BoxFuture<'_, Result<TrialResponse, TrialRunnerError>> {
        async { Ok(self.0.run_trial(request).await) }.boxed()
    }
}
