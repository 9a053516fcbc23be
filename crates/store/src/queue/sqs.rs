//! The queue on AWS. The event source mapping receives and deletes the messages.

use std::time::Duration;

use domain::{AgentId, TaskId};

use crate::StoreError;
use crate::aws::Aws;
use crate::error::StoreAttempt;

/// The maximum visibility timeout
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>).
const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);

/// The maximum delay of a message
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
const MAX_DELAY: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl SqsQueue {
    pub fn new(aws: &Aws, url: impl Into<String>) -> Self {
        Self {
            client: aws.sqs(),
            url: url.into(),
        }
    }

    pub(super) async fn send(&self, task: TaskId, agent: AgentId) -> Result<(), StoreError> {
        self.send_later(task, agent, Duration::ZERO).await
    }

    pub(super) async fn send_later(
        &self,
        task: TaskId,
        agent: AgentId,
        delay: Duration,
    ) -> Result<(), StoreError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(task.to_string())
            .message_group_id(agent.to_string())
            .delay_seconds(whole_seconds(delay.min(MAX_DELAY)))
            .send()
            .await
            .attempt("send the task to the queue")
            .map(|_| ())
    }

    pub(super) async fn defer(&self, receipt: &str, delay: Duration) -> Result<(), StoreError> {
        self.client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt)
            .visibility_timeout(whole_seconds(delay.min(MAX_VISIBILITY)))
            .send()
            .await
            .attempt("change the visibility of the message")
            .map(|_| ())
    }
}

/// Rounds up, because the task of a message that comes back early cannot be claimed yet.
fn whole_seconds(delay: Duration) -> i32 {
    i32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}
