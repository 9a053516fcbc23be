//! Trials: one call of a model or of a tool's server outside of a run, to see whether an agent
//! could use it. The function that has the secrets makes the call, so requests and responses
//! are serializable.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::agent::tools::{McpTool, Tool};
use crate::agent::{ModelConfig, RequestPart};
use crate::{ErrorType, Fault};

/// A call to be made once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrialRequest {
    /// Asks the model for a word. Without a model, the deployment's default model.
    Model { model: Option<ModelConfig> },
    /// Connects to an MCP server and lists its tools. Its `allow` is ignored.
    ListTools { server: McpTool },
    /// Downloads an OpenAPI document.
    Download { url: String },
    /// Calls one operation of a tool.
    CallTool {
        tool: Tool,
        /// The name of an operation, or of a tool of an MCP server.
        operation: String,
        /// A JSON object.
        arguments: String,
    },
}

/// The result of a trial. Contains no secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrialResponse {
    Model(ModelTrial),
    Tools(McpListing),
    Document(DownloadedDocument),
    Call(CallTrial),
    Failed(TrialError),
}

/// The result of a test request to a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ModelTrial {
    /// Whether the model replied.
    pub ok: bool,
    /// The duration, in milliseconds.
    pub took_ms: u64,
    /// The model's name, as the provider returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub model: Option<String>,
    /// The parts of the request that the server refused. Runs leave them out. A model that
    /// refuses `tools` cannot be used by an agent with tools.
    pub refuses: Vec<RequestPart>,
    /// The input tokens of the request with a reply.
    pub input_tokens: u64,
    /// The output tokens of the request with a reply.
    pub output_tokens: u64,
    /// Why the model did not reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<TrialError>,
}

/// The result of a tool call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CallTrial {
    /// Whether the call succeeded.
    pub ok: bool,
    /// The duration, in milliseconds.
    pub took_ms: u64,
    /// The result, as the model would get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub result: Option<String>,
    /// Why the call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<TrialError>,
}

/// Why a trial failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TrialError)]
pub struct TrialError {
    /// The kind of failure, as in tasks.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// What went wrong and what to do.
    pub message: String,
}

/// An MCP server and its tools.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct McpListing {
    /// The server's name, as it states it.
    pub server_name: String,
    /// The server's version, as it states it.
    pub server_version: String,
    /// The tools that an agent can use.
    pub tools: Vec<McpToolInfo>,
    /// The tools that an agent cannot use.
    pub left_out: Vec<LeftOutTool>,
    /// Whether the server has more tools than are listed.
    pub is_cut: bool,
}

/// A tool of an MCP server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct McpToolInfo {
    /// The name on the server, for `allow`.
    pub name: String,
    /// The description that the model gets.
    pub description: String,
    /// The JSON schema of the arguments.
    #[schema(value_type = Object)]
    pub input_schema: Value,
}

/// A tool or an operation that an agent cannot use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutTool {
    /// Its name, or its place in the list.
    pub name: String,
    /// Why it cannot be used.
    pub reason: String,
}

/// A document as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DownloadedDocument {
    pub text: String,
    /// The URL after redirects.
    pub url: String,
}

impl ModelTrial {
    pub fn failed(error: TrialError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

impl CallTrial {
    pub fn failed(error: TrialError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

impl TrialError {
    pub fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl From<Fault> for TrialError {
    fn from(fault: Fault) -> Self {
        let (Fault::Permanent(failure) | Fault::Transient { failure, .. }) = fault;
        Self::new(failure.kind, failure.message)
    }
}
