//! What all kinds of tools share: arguments, results, errors and descriptions.

use domain::{ForeignJsonError, MAX_JSON_VALUES, Passage, parse_foreign_json};
use serde_json::{Map, Value};
use tokio::task::JoinError;

use crate::memory::RunMemory;

/// The result of a successful tool call.
#[derive(Debug, Default)]
pub(super) struct ToolOutput {
    pub(super) content: String,
    pub(super) passages: Vec<Passage>,
}

/// The arguments of a call.
pub(super) struct Arguments {
    pub(super) fields: Map<String, Value>,
    /// The length as JSON.
    pub(super) bytes: usize,
}

/// Why a call failed, as a text for the model, which may try something else.
#[derive(Debug)]
pub(super) struct CallError(pub(super) String);

impl Arguments {
    pub(super) async fn parse(text: &str) -> Result<Self, CallError> {
        let (text, bytes) = (text.to_owned(), text.len());
        let parsed = RunMemory::current()
            .off_workers(bytes, move || parse_arguments(&text))
            .await;
        Ok(Self {
            fields: parsed.map_err(|error| not_parsed(&error))??,
            bytes,
        })
    }
}

/// Parses the arguments as an object. An empty text is an empty object.
fn parse_arguments(text: &str) -> Result<Map<String, Value>, CallError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    parse_foreign_json(text, MAX_JSON_VALUES).map_err(|error| {
        CallError(match error {
            ForeignJsonError::TooManyValues(most) => {
                format!("The arguments have more than {most} JSON values.")
            }
            ForeignJsonError::Invalid(error) => {
                format!("The arguments are not a JSON object: {error}.")
            }
        })
    })
}

/// An error in our own code.
pub(super) fn not_scrubbed(error: &JoinError) -> CallError {
    tracing::error!(%error, "tool result not searched for secrets");
    CallError("The result could not be searched for secrets.".to_owned())
}

/// An error in our own code.
pub(super) fn not_parsed(error: &JoinError) -> CallError {
    tracing::error!(%error, "tool arguments not parsed");
    CallError("The arguments could not be parsed.".to_owned())
}

/// The description of a tool for the model.
pub(super) fn describe_tool(description: &str, needs_approval: bool) -> String {
    match needs_approval {
        true => format!(
            "{description} (Needs a person's approval, which a webhook cannot ask for: do not call it.)"
        ),
        false => description.to_owned(),
    }
}
