//! The prompt of an agent.

use super::Agent;
use crate::{Moment, Payload, Prompt, TaskId};

/// The prompt of an agent that has none.
const DEFAULT_PROMPT: &str = "You are {{ agent.name }}, an agent that is triggered by a webhook. \
The user message is the JSON payload that the webhook received. \
Do what it asks, and answer in plain text, briefly and to the point.";

/// The same for agents with an `output_schema`.
const DEFAULT_PROMPT_FOR_JSON: &str = "You are {{ agent.name }}, an agent that is triggered by a webhook. \
The user message is the JSON payload that the webhook received. \
Do what it asks, and answer only with JSON, in the requested form.";

impl Agent {
    /// The agent's prompt for one payload.
    pub fn prompt<'a>(&'a self, payload: &'a Payload, task: TaskId, now: Moment) -> Prompt<'a> {
        let default = if self.definition.output_schema.is_some() {
            DEFAULT_PROMPT_FOR_JSON
        } else {
            DEFAULT_PROMPT
        };
        let template = self.definition.prompt.as_deref().unwrap_or(default);
        Prompt::new(template, &self.definition.name, payload, task, now)
    }
}
