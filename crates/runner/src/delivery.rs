//! Queue messages.

use domain::{AgentId, TaskId};

/// One message from the event source.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Identifies the message in the batch's response.
    pub message_id: String,
    /// The receipt handle, for changes of the visibility timeout.
    pub receipt: String,
    pub task: TaskId,
    /// The task's agent, from the message group. Without it, the agent is read from the
    /// task's record.
    pub agent: Option<AgentId>,
    /// How often the message was received, including this time.
    pub receives: u32,
    /// Whether the message comes from the dead-letter queue.
    pub dead_lettered: bool,
}

/// Parses the body of a message, which is the id of a task. Any other body is logged, and the
/// caller drops its message: we never send one, and receiving it again would not help.
pub fn parse_message_body(message_id: &str, body: &str) -> Option<TaskId> {
    let task = TaskId::parse(body);
    if task.is_none() {
        tracing::warn!(message_id, "dropped malformed queue message");
    }
    task
}
