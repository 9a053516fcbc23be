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
        agent: record
            .attributes
            .get("MessageGroupId")
            .and_then(|group| AgentId::parse(group)),
        receives: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
        dead_lettered: record.event_source_arn.as_deref() == Some(dead_arn),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "01a20a28-dfb7-7c2a-bbf0-65fca2548e07";
    const DEAD_ARN: &str = "arn:aws:sqs:us-east-1:000000000000:dead";

    fn record(body: &str, arn: &str) -> SqsMessage {
        let mut record = SqsMessage::default();
        record.message_id = Some("message".to_owned());
        record.receipt_handle = Some("receipt".to_owned());
        record.body = Some(body.to_owned());
        record.event_source_arn = Some(arn.to_owned());
        record
            .attributes
            .insert("ApproximateReceiveCount".to_owned(), "3".to_owned());
        record
    }

    #[test]
    fn a_message_with_a_task_id_is_a_delivery() {
        for (arn, dead_lettered) in [
            ("arn:aws:sqs:us-east-1:000000000000:live", false),
            (DEAD_ARN, true),
        ] {
            let delivery = delivery_from_record(record(TASK, arn), DEAD_ARN).unwrap();
            assert_eq!(delivery.task.to_string(), TASK);
            assert_eq!(
                (delivery.receives, delivery.dead_lettered),
                (3, dead_lettered)
            );
        }
    }

    #[test]
    fn any_other_message_is_dropped() {
        for body in [
            "",
            "not a task id",
            "{}",
            "01a20a28-dfb7-7c2a-bbf0-65fca2548e0",
        ] {
            for arn in ["arn:aws:sqs:us-east-1:000000000000:live", DEAD_ARN] {
                assert!(
                    delivery_from_record(record(body, arn), DEAD_ARN).is_none(),
                    "{body}"
                );
            }
        }
    }
}
