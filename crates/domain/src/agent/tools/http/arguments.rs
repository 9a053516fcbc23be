//! Checks the arguments of a tool call before the call is made.

use jsonschema::ValidationError;
use serde_json::{Value, json};

use super::Operation;

/// Why the arguments of a call are not valid. The texts are for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    #[error("The arguments do not match the schema of `{tool}`: {why}.")]
    Schema {
        tool: String,
        /// The mismatch and its location.
        why: String,
    },
    #[error(
        "`{0}` is a part of the path: it must be a non-empty string or a number, without `\\` and without `.` or `..` as a path segment in any encoding."
    )]
    Path(String),
    #[error(
        "`{0}` is sent as a header: it must be a string of printable ASCII characters, or a number."
    )]
    Header(String),
    #[error("A value of `{0}` contains `{1}`, which separates the values in the request.")]
    Separator(String, char),
    #[error("`{0}` is sent as a form: it must be an object.")]
    Form(String),
    #[error("The URL of `{0}` is not valid with these arguments.")]
    Url(String),
}

impl Operation {
    /// The schema of the arguments, as sent to the model and as validated. Arguments that it
    /// does not name are refused unless it sets `additionalProperties`.
    pub fn schema(&self) -> Value {
        let mut schema = self.parameters.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.entry("type").or_insert_with(|| json!("object"));
            fields
                .entry("additionalProperties")
                .or_insert(Value::Bool(false));
        }
        schema
    }
}

/// The mismatch and its location. Truncated, because it quotes the arguments.
pub(super) fn describe_mismatch(error: &ValidationError<'_>) -> String {
    let why = crate::cut(&error.to_string(), 500);
    match error.instance_path().as_str() {
        "" => why,
        place => format!("{why} at {place}"),
    }
}
