//! Lambda 3: answers how a task stands.

use api::task_status::{self, Statuses};
use store::aws::{Aws, AwsSettings};
use store::env::{Env, EnvError};
use store::{Clock, Tasks};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    // The client is made while the name of the service is looked up.
    let ((), statuses) = tokio::join!(aws.reach_dynamodb(), async { statuses(&aws, &env) });
    gateway::serve(api::app(task_status::router(statuses?))).await
}

fn statuses(aws: &Aws, env: &Env) -> Result<Statuses, EnvError> {
    let tasks = Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?);
    Ok(Statuses { tasks, clock: Clock::system() })
}
