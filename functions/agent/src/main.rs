//! Function 2: receives batches from the queue and the dead-letter queue, and runs the agents.

mod collector;
mod delivery;
mod environment;

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use domain::Moment;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use runner::{Delivery, run_batch};
use store::Secrets;
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use traces::Traces;

use delivery::delivery_from_record;
use environment::{build_runner, open_queue};

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
    let live = &open_queue(&env, &aws, "AGENT_WEBHOOKS_QUEUE_URL")?;
    let dead = &open_queue(&env, &aws, "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL")?;
    let dead_arn = &env.required("AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_ARN")?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline = Moment::from_millis(event.context.deadline);
        let records = event.payload.records.into_iter();
        let deliveries = records.filter_map(|record| delivery_from_record(record, dead_arn));
        let deliveries: Vec<Delivery> = deliveries.collect();
        // All messages of a batch come from one queue.
        let is_dead = deliveries.iter().any(|delivery| delivery.dead_lettered);
        let queue = if is_dead { dead } else { live };
        let failed = run_batch(runner, queue, deliveries, deadline).await;
        // Lambda freezes the function after the response, and may never continue it.
        traces.export(deadline.since(runner.clock.now()) / 2).await;
        let mut response = SqsBatchResponse::default();
        response.set_failures(failed);
        Ok::<_, Error>(response)
    }))
    .await
}
