//! Checks the arguments of a tool call before the call is made.

use jsonschema::ValidationError;
use serde_json::{Map, Value, json};

use super::Operation;
use super::request::ToolRequest;
use crate::schema::{BoundedValidator, bounded_validator};

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
    #[error("`{0}` is sent as a header: it must be a string of printable ASCII characters, or a number.")]
    Header(String),
    #[error("The URL of `{0}` is not valid with these arguments.")]
    Url(String),
}

/// An operation with the validator of its arguments. Building the validator takes longer
/// than checking most arguments.
#[derive(Debug)]
pub struct CheckedOperation {
    operation: Operation,
    validator: BoundedValidator,
}

impl Operation {
    /// The schema of the arguments, as sent to the model and as validated. Arguments that it
    /// does not name are refused unless it sets `additionalProperties`.
    pub fn schema(&self) -> Value {
        let mut schema = self.parameters.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.entry("type").or_insert_with(|| json!("object"));
            fields.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        schema
    }

    /// Builds the validator of the arguments.
    pub fn checked(&self) -> Result<CheckedOperation, ArgumentError> {
        let validator = bounded_validator(&self.schema())
            .map_err(|error| ArgumentError::Schema { tool: self.name.clone(), why: error.to_string() })?;
        Ok(CheckedOperation { operation: self.clone(), validator })
    }
}

impl CheckedOperation {
    /// An upper bound for the time to build a request with arguments of this many bytes,
    /// measured as the number of bytes of JSON that take as long to parse.
    pub const fn cost(&self, bytes: usize) -> usize {
        self.validator.cost(bytes)
    }

    /// Validates the arguments and builds the request.
    pub fn request(
        &self,
        base_url: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolRequest, ArgumentError> {
        let wrong = |error: ValidationError<'_>| ArgumentError::Schema {
            tool: self.operation.name.clone(),
            why: describe_mismatch(&error),
        };
        self.validator.validate(&Value::Object(arguments.clone())).map_err(wrong)?;
        self.operation.request(base_url, arguments)
    }
}

/// The mismatch and its location. Truncated, because it quotes the arguments.
fn describe_mismatch(error: &ValidationError<'_>) -> String {
    let why = crate::cut(&error.to_string(), 500);
    match error.instance_path().as_str() {
        "" => why,
        place => format!("{why} at {place}"),
    }
}
