//! Parses SQS records of the event source mapping into deliveries of the runner.

use aws_lambda_events::sqs::SqsMessage;
use domain::AgentId;
use runner::{Delivery, parse_message_body};

/// `dead_arn` is the ARN of the dead-letter queue. Returns `None` for a message to be dropped.
pub(crate) fn delivery_from_record(record: SqsMessage, dead_arn: &str) -> Option<Delivery> {
    let receives = record.attributes.get("ApproximateReceiveCount");
    let message_id = record.message_id.unwrap_or_default();
    let task = parse_message_body(&message_id, record.body.as_deref().unwrap_or_default())?;
    Some(Delivery {
        message_id,
        receipt: record.receipt_handle.unwrap_or_default(),
        task,
        agent: record.attributes.get("MessageGroupId").and_then(|group| AgentId::parse(group)),
        receives: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
        dead_lettered: record.event_source_arn.as_deref() == Some(dead_arn),
    })
}
