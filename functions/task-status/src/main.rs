//! Function 3: returns the status and the result of a task.

use api::task_status::{self, Statuses};
use store::aws::{Aws, AwsSettings};
use store::env::{Env, EnvError};
use store::{Clock, Tasks};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    // The client is built while the DNS lookup and the connection are in progress.
    let ((), statuses) = tokio::join!(aws.reach_dynamodb(), async { build_statuses(&aws, &env) });
    gateway::serve(api::app(task_status::router(statuses?))).await
}

fn build_statuses(aws: &Aws, env: &Env) -> Result<Statuses, EnvError> {
    let tasks = Tasks::new(aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?);
    Ok(Statuses {
        tasks,
        clock: Clock::system(),
    })
}
