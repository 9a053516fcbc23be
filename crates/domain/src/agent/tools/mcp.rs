//! The tools of an MCP server (<https://modelcontextprotocol.io>), reached over
//! streamable HTTP.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::http::{max_response_bytes, timeout_seconds};
use super::{HeaderSource, SEARCH_SOURCES, Tool};

/// An MCP server and the tools that the agent may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct McpTool {
    /// The name of the server. The model sees it as a prefix where two servers have a tool
    /// with the same name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// The URL of the MCP endpoint.
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub url: String,
    /// Headers sent with every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderSource>,
    /// The time limit of one call, in seconds. 1 to 300.
    #[serde(default = "timeout_seconds")]
    #[schema(minimum = 1, maximum = 300, default = timeout_seconds)]
    pub timeout_seconds: u64,
    /// The number of bytes of a result that the model sees. The rest is cut off. 1 to 1,048,576.
    #[serde(default = "max_response_bytes")]
    #[schema(minimum = 1, maximum = 1_048_576, default = max_response_bytes)]
    pub max_response_bytes: usize,
    /// The tools that the model sees, by the server's names.
    #[schema(min_items = 1)]
    pub allow: Vec<String>,
    /// The allowed tools that need a person's approval. A webhook run never calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<String>,
}

/// The names of MCP tools as the model sees them: the server's names, in the characters that
/// models accept. Where two tools would have the same name, the server's name is prepended.
#[derive(Debug)]
pub struct McpNames(HashMap<String, usize>);

impl McpTool {
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Whether a person must approve a call.
    pub fn needs_approval(&self, tool: &str) -> bool {
        self.approval.iter().any(|name| name == tool)
    }
}

impl McpNames {
    pub fn new(tools: &[Tool]) -> Self {
        let mut counts = HashMap::new();
        for tool in tools {
            let names: Vec<String> = match tool {
                Tool::SearchSources {} => vec![SEARCH_SOURCES.to_owned()],
                Tool::Http(tool) => tool.operations.iter().map(|operation| operation.name.clone()).collect(),
                Tool::Mcp(tool) => tool.allow.iter().map(|name| plain(name)).collect(),
            };
            for name in names {
                *counts.entry(name).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// The name of this server's tool as the model sees it.
    pub fn exposed_name(&self, server: &McpTool, tool: &str) -> String {
        let name = plain(tool);
        match self.0.get(&name) {
            Some(2..) => plain(&format!("{}_{tool}", server.name)),
            _ => name,
        }
    }
}

/// Replaces characters that models do not accept, and cuts the name to 64 characters.
fn plain(name: &str) -> String {
    let character =
        |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    name.chars().take(64).map(character).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tool_names_are_unchanged_unless_two_are_equal_or_a_character_is_not_allowed() {
        let server = |name: &str, allow: &[&str]| json!({ "type": "mcp", "name": name, "url": "https://mcp.example/mcp", "allow": allow });
        let tools = json!([
            { "type": "search_sources" },
            server("shop", &["get", "orders.list", "search_sources"]),
            server("wiki", &["get", "page/read"]),
        ]);
        let tools: Vec<Tool> = serde_json::from_value(tools).unwrap();
        let names = McpNames::new(&tools);
        let named: Vec<String> = tools
            .iter()
            .filter_map(|tool| match tool {
                Tool::Mcp(server) => Some(server.allow.iter().map(|tool| names.exposed_name(server, tool))),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(named, ["shop_get", "orders_list", "shop_search_sources", "wiki_get", "page_read"]);
    }
}
