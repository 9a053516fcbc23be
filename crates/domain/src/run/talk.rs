//! The messages of a run, independent of the provider.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::thinking::split_thinking;
use crate::{AnswerSchema, Passage, SchemaMismatch, TaskId, count_json_values, cut};

/// Bytes of a call's arguments and of its result that a task's result contains.
const SHOWN_BYTES: usize = 4 * 1024;

/// A message after the prompt and the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatMessage {
    Model {
        text: String,
        calls: Vec<ToolCall>,
        /// Data that the provider requires back unchanged, such as signed reasoning. Only the
        /// provider's client interprets it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        echo: Option<Value>,
    },
    /// One result for each call of the previous message, in order.
    Tools(Vec<ToolResult>),
    /// From us: what is wrong with the model's answer.
    Correction(String),
}

/// A tool call, as the model requests it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Links the result to the call.
    pub id: String,
    pub name: String,
    /// As the model wrote them. May be invalid JSON.
    pub arguments: String,
}

/// The result of a tool call, as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call.
    pub id: String,
    pub name: String,
    /// The result, or the error.
    pub content: String,
    pub is_error: bool,
}

/// The result of a tool call, as the runner reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// The result, or the error, for the model.
    pub content: String,
    pub outcome: CallOutcome,
    pub took: Duration,
    /// Passages of the agent's sources.
    pub passages: Vec<Passage>,
}

/// The outcome of a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// The call succeeded.
    Ok,
    /// The call failed, or its arguments were not valid. The model may try something else.
    Error,
    /// The call was not made because it needs a person's approval.
    Refused,
    /// The call may have been made. The run was stopped before the result arrived.
    Unknown,
}

/// A tool call of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallRecord {
    /// The name of the tool, as the model sees it.
    pub tool_name: String,
    /// The provider's id of the call.
    pub call_id: String,
    /// The arguments. A string if they are not valid JSON or were truncated.
    pub arguments: Value,
    /// The result. Truncated after 4096 bytes, with a note.
    pub result: String,
    /// The outcome of the call.
    pub status: CallOutcome,
    /// The duration of the call, in milliseconds.
    pub duration_ms: u64,
    /// The number of the call to the model that requested it, from 1.
    pub turn: u32,
}

/// A tool, as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    /// 1 to 64 letters, digits, `_` and `-`.
    pub name: String,
    pub description: String,
    /// The JSON schema of the arguments. Its type is an object.
    pub parameters: Value,
}

/// A reply of a model.
#[derive(Clone, Debug, Default)]
pub struct ModelReply {
    /// The model's name, as returned by the provider.
    pub model: String,
    /// The answer.
    pub text: String,
    /// Reasoning text, which is not a part of the answer.
    pub thought: String,
    pub calls: Vec<ToolCall>,
    /// Data that the provider requires back unchanged.
    pub echo: Option<Value>,
    pub stop: StopReason,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// The result of [`Self::check`].
    pub checked: Option<Result<String, SchemaMismatch>>,
}

impl ModelReply {
    /// Moves reasoning that is part of the text to the thought. Must be called before anything
    /// else looks at the text.
    pub fn separate_thinking(&mut self) {
        let Some(split) = split_thinking(&self.text) else {
            return;
        };
        if !self.thought.is_empty() && !split.thought.is_empty() {
            self.thought.push_str("\n\n");
        }
        self.thought.push_str(&split.thought);
        self.text = split.answer;
    }

    /// Validates the answer against the schema. This may take seconds. If it is not called,
    /// [`Run::model_replied`] validates the answer.
    ///
    /// [`Run::model_replied`]: super::Run::model_replied
    pub fn check(&mut self, schema: &AnswerSchema) {
        self.checked = Some(schema.validate_answer(&self.text).map(Cow::into_owned));
    }
}

/// Why a model stopped writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// The reply is complete.
    #[default]
    Stop,
    /// It reached the limit of output tokens.
    Length,
    /// Its context window is full.
    ContextFull,
    /// The provider's content filter withheld the text.
    Filtered,
    /// The model refused to answer.
    Refused,
    /// The provider aborted the reply, or could not parse the model's output.
    Broken,
    /// The model wrote a tool call as text, and it cannot be parsed.
    BrokenCall,
}

/// The tool calls to make before the model is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTurn {
    /// The number of the call to the model that requested them, from 1.
    pub number: u32,
    pub calls: Vec<ToolCall>,
}

impl ChatTurn {
    /// The idempotency key of the call at this place, from 0. A retry of the run makes the same
    /// calls with the same keys.
    pub fn idempotency_key(&self, task: TaskId, place: usize) -> String {
        format!("{task}:{}:{}", self.number, place + 1)
    }
}

impl CallOutcome {
    /// As stored and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl ChatMessage {
    /// Its contribution to the stored size of a run.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Model { text, calls, echo } => {
                let calls: usize = calls
                    .iter()
                    .map(|call| call.name.len() + call.arguments.len())
                    .sum();
                text.len() + calls + echo.as_ref().map_or(0, |echo| echo.to_string().len())
            }
            Self::Tools(results) => results.iter().map(|result| result.content.len()).sum(),
            Self::Correction(text) => text.len(),
        }
    }
}

impl CallReport {
    /// For a call whose result never arrived.
    pub(super) fn unknown() -> Self {
        Self {
            outcome: CallOutcome::Unknown,
            ..Self::error("")
        }
    }

    /// For a call that was not made.
    pub fn error(content: impl Into<String>) -> Self {
        let content = content.into();
        Self {
            content,
            outcome: CallOutcome::Error,
            took: Duration::ZERO,
            passages: Vec::new(),
        }
    }
}

impl ToolCallRecord {
    pub(super) fn new(call: &ToolCall, called: &CallReport, turn: u32) -> Self {
        Self {
            tool_name: cut(&call.name, 64),
            call_id: cut(&call.id, 128),
            arguments: shown_arguments(&call.arguments),
            result: cut(&called.content, SHOWN_BYTES),
            status: called.outcome,
            duration_ms: u64::try_from(called.took.as_millis()).unwrap_or(u64::MAX),
            turn,
        }
    }
}

impl ToolCallRecord {
    /// The bytes of arguments and result, and the number of JSON values in the arguments.
    pub(super) fn size(&self) -> (usize, usize) {
        let arguments = self.arguments.to_string();
        (
            arguments.len() + self.result.len(),
            count_json_values(arguments.as_bytes()),
        )
    }

    /// Removes arguments and result.
    pub(super) fn leave_out(&mut self) {
        self.arguments = Value::Null;
        "[left out: the tool calls of this run are too long]".clone_into(&mut self.result);
    }
}

fn shown_arguments(arguments: &str) -> Value {
    let json = (arguments.len() <= SHOWN_BYTES)
        .then(|| serde_json::from_str(arguments).ok())
        .flatten();
    json.unwrap_or_else(|| Value::String(cut(arguments, SHOWN_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_returned_as_json_if_they_are_valid() {
        assert_eq!(
            shown_arguments(r#"{"id":7}"#),
            serde_json::json!({ "id": 7 })
        );
        assert_eq!(shown_arguments("{"), "{");
        let long = format!("\"{}\"", "x".repeat(SHOWN_BYTES));
        assert!(
            shown_arguments(&long)
                .as_str()
                .is_some_and(|text| text.ends_with("[cut, 4098 bytes in all]"))
        );
    }
}
