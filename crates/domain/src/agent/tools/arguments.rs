//! The arguments of a call, checked before it is made.

use jsonschema::ValidationError;
use serde_json::{Map, Value, json};

use super::Operation;
use super::request::ToolRequest;
use crate::schema::{BoundedValidator, bounded_validator};

/// What is wrong with a call's arguments, in words for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// They do not fit the schema.
    #[error("The arguments do not fit the schema of `{tool}`: {why}.")]
    Schema {
        /// Which tool.
        tool: String,
        /// What does not fit, and where.
        why: String,
    },
    /// The argument cannot be a part of a path.
    #[error(
        "`{0}` is a part of the path: it must be a text or a number, not empty, without `\\` and without `.` or `..` as a part in any encoding."
    )]
    Path(String),
    /// The argument cannot be a header.
    #[error("`{0}` is sent as a header: it must be a text of printable ASCII characters, or a number.")]
    Header(String),
    /// The URL cannot be made.
    #[error("These arguments make no URL of `{0}`.")]
    Url(String),
}

/// An operation with the validator of its arguments. Building that takes longer than
/// checking most arguments.
#[derive(Debug)]
pub struct CheckedOperation {
    operation: Operation,
    validator: BoundedValidator,
}

impl Operation {
    /// The schema of the arguments as the model is told and held to it. What it
    /// does not name is not sent, unless it says that there may be more.
    pub fn schema(&self) -> Value {
        let mut schema = self.parameters.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.entry("type").or_insert_with(|| json!("object"));
            fields.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        schema
    }

    /// Builds the validator of its arguments.
    pub fn checked(&self) -> Result<CheckedOperation, ArgumentError> {
        let validator = bounded_validator(&self.schema())
            .map_err(|error| ArgumentError::Schema { tool: self.name.clone(), why: error.to_string() })?;
        Ok(CheckedOperation { operation: self.clone(), validator })
    }
}

impl CheckedOperation {
    /// How many bytes of JSON take about as long to parse as a request with arguments of so
    /// many bytes takes to be made, at most.
    pub const fn cost(&self, bytes: usize) -> usize {
        self.validator.cost(bytes)
    }

    /// The request of a call with these arguments, which are checked.
    pub fn request(
        &self,
        base_url: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolRequest, ArgumentError> {
        let wrong = |error: ValidationError<'_>| ArgumentError::Schema {
            tool: self.operation.name.clone(),
            why: told(&error),
        };
        self.validator.validate(&Value::Object(arguments.clone())).map_err(wrong)?;
        self.operation.request(base_url, arguments)
    }
}

/// What does not fit and where, cut as it quotes the arguments.
fn told(error: &ValidationError<'_>) -> String {
    let why = crate::cut(&error.to_string(), 500);
    match error.instance_path().as_str() {
        "" => why,
        place => format!("{why} at {place}"),
    }
}
