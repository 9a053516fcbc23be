//! The tools of an agent. Each kind of tool has a module with its fields, checks and errors. This
//! file has all that depends on the kind.

mod check;
mod headers;
mod http;
mod limits;
mod mcp;
mod names;
mod oauth;
mod search;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use check::{check_shape, check_tools};
pub use headers::{HeaderSource, StoredHeader};
pub use http::{
    ArgumentError, ArgumentStyle, CheckedOperation, DocumentError, HttpMethod, HttpTool,
    HttpToolError, ImportSource, ImportedApi, LeftOut, ListedApi, ListedOperation, OpenApiError,
    Operation, OperationError, RequestBody, StyleName, ToolRequest, import_openapi, list_openapi,
    parse_api_document,
};
pub use mcp::{McpTool, McpToolError};
pub use names::ExposedNames;
use names::ToolNames;
pub use oauth::{ClientAssertion, OAuth, OAuthConfigError, OAuthGrant, SigningAlgorithm, is_scope};
pub use search::SEARCH_SOURCES;

/// The fields that are lists of objects, and their names in errors.
const OBJECT_LISTS: [(&str, &str); 1] = [("operations", "Each of `operations`")];
/// The fields that are objects, and their names in errors.
const OBJECTS: [(&str, &str); 3] = [
    ("/oauth", "`oauth` of a tool"),
    (
        "/oauth/client_secret",
        "`client_secret` of `oauth` of a tool",
    ),
    (
        "/oauth/client_assertion",
        "`client_assertion` of `oauth` of a tool",
    ),
];
/// The fields with the address of a tool's server. The audit log shows their changes.
pub(crate) const ADDRESS_FIELDS: [&str; 3] = ["base_url", "token_url", "url"];

/// A tool, or a set of tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tool {
    /// Searches the agent's sources and documents.
    SearchSources {},
    /// The operations of an HTTP API.
    Http(HttpTool),
    /// The tools of an MCP server.
    Mcp(McpTool),
}

/// Why an agent's tools are not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("`tools`: the name `{0}` must have 1 to 64 letters, digits, `_` or `-`")]
    Name(String),
    #[error("`tools`: the name `{0}` is given twice; names must be unique")]
    Twice(String),
    #[error("`tools` contain more than 128 tools; allow fewer operations")]
    TooMany,
    #[error(
        "`tools` contain more than 65536 bytes of JSON; allow fewer operations, or shorten them"
    )]
    TooLarge,
    #[error("The tool `{0}` has no operations, or its `allow` is empty")]
    Empty(String),
    #[error("`{field}` of the tool `{tool}` must be from 1 to {max}")]
    Limit {
        tool: String,
        field: &'static str,
        max: u64,
    },
    #[error("The tool `{0}` has more than 32 headers")]
    TooManyHeaders(String),
    /// The header's name or value cannot be sent, or the HTTP client sets this header.
    #[error(
        "The header `{header}` of the tool `{tool}` must be a header that a client may set, with printable ASCII characters"
    )]
    Header { tool: String, header: String },
    #[error(
        "The header `{header}` of the tool `{tool}` contains a credential, which is not stored in clear text; store it with `agent-webhooks secret set NAME` and write {{\"secret\": \"NAME\"}}, if needed with \"prefix\": \"Bearer \""
    )]
    Credential { tool: String, header: String },
    /// The name of a secret is malformed or reserved.
    #[error(
        "The secret `{secret}` of the tool `{tool}` must be a name of letters, digits and - _ . /, and must not start with `agents/`, which is reserved"
    )]
    Secret { tool: String, secret: String },
    #[error(transparent)]
    OAuth(#[from] OAuthConfigError),
    #[error(transparent)]
    Http(#[from] HttpToolError),
    #[error(transparent)]
    Mcp(#[from] McpToolError),
}

impl Tool {
    /// The headers of all calls to its server, if it has one.
    pub const fn headers(&self) -> Option<&BTreeMap<String, HeaderSource>> {
        match self {
            Self::SearchSources {} => None,
            Self::Http(tool) => Some(&tool.headers),
            Self::Mcp(tool) => Some(&tool.headers),
        }
    }

    /// How to get access tokens for its server.
    pub const fn oauth(&self) -> Option<&OAuth> {
        match self {
            Self::SearchSources {} => None,
            Self::Http(tool) => tool.oauth.as_ref(),
            Self::Mcp(tool) => tool.oauth.as_ref(),
        }
    }

    /// The URL of a server that can name its own token endpoint, and that its tokens are for.
    pub fn oauth_resource(&self) -> Option<&str> {
        match self {
            Self::SearchSources {} | Self::Http(_) => None,
            Self::Mcp(tool) => Some(&tool.url),
        }
    }

    /// Keeps one operation, or one tool of an MCP server. Returns `false` if it has none of this
    /// name.
    pub fn keep_only(&mut self, operation: &str) -> bool {
        match self {
            Self::SearchSources {} => false,
            Self::Http(tool) => {
                tool.operations.retain(|other| other.name == operation);
                !tool.operations.is_empty()
            }
            Self::Mcp(tool) => {
                tool.allow.retain(|name| name == operation);
                tool.approval.retain(|name| name == operation);
                !tool.allow.is_empty()
            }
        }
    }

    /// Completes the definition when the agent is saved.
    fn expand(&mut self) -> Result<(), ToolError> {
        match self {
            Self::Http(tool) => tool.expand(),
            Self::SearchSources {} | Self::Mcp(_) => Ok(()),
        }
    }

    /// Checks the tool, and adds its names. `exposed` are the names of all tools of the agent.
    fn check(&self, exposed: &ExposedNames, names: &mut ToolNames) -> Result<(), ToolError> {
        match self {
            Self::SearchSources {} => names.add(SEARCH_SOURCES),
            Self::Http(tool) => tool.check(names),
            Self::Mcp(tool) => tool.check(exposed, names),
        }
    }

    /// The names that the model sees if no other tool has them.
    fn preferred_names(&self) -> Vec<String> {
        match self {
            Self::SearchSources {} => vec![SEARCH_SOURCES.to_owned()],
            Self::Http(tool) => tool.operation_names(),
            Self::Mcp(tool) => tool.preferred_names(),
        }
    }
}

/// Completes tools when their agent is saved.
pub(super) fn expand(tools: &mut [Tool]) -> Result<(), ToolError> {
    tools.iter_mut().try_for_each(Tool::expand)
}
