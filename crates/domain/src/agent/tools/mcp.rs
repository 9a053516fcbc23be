//! The tools of an MCP server (<https://modelcontextprotocol.io>), reached over
//! streamable HTTP.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::http::{max_response_bytes, timeout_seconds};
use super::{HeaderSource, SEARCH_SOURCES, Tool};

/// A server, and which of its tools the agent may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct McpTool {
    /// Names the server, for its owner; and for the model, where two servers have
    /// tools of one name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// Its endpoint.
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub url: String,
    /// Sent with every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderSource>,
    /// What one call may take. 1 to 300.
    #[serde(default = "timeout_seconds")]
    #[schema(minimum = 1, maximum = 300, default = timeout_seconds)]
    pub timeout_seconds: u64,
    /// Most bytes of a result that the model is told; the rest is cut off. 1 to 1,048,576.
    #[serde(default = "max_response_bytes")]
    #[schema(minimum = 1, maximum = 1_048_576, default = max_response_bytes)]
    pub max_response_bytes: usize,
    /// The tools that the model is told of, as the server names them.
    #[schema(min_items = 1)]
    pub allow: Vec<String>,
    /// Those of them that need a person's approval, and so are never called by a webhook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<String>,
}

/// What the model calls the tools of MCP servers: as they do, as far as a model
/// may, and with the server's name before it where that would name two.
#[derive(Debug)]
pub struct McpNames(HashMap<String, usize>);

impl McpTool {
    /// What one call may take.
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Whether a person must approve of a call.
    pub fn needs_approval(&self, tool: &str) -> bool {
        self.approval.iter().any(|name| name == tool)
    }
}

impl McpNames {
    /// Of an agent with these tools.
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

    /// What the model calls this tool of this server.
    pub fn of(&self, server: &McpTool, tool: &str) -> String {
        let name = plain(tool);
        match self.0.get(&name) {
            Some(2..) => plain(&format!("{}_{tool}", server.name)),
            _ => name,
        }
    }
}

/// In the characters and the length that models take.
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
    fn tools_keep_their_names_unless_two_have_the_same_or_a_model_could_not_say_it() {
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
                Tool::Mcp(server) => Some(server.allow.iter().map(|tool| names.of(server, tool))),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(named, ["shop_get", "orders_list", "shop_search_sources", "wiki_get", "page_read"]);
    }
}
