//! What is said in a run, in no provider's words.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AnswerSchema, Misfit, Passage, TaskId, count_json_values};

/// Most bytes of a call's arguments and of its result that a task's result shows.
const SHOWN_BYTES: usize = 4 * 1024;

/// Something said after the prompt and the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// By the model.
    Model {
        /// What it wrote.
        text: String,
        /// The tools it wants called.
        calls: Vec<ToolCall>,
        /// What its server wants to be handed back unchanged, such as signed
        /// reasoning; only that provider's client knows what it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        echo: Option<Value>,
    },
    /// By the tools, one result for each call of the message before, in order.
    Tools(Vec<ToolResult>),
    /// By us: what is wrong with the model's answer.
    Correction(String),
}

/// A call of a tool, as the model wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Ties the result to the call.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// JSON as the model wrote it, which may be none.
    pub arguments: String,
}

/// What a call of a tool led to, as the model is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call's.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// The result, or what went wrong.
    pub content: String,
    /// Whether something did.
    pub is_error: bool,
}

/// How a call of a tool went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The result, or what went wrong, in words for the model.
    pub content: String,
    /// What to think of it.
    pub outcome: CallOutcome,
    /// How long it took.
    pub took: Duration,
    /// What it found in the agent's sources.
    pub passages: Vec<Passage>,
}

/// What to think of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It did what it should.
    Ok,
    /// It failed, or its arguments are wrong; the model may try something else.
    Error,
    /// It must not be called here: it needs a person's approval.
    Refused,
    /// It may have been made: the run was stopped before its result came.
    Unknown,
}

/// A call as a task's result shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallRecord {
    /// As the model was told it.
    pub tool_name: String,
    /// The model server's name for the call.
    pub call_id: String,
    /// The arguments; as text if they are no JSON or were cut.
    pub arguments: Value,
    /// The result, cut at 4096 bytes with a mark.
    pub result: String,
    /// How it went.
    pub status: CallOutcome,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Which call to the model asked for it, from 1.
    pub turn: u32,
}

/// A tool as a model is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSpec {
    /// 1 to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

/// One reply of a model.
#[derive(Clone, Debug, Default)]
pub struct ModelReply {
    /// The model's name as its server gives it.
    pub model: String,
    /// The text for the caller.
    pub text: String,
    /// Reasoning text, kept apart from the answer.
    pub thought: String,
    /// The tools it wants called.
    pub calls: Vec<ToolCall>,
    /// What its server wants to be handed back unchanged.
    pub echo: Option<Value>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What [`Self::check`] found.
    pub checked: Option<Result<String, Misfit>>,
}

impl ModelReply {
    /// Holds the text against the schema. [`Run::model_replied`] does it otherwise, which
    /// may take seconds.
    ///
    /// [`Run::model_replied`]: super::Run::model_replied
    pub fn check(&mut self, schema: &AnswerSchema) {
        self.checked = Some(schema.read(&self.text).map(str::to_owned));
    }
}

/// Why a model stopped writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// It was done, or wants tools called.
    #[default]
    Stop,
    /// It hit the limit on output tokens.
    Length,
    /// No more text fits its context window.
    ContextFull,
    /// Its server withheld the text.
    Filtered,
    /// It would not answer.
    Refused,
    /// Its server broke off, or could make nothing of what it wrote.
    Broken,
}

/// Calls to make before the model is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which call to the model asked for them, from 1.
    pub number: u32,
    /// The calls, in order.
    pub calls: Vec<ToolCall>,
}

impl Turn {
    /// Under which key the call at this place, from 0, is made: the same for a
    /// re-run, whose calls are the same.
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

impl Message {
    /// How much it adds to what is kept of a run.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Model { text, calls, echo } => {
                let calls: usize = calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
                text.len() + calls + echo.as_ref().map_or(0, |echo| echo.to_string().len())
            }
            Self::Tools(results) => results.iter().map(|result| result.content.len()).sum(),
            Self::Correction(text) => text.len(),
        }
    }
}

impl Called {
    /// Of a call whose result never came.
    pub(super) fn unknown() -> Self {
        Self { outcome: CallOutcome::Unknown, ..Self::error("") }
    }

    /// Of a call that something went wrong with before it was made.
    pub fn error(content: impl Into<String>) -> Self {
        let content = content.into();
        Self { content, outcome: CallOutcome::Error, took: Duration::ZERO, passages: Vec::new() }
    }
}

impl ToolCallRecord {
    pub(super) fn new(call: &ToolCall, called: &Called, turn: u32) -> Self {
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
    /// The bytes of what is shown, and the values in its arguments.
    pub(super) fn size(&self) -> (usize, usize) {
        let arguments = self.arguments.to_string();
        (arguments.len() + self.result.len(), count_json_values(arguments.as_bytes()))
    }

    /// Shows neither.
    pub(super) fn leave_out(&mut self) {
        self.arguments = Value::Null;
        "[left out: the calls of this run are too long to be shown]".clone_into(&mut self.result);
    }
}

fn shown_arguments(arguments: &str) -> Value {
    let json = (arguments.len() <= SHOWN_BYTES).then(|| serde_json::from_str(arguments).ok()).flatten();
    json.unwrap_or_else(|| Value::String(cut(arguments, SHOWN_BYTES)))
}

/// The text, or its beginning with a mark that says how long it was.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}… [cut, {} bytes in all]", &text[..text.floor_char_boundary(most)], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aäb", 2), "a… [cut, 4 bytes in all]");
    }

    #[test]
    fn arguments_are_shown_as_json_if_they_are_some() {
        assert_eq!(shown_arguments(r#"{"id":7}"#), serde_json::json!({ "id": 7 }));
        assert_eq!(shown_arguments("{"), "{");
        let long = format!("\"{}\"", "x".repeat(SHOWN_BYTES));
        assert!(
            shown_arguments(&long).as_str().is_some_and(|text| text.ends_with("[cut, 4098 bytes in all]"))
        );
    }
}
