//! Trials on AWS: the agent function makes the calls, because only its role may read the secrets
//! of agents, and its image has the clients of models and tools.

use api::{TrialRunner, TrialRunnerError};
use domain::{TrialRequest, TrialResponse};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use store::aws::AwsSettings;
use store::env::{Env, EnvError};
use store::{InvokeError, LambdaFunction};

/// Invokes the agent function.
pub(crate) struct AgentFunction(LambdaFunction);

/// The event that the agent function receives instead of a batch of messages.
#[derive(Serialize)]
struct TrialEvent<'a> {
    trial: &'a TrialRequest,
}

impl AgentFunction {
    pub(crate) fn from_env(env: &Env) -> Result<Self, EnvError> {
        let name = env.required("AGENT_WEBHOOKS_AGENT_FUNCTION")?;
        let own_url = env.optional("AWS_ENDPOINT_URL_LAMBDA");
        Ok(Self(LambdaFunction::new(
            AwsSettings::from_env(env)?,
            own_url,
            &name,
        )))
    }

    async fn invoke(&self, request: &TrialRequest) -> Result<TrialResponse, TrialRunnerError> {
        let failed = |error: serde_json::Error| TrialRunnerError::Failed(error.into());
        let event = serde_json::to_vec(&TrialEvent { trial: request }).map_err(failed)?;
        let response = self.0.invoke(event).await.map_err(not_invoked)?;
        serde_json::from_slice(&response).map_err(failed)
    }
}

impl TrialRunner for AgentFunction {
    fn run_trial(
        &self,
        request: TrialRequest,
    ) -> BoxFuture<'_, Result<TrialResponse, TrialRunnerError>> {
        async move { self.invoke(&request).await }.boxed()
    }
}

fn not_invoked(error: InvokeError) -> TrialRunnerError {
    match error.is_transient() {
        true => TrialRunnerError::Unavailable(error.into()),
        false => TrialRunnerError::Failed(error.into()),
    }
}
