//! An HTTP API as a set of tools: each of its operations is one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Tool, ToolError, import};

/// Operations of one API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTool {
    /// Names the set, for its owner.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// What every operation's path is put after; by default the first server of the
    /// OpenAPI document.
    #[serde(default)]
    #[schema(max_length = 2048, pattern = "^(https?://.*)?$")]
    pub base_url: String,
    /// Sent with every call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderSource>,
    /// What one call may take. 1 to 300.
    #[serde(default = "timeout_seconds")]
    #[schema(minimum = 1, maximum = 300, default = timeout_seconds)]
    pub timeout_seconds: u64,
    /// Most bytes of an answer that the model is told; the rest is cut off. 1 to 1,048,576.
    #[serde(default = "max_response_bytes")]
    #[schema(minimum = 1, maximum = 1_048_576, default = max_response_bytes)]
    pub max_response_bytes: usize,
    /// What can be called.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// An OpenAPI document to take operations from. It is not kept: they are.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    pub openapi: Option<Value>,
    /// Those to take, by their `operationId`; all by default.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    pub allow: Vec<String>,
}

/// Where the value of a header comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected text or {\"secret\":\"NAME\"}")]
pub enum HeaderSource {
    /// From the definition: nothing that must be kept secret.
    Plain(String),
    /// From the secret store.
    Stored(StoredHeader),
}

/// A header whose value is kept in the secret store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredHeader {
    /// The name of the secret.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
    /// What is sent before it, such as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 2048, pattern = "^[ -~]*$")]
    pub prefix: String,
}

/// One operation: a tool as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What the model calls it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How it is asked for.
    #[serde(default)]
    pub method: HttpMethod,
    /// What is put after the base URL; `{argument}` stands for an argument.
    #[schema(max_length = 2048, pattern = "^/")]
    pub path: String,
    /// The JSON schema of its arguments, an object.
    #[serde(default = "no_parameters")]
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// The arguments that go into the query. Those that no place is given for go
    /// there too, or, of a POST, PUT or PATCH, into the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// The arguments that are sent as headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The one argument that is the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What arguments are called on the wire, if otherwise than by the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wire_names: BTreeMap<String, String>,
    /// It needs a person's approval, and so is never called by a webhook.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

/// The methods of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "RFC 9110 section 9.3 and RFC 5789 say what they mean")]
pub enum HttpMethod {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// Tools with the operations of their documents.
pub(in crate::agent) fn expand(tools: &mut [Tool]) -> Result<(), ToolError> {
    for tool in tools {
        if let Tool::Http(tool) = tool {
            tool.expand()?;
        }
    }
    Ok(())
}

impl HttpTool {
    fn expand(&mut self) -> Result<(), ToolError> {
        let Some(document) = self.openapi.take() else {
            return if self.allow.is_empty() { Ok(()) } else { Err(ToolError::Allow(self.name.clone())) };
        };
        let imported = import(&document, &self.allow);
        let imported = imported.map_err(|source| ToolError::OpenApi { tool: self.name.clone(), source })?;
        self.allow.clear();
        self.operations.extend(imported.operations);
        if let (true, Some(base_url)) = (self.base_url.is_empty(), imported.base_url) {
            self.base_url = base_url;
        }
        Ok(())
    }

    /// What one call may take.
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

impl HttpMethod {
    /// As sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether arguments go into a body if nothing says where they go.
    pub(super) const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

pub(super) const fn timeout_seconds() -> u64 {
    30
}

pub(super) const fn max_response_bytes() -> usize {
    64 * 1024
}

fn no_parameters() -> Value {
    json!({ "type": "object", "properties": {} })
}
