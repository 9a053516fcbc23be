//! Queue messages.

use domain::AgentId;

/// One message from the event source.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Identifies the message in the batch's response.
    pub id: String,
    /// The receipt handle, for changes of the visibility timeout.
    pub receipt: String,
    /// The task id.
    pub body: String,
    /// The task's agent, from the message group. Without it, the agent is read from the
    /// task's record.
    pub agent: Option<AgentId>,
    /// How often the message was received, including this time.
    pub receives: u32,
    /// Whether the message comes from the dead-letter queue.
    pub dead_lettered: bool,
}
