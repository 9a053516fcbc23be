//! What not every model server accepts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of a request that some model servers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestPart {
    /// The limit of the answer under the name `max_tokens`.
    MaxTokens,
    /// The same under the name `max_completion_tokens`.
    MaxCompletionTokens,
    /// A schema that the server enforces.
    Schema,
    /// Such a schema beside tools.
    SchemaWithTools,
    /// A system message.
    SystemMessage,
    /// Tools.
    Tools,
    /// A message with tool calls and without a text.
    EmptyContent,
}

/// Parts that a server has refused. A request without them has a good chance.
pub type RefusedParts = BTreeSet<RequestPart>;

impl RequestPart {
    pub const ALL: [Self; 7] = [
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::Schema,
        Self::SchemaWithTools,
        Self::SystemMessage,
        Self::Tools,
        Self::EmptyContent,
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == name)
    }

    /// As in records and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::Schema => "schema",
            Self::SchemaWithTools => "schema_with_tools",
            Self::SystemMessage => "system_message",
            Self::Tools => "tools",
            Self::EmptyContent => "empty_content",
        }
    }
}
