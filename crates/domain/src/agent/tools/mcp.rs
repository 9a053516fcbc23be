//! The tools of an MCP server (<https://modelcontextprotocol.io>), reached over
//! streamable HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::plain_url;
use super::headers::check_headers;
use super::limits::{check_limits, max_response_bytes, timeout_seconds};
use super::names::{ExposedNames, ToolNames, plain};
use super::oauth::{TokenEndpointDiscovery, check_oauth};
use super::{HeaderSource, OAuth, ToolError};
use crate::agent::credential::credential_in_url;

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
    /// How to get the access tokens that are sent with every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
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

/// Why an MCP server is not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum McpToolError {
    #[error(
        "`url` of the tool `{0}` must be an absolute http or https URL without credentials (also in its query) or fragment, of at most 2048 characters"
    )]
    Url(String),
    #[error(
        "`url` of the tool `{tool}` must not contain credentials such as `{parameter}`; send the credential as a header with {{\"secret\": \"NAME\"}}"
    )]
    UrlCredential { tool: String, parameter: String },
    #[error("`approval` of the tool `{tool}` contains `{name}`, which is not in its `allow`")]
    Approval { tool: String, name: String },
}

impl McpTool {
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Whether a person must approve a call.
    pub fn needs_approval(&self, tool: &str) -> bool {
        self.approval.iter().any(|name| name == tool)
    }

    /// Checks the server, and adds its name and those of its tools. `exposed` are the names of
    /// all tools of the agent.
    pub(super) fn check(
        &self,
        exposed: &ExposedNames,
        names: &mut ToolNames,
    ) -> Result<(), ToolError> {
        names.add_set(&self.name)?;
        if self.allow.is_empty() {
            return Err(ToolError::Empty(self.name.clone()));
        }
        if let Some(name) = self
            .allow
            .iter()
            .find(|name| name.is_empty() || name.len() > 128)
        {
            return Err(ToolError::Name(crate::cut(name, 64)));
        }
        if let Some(name) = self.approval.iter().find(|name| !self.allow.contains(name)) {
            let (tool, name) = (self.name.clone(), crate::cut(name, 64));
            return Err(McpToolError::Approval { tool, name }.into());
        }
        self.check_url()?;
        check_limits(&self.name, self.timeout_seconds, self.max_response_bytes)?;
        check_headers(&self.name, &self.headers)?;
        let discovery = TokenEndpointDiscovery::Supported;
        check_oauth(&self.name, self.oauth.as_ref(), &self.headers, discovery)?;
        self.allow
            .iter()
            .try_for_each(|allowed| names.add(&exposed.exposed_name(&self.name, allowed)))
    }

    /// The query of an endpoint may have parameters except credentials.
    fn check_url(&self) -> Result<(), McpToolError> {
        let name = || self.name.clone();
        let url = plain_url(&self.url).ok_or_else(|| McpToolError::Url(name()))?;
        let credential = credential_in_url(&url);
        credential.map_or(Ok(()), |parameter| {
            Err(McpToolError::UrlCredential {
                tool: name(),
                parameter,
            })
        })
    }

    /// The names of its tools if no other tool has them.
    pub(super) fn preferred_names(&self) -> Vec<String> {
        self.allow.iter().map(|name| plain(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::tools::{Tool, check_tools};

    #[test]
    fn tool_names_are_unchanged_unless_two_are_equal_or_a_character_is_not_allowed() {
        let server = |name: &str, allow: &[&str]| json!({ "type": "mcp", "name": name, "url": "https://mcp.example/mcp", "allow": allow });
        let tools = json!([
            { "type": "search_sources" },
            server("shop", &["get", "orders.list", "search_sources"]),
            server("wiki", &["get", "page/read"]),
        ]);
        let tools: Vec<Tool> = serde_json::from_value(tools).unwrap();
        let names = ExposedNames::new(&tools);
        let named: Vec<String> = tools
            .iter()
            .filter_map(|tool| match tool {
                Tool::Mcp(server) => Some(
                    server
                        .allow
                        .iter()
                        .map(|tool| names.exposed_name(&server.name, tool)),
                ),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(
            named,
            [
                "shop_get",
                "orders_list",
                "shop_search_sources",
                "wiki_get",
                "page_read"
            ]
        );
    }

    fn check(tools: serde_json::Value) -> Result<(), String> {
        let tools: Vec<Tool> = serde_json::from_value(tools).map_err(|error| error.to_string())?;
        check_tools(&tools).map_err(|error| error.to_string())
    }

    #[test]
    fn every_invalid_mcp_server_is_refused_with_what_to_change() {
        for (fields, says) in [
            (json!({ "allow": [] }), "its `allow` is empty"),
            (json!({ "allow": [""] }), "the name ``"),
            (json!({ "allow": ["a", "a"] }), "`wiki_a` is given twice"),
            (
                json!({ "approval": ["b"] }),
                "contains `b`, which is not in its `allow`",
            ),
            (json!({ "url": "stdio:server" }), "`url` of the tool `wiki`"),
            (
                json!({ "url": "https://u@mcp.example" }),
                "without credentials",
            ),
            (
                json!({ "url": "https://mcp.example/?apiKey=1" }),
                "credentials such as `apiKey`",
            ),
            (
                json!({ "url": "https://mcp.example/?code=1" }),
                "credentials such as `code`",
            ),
            (
                json!({ "url": "https://mcp.example/?a=1;pwd=1" }),
                "credentials such as `pwd`",
            ),
            (
                json!({ "headers": { "X-Pass": "x" } }),
                "agent-webhooks secret set NAME",
            ),
            (
                json!({ "headers": { "Authorization": "x" } }),
                "agent-webhooks secret set NAME",
            ),
            (json!({ "timeout_seconds": 301 }), "from 1 to 300"),
        ] {
            let mut tool = json!({
                "type": "mcp", "name": "wiki", "url": "https://mcp.example/mcp?profile=a", "allow": ["a"],
            });
            assert_eq!(check(json!([tool])), Ok(()));
            tool.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            let message = check(json!([tool])).unwrap_err();
            assert!(message.contains(says), "{fields}: {message}");
        }
    }
}
