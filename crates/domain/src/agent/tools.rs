//! What an agent may use.

mod arguments;
mod check;
mod error;
mod http;
mod mcp;
mod openapi;
mod request;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use arguments::{ArgumentError, CheckedOperation};
pub use check::SEARCH_SOURCES;
pub(super) use check::{check_shape, check_tools};
pub use error::ToolError;
pub(super) use http::expand;
pub use http::{HeaderSource, HttpMethod, HttpTool, Operation, StoredHeader};
pub use mcp::{McpNames, McpTool};
pub use openapi::{Imported, OpenApiError, Unfit, import};
pub use request::ToolRequest;

/// A tool, or a set of them, as its owner describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tool {
    /// Search of the agent's own documents.
    SearchSources {},
    /// Operations of an HTTP API.
    Http(HttpTool),
    /// Tools of an MCP server.
    Mcp(McpTool),
}
