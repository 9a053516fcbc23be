//! The body of a request.

use super::style::{encoded_pairs, scalar_text};
use super::{ArgumentError, Operation};
use crate::ExactValue;

/// The body of a request, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    pub content_type: String,
    pub text: String,
}

/// The formats that a body can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyFormat {
    #[default]
    Json,
    Form,
    Text,
}

impl BodyFormat {
    /// The format of a media type. `None` if it is not supported.
    pub(super) fn of(content_type: Option<&str>) -> Option<Self> {
        let kind = content_type.unwrap_or("application/json").split(';').next();
        let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => Some(Self::Json),
            kind if kind.ends_with("+json") && kind.contains('/') => Some(Self::Json),
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "text/plain" => Some(Self::Text),
            _ => None,
        }
    }

    /// A body that is one argument.
    pub(super) fn whole(self, name: &str, value: ExactValue) -> Result<String, ArgumentError> {
        match (self, value) {
            (Self::Form, ExactValue::Object(fields)) => {
                let pairs = fields
                    .iter()
                    .map(|(field, value)| encoded_pairs(name, field, value, None));
                Ok(pairs.collect::<Result<Vec<_>, _>>()?.concat().join("&"))
            }
            (Self::Form, _) => Err(ArgumentError::Form(name.to_owned())),
            (Self::Text, value) => Ok(scalar_text(&value).unwrap_or_else(|| value.to_json())),
            (Self::Json, value) => Ok(value.to_json()),
        }
    }

    /// A body of which each field is an argument.
    pub(super) fn fields(
        self,
        operation: &Operation,
        fields: Vec<(String, ExactValue)>,
    ) -> Result<String, ArgumentError> {
        let wire_name = |name: &String| operation.wire_names.get(name).unwrap_or(name).clone();
        if self != Self::Form {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (wire_name(&name), value));
            return Ok(ExactValue::Object(fields.collect()).to_json());
        }
        let pairs = fields.iter().map(|(name, value)| {
            encoded_pairs(name, &wire_name(name), value, operation.styles.get(name))
        });
        Ok(pairs.collect::<Result<Vec<_>, _>>()?.concat().join("&"))
    }
}
