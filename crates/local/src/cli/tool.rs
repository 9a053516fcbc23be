//! `agent tool …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Deployment;

#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Add operations of an HTTP API, tools of an MCP server, or a tool from a file
    Add(AddTool),
    /// List the tools of an MCP server or the operations of an OpenAPI document
    Inspect(InspectTool),
    /// Call one operation of an agent's tool
    Call(CallTool),
    /// List an agent's tools
    List {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Remove an API or an MCP server from an agent
    Remove {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Name of the API or server, as shown by `agent tool list`
        #[arg(value_name = "TOOL")]
        tool: String,
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// Options of `agent tool inspect`.
#[derive(Args, Debug)]
pub struct InspectTool {
    /// Endpoint of an MCP server, or URL of an OpenAPI document; the server of the deployment calls it
    #[arg(value_name = "URL")]
    pub target: String,
    /// Header for an MCP server with a stored secret, such as 'Authorization: Bearer {NAME}'
    #[arg(long, value_name = "HEADER: {SECRET}")]
    pub secret_header: Vec<String>,
    #[command(flatten)]
    pub deployment: Deployment,
}

/// Options of `agent tool call`.
#[derive(Args, Debug)]
pub struct CallTool {
    /// Id or name of the agent
    #[arg(value_name = "ID|NAME")]
    pub agent: String,
    /// Name of the API or server, as shown by `agent tool list`
    #[arg(value_name = "TOOL")]
    pub tool: String,
    /// Name of the operation, as shown by `agent tool list`
    #[arg(value_name = "OPERATION")]
    pub operation: String,
    /// Arguments: a JSON object, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    pub arguments: String,
    #[command(flatten)]
    pub deployment: Deployment,
}

/// Options of `agent tool add`.
#[derive(Args, Debug)]
pub struct AddTool {
    /// Id or name of the agent
    #[arg(value_name = "ID|NAME")]
    pub agent: String,
    /// OpenAPI document (3.0 or 3.1, JSON or YAML): a file, an https URL, or - for standard input
    #[arg(long, value_name = "FILE|URL|-", required_unless_present_any = ["mcp", "from"])]
    pub openapi: Option<String>,
    /// Endpoint of an MCP server (streamable HTTP); needs --allow
    #[arg(long, value_name = "URL", conflicts_with_all = ["openapi", "base_url"], requires = "allow")]
    pub mcp: Option<String>,
    /// JSON file with a tool of any type, as in the `tools` of a definition (see docs/agents/tools.md)
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["openapi", "mcp", "allow", "base_url", "secret_header", "name"])]
    pub from: Option<PathBuf>,
    /// Comma-separated names of the operations or tools that the agent may use [default: all
    /// operations of the document]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Base URL of the API [default: the document's server]; a relative server is resolved against it
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Header with a stored secret, such as 'Authorization: Bearer {NAME}'; can be repeated
    #[arg(long, value_name = "HEADER: {SECRET}")]
    pub secret_header: Vec<String>,
    /// Name of the API or server [default: the document's title, or the server's host]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub deployment: Deployment,
}
