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
    /// The arguments as JSON, in which numbers have all their digits.
    pub(super) text: String,
}

/// Why a call failed, as a text for the model, which may try something else.
#[derive(Debug)]
pub(super) struct CallError(pub(super) String);

impl Arguments {
    pub(super) async fn parse(text: &str) -> Result<Self, CallError> {
        let bytes = text.len();
        let text = match text.trim() {
            "" => "{}".to_owned(),
            text => text.to_owned(),
        };
        let parse = move || parse_arguments(&text).map(|fields| Self { fields, text });
        let parsed = RunMemory::current().off_workers(bytes, parse).await;
        parsed.map_err(|error| not_parsed(&error))?
    }
}

/// Parses the arguments as an object.
fn parse_arguments(text: &str) -> Result<Map<String, Value>, CallError> {
    parse_foreign_json(text, MAX_JSON_VALUES).map_err(not_an_object)
}

pub(super) fn not_an_object(error: ForeignJsonError) -> CallError {
    CallError(match error {
        ForeignJsonError::TooManyValues(most) => {
            format!("The arguments have more than {most} JSON values.")
        }
        ForeignJsonError::Invalid(error) => {
            format!("The arguments are not a JSON object: {error}.")
        }
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
