//! Builds the runner and the queues from the function's environment variables.

use std::sync::Arc;

use lambda_runtime::Error;
use runner::{AccessTokens, Models, RunGate, RunSettings, Runner, Sources};
use store::aws::Aws;
use store::env::{Env, EnvError};
use store::{Agents, Clock, Documents, Queue, Secrets, SqsQueue, Tasks};
use subprocess::Subprocesses;

/// A second subprocess would exceed the function's memory, because runs need it too.
const MAX_SUBPROCESSES: usize = 1;

pub(crate) fn build_runner(env: &Env, aws: &Aws, secrets: Secrets) -> Result<Runner, Error> {
    let agents = Arc::new(Agents::from_env(aws, env)?);
    Ok(Runner {
        tasks: Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        agents: Arc::clone(&agents),
        sources: Arc::new(Sources::new(agents, Documents::from_env(aws, env)?)),
        secrets: Arc::new(secrets),
        models: Models::from_env(env)?,
        subprocesses: Subprocesses::new(subprocess::this_program(), MAX_SUBPROCESSES),
        access_tokens: AccessTokens::default(),
        gate: RunGate::default(),
        settings: RunSettings::from_env(env)?,
        clock: Clock::system(),
    })
}

/// The queue whose URL is in this variable.
pub(crate) fn open_queue(
    env: &Env,
    aws: &Aws,
    variable: &'static str,
) -> Result<Arc<Queue>, EnvError> {
    let queue = SqsQueue::new(aws, env.required(variable)?);
    Ok(Arc::new(Queue::Sqs(queue)))
}
