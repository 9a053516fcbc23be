//! Function 1: accepts a trigger, stores the task, queues its id and returns it.

use std::sync::Arc;

use api::webhook::{self, Triggers};
use store::aws::{Aws, AwsSettings};
use store::env::{Env, EnvError};
use store::{Agents, Clock, Queue, SqsQueue, Tasks};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    // The clients are built while the DNS lookups and connections are in progress.
    let ((), (), triggers) = tokio::join!(aws.reach_dynamodb(), aws.reach_sqs(), async {
        build_triggers(&aws, &env)
    });
    gateway::serve(api::app(webhook::router(triggers?))).await
}

fn build_triggers(aws: &Aws, env: &Env) -> Result<Triggers, EnvError> {
    Ok(Triggers {
        agents: Arc::new(Agents::from_env(aws, env)?),
        tasks: Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        queue: Arc::new(Queue::Sqs(SqsQueue::new(
            aws,
            env.required("AGENT_WEBHOOKS_QUEUE_URL")?,
        ))),
        clock: Clock::system(),
        max_body_bytes: webhook::max_body_bytes(env)?,
    })
}
