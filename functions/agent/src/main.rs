//! Lambda 2: takes batches from the queue and the dead-letter queue, and runs the agents.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use domain::{AgentId, Moment};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use runner::{Delivery, Models, RunSettings, Runner, Sources, run_batch};
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use store::{Agents, Clock, Documents, Queue, Secrets, SqsQueue, Tasks};
use traces::Traces;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let env = Env::process();
    let traces = &Traces::from_env(&env)?;
    logs::to_traced_lambda(logs::Metrics::from_env(&env), traces.layer());
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let agents = Arc::new(Agents::from_env(&aws, &env)?);
    let runner = &Arc::new(Runner {
        tasks: Tasks::new(&aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        agents: Arc::clone(&agents),
        sources: Arc::new(Sources::new(agents, Documents::from_env(&aws, &env)?)),
        secrets: Arc::new(Secrets::secrets_manager(&aws, env.required("AGENT_WEBHOOKS_SECRETS_PREFIX")?)),
        models: Models::from_env(&env)?,
        settings: RunSettings::from_env(&env)?,
        clock: Clock::system(),
    });
    let queue = |name| Ok::<_, Error>(Arc::new(Queue::Sqs(SqsQueue::new(&aws, env.required(name)?))));
    let (live, dead) = &(queue("AGENT_WEBHOOKS_QUEUE_URL")?, queue("AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL")?);
    let dead_arn = &env.required("AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_ARN")?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline = Moment::from_millis(event.context.deadline);
        let deliveries: Vec<Delivery> =
            event.payload.records.into_iter().map(|record| delivery(record, dead_arn)).collect();
        // A batch comes from one queue.
        let queue = if deliveries.iter().any(|delivery| delivery.dead_lettered) { dead } else { live };
        let failed = run_batch(runner, queue, deliveries, deadline).await;
        // A function that has answered is frozen, and may never wake.
        traces.export(deadline.since(runner.clock.now()) / 2).await;
        let mut response = SqsBatchResponse::default();
        response.set_failures(failed);
        Ok::<_, Error>(response)
    }))
    .await
}

fn delivery(record: SqsMessage, dead_arn: &str) -> Delivery {
    let receives = record.attributes.get("ApproximateReceiveCount");
    Delivery {
        id: record.message_id.unwrap_or_default(),
        receipt: record.receipt_handle.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
        agent: record.attributes.get("MessageGroupId").and_then(|group| AgentId::parse(group)),
        receives: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
        dead_lettered: record.event_source_arn.as_deref() == Some(dead_arn),
    }
}
