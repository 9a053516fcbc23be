//! What not every model server accepts.

use std::collections::BTreeSet;

/// A part of a request that some model servers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
}

/// Parts that a server has refused. A request without them has a good chance.
pub type RefusedParts = BTreeSet<RequestPart>;

impl RequestPart {
    /// As in requests and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::Schema => "schema",
            Self::SchemaWithTools => "schema_with_tools",
            Self::SystemMessage => "system_message",
            Self::Tools => "tools",
        }
    }
}
