//! The tools of an agent.

mod arguments;
mod check;
mod error;
mod expand;
mod http;
mod mcp;
mod openapi;
mod request;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use arguments::ArgumentError;
pub(super) use check::{check_shape, check_tools};
pub use error::ToolError;
pub(super) use expand::expand;
pub use http::{HeaderSource, HttpMethod, HttpTool, Operation, StoredHeader};
pub use mcp::{McpNames, McpTool};
pub use openapi::{ImportedApi, OpenApiError, OperationError, import_openapi};
pub use request::{CheckedOperation, ToolRequest};

/// The tool that searches the agent's sources.
pub const SEARCH_SOURCES: &str = "search_sources";

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
