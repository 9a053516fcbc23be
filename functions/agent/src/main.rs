//! Function 2: receives batches from the queue and the dead-letter queue, and runs the agents.
//! The console's function invokes it to call models and tools for tests.

mod collector;
mod delivery;
mod environment;
mod event;

use std::process::ExitCode;
use std::sync::Arc;

use domain::Moment;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use store::Secrets;
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use traces::Traces;

use environment::{build_runner, open_queue};
use event::{AgentEvent, Queues};

fn main() -> Result<ExitCode, Error> {
    match subprocess::run_requested_prompt() {
        Some(code) => Ok(code),
        None => serve().map(|()| ExitCode::SUCCESS),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Error> {
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let secrets = Secrets::secrets_manager(&aws, env.required("AGENT_WEBHOOKS_SECRETS_PREFIX")?);
    let otlp_headers = collector::read_headers(&env, &secrets).await;
    let traces = &Traces::from_env(&env, otlp_headers.as_ref().ok().and_then(Option::as_deref))?;
    logs::to_traced_lambda(logs::Metrics::from_env(&env), traces.layer());
    if let Err(error) = &otlp_headers {
        tracing::error!(%error, "traces are exported without the headers of OtlpHeadersSecret");
    }
    let runner = &Arc::new(build_runner(&env, &aws, secrets)?);
    let queues = &Queues {
        live: open_queue(&env, &aws, "AGENT_WEBHOOKS_QUEUE_URL")?,
        dead: open_queue(&env, &aws, "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL")?,
        dead_arn: env.required("AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_ARN")?,
    };
    lambda_runtime::run(service_fn(|event: LambdaEvent<AgentEvent>| async move {
        let deadline = Moment::from_millis(event.context.deadline);
        let response = event::handle(event.payload, runner, queues, deadline).await;
        // Lambda freezes the function after the response, and may never continue it.
        traces.export(deadline.since(runner.clock.now()) / 2).await;
        Ok::<_, Error>(response)
    }))
    .await
}
