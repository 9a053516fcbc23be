//! Lambda 3: answers how a task stands.

use api::task_status::{self, Statuses};
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use store::{Clock, Tasks};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let statuses = Statuses {
        tasks: Tasks::new(&aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        clock: Clock::system(),
    };
    aws.reach_dynamodb().await;
    lambda_http::run(api::app(task_status::router(statuses))).await
}
