//! The events of this function: a batch of messages, or a trial of the console's function.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use domain::{Moment, TrialRequest, TrialResponse};
use runner::{Delivery, Runner, run_batch};
use serde::{Deserialize, Serialize};
use store::Queue;

use crate::delivery::delivery_from_record;

/// One of the two is present.
#[derive(Deserialize)]
pub(crate) struct AgentEvent {
    #[serde(rename = "Records", default)]
    records: Vec<SqsMessage>,
    #[serde(default)]
    trial: Option<TrialRequest>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum AgentResponse {
    Batch(SqsBatchResponse),
    Trial(Box<TrialResponse>),
}

/// The queues that the function is subscribed to.
pub(crate) struct Queues {
    pub(crate) live: Arc<Queue>,
    pub(crate) dead: Arc<Queue>,
    pub(crate) dead_arn: String,
}

/// Makes the call of a trial, or runs the tasks of a batch and returns the messages to be
/// delivered again.
pub(crate) async fn handle(
    event: AgentEvent,
    runner: &Arc<Runner>,
    queues: &Queues,
    deadline: Moment,
) -> AgentResponse {
    if let Some(request) = event.trial {
        return AgentResponse::Trial(Box::new(runner.run_trial(request).await));
    }
    let records = event.records.into_iter();
    let deliveries = records.filter_map(|record| delivery_from_record(record, &queues.dead_arn));
    let deliveries: Vec<Delivery> = deliveries.collect();
    // All messages of a batch come from one queue.
    let is_dead = deliveries.iter().any(|delivery| delivery.dead_lettered);
    let queue = if is_dead { &queues.dead } else { &queues.live };
    let failed = run_batch(runner, queue, deliveries, deadline).await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(failed);
    AgentResponse::Batch(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_batch_or_a_trial() {
        let batch: AgentEvent = serde_json::from_str(
            r#"{"Records":[{"messageId":"a","body":"b","attributes":{},"messageAttributes":{}}]}"#,
        )
        .unwrap();
        assert_eq!((batch.records.len(), batch.trial.is_some()), (1, false));
        let event = r#"{"trial":{"type":"model","model":null}}"#;
        let trial: AgentEvent = serde_json::from_str(event).unwrap();
        assert_eq!((trial.records.len(), trial.trial.is_some()), (0, true));
        let response = AgentResponse::Trial(Box::new(TrialResponse::Model(
            domain::ModelTrial::default(),
        )));
        let json = serde_json::to_value(response).unwrap();
        assert_eq!(json["type"], "model");
        let batch =
            serde_json::to_value(AgentResponse::Batch(SqsBatchResponse::default())).unwrap();
        assert_eq!(batch, serde_json::json!({ "batchItemFailures": [] }));
    }
}
