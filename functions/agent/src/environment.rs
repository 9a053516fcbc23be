//! The runner that the function's environment describes.

use std::sync::Arc;

use lambda_runtime::Error;
use runner::{Models, RunGate, RunSettings, Runner, Sources};
use store::aws::Aws;
use store::env::Env;
use store::{Agents, Clock, Documents, Secrets, Tasks};
use subprocess::Subprocesses;

/// A second subprocess would not fit the memory beside the runs.
const PROMPTS_AT_ONCE: usize = 1;

pub(crate) fn runner(env: &Env, aws: &Aws, secrets: Secrets) -> Result<Runner, Error> {
    let agents = Arc::new(Agents::from_env(aws, env)?);
    Ok(Runner {
        tasks: Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        agents: Arc::clone(&agents),
        sources: Arc::new(Sources::new(agents, Documents::from_env(aws, env)?)),
        secrets: Arc::new(secrets),
        models: Models::from_env(env)?,
        subprocesses: Subprocesses::new(subprocess::this_program(), PROMPTS_AT_ONCE),
        gate: RunGate::default(),
        settings: RunSettings::from_env(env)?,
        clock: Clock::system(),
    })
}
