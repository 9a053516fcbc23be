//! Converts SQS records of the event source mapping into deliveries of the runner.

use aws_lambda_events::sqs::SqsMessage;
use domain::AgentId;
use runner::Delivery;

/// `dead_arn` is the ARN of the dead-letter queue.
pub(crate) fn delivery_from_record(record: SqsMessage, dead_arn: &str) -> Delivery {
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
