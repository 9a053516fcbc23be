//! Lambda 1: takes a trigger, stores the task, queues its id and answers.

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
    // The clients are made while the names of the services are looked up.
    let ((), (), triggers) =
        tokio::join!(aws.reach_dynamodb(), aws.reach_sqs(), async { triggers(&aws, &env) });
    gateway::serve(api::app(webhook::router(triggers?))).await
}

fn triggers(aws: &Aws, env: &Env) -> Result<Triggers, EnvError> {
    Ok(Triggers {
        agents: Arc::new(Agents::from_env(aws, env)?),
        tasks: Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        queue: Arc::new(Queue::Sqs(SqsQueue::new(aws, env.required("AGENT_WEBHOOKS_QUEUE_URL")?))),
        clock: Clock::system(),
        max_body_bytes: webhook::max_body_bytes(env)?,
    })
}
