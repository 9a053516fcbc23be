//! `agent tool …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Deployment;

/// What can be done with an agent's tools.
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Add operations of an HTTP API, or tools of an MCP server
    Add(AddTool),
    /// List an agent's tools
    List {
        /// The agent's id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Remove a set of tools
    Remove {
        /// The agent's id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// The set's name
        #[arg(value_name = "TOOL")]
        tool: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// Options of `agent tool add`.
#[derive(Args, Debug)]
pub struct AddTool {
    /// The agent's id or name
    #[arg(value_name = "ID|NAME")]
    pub agent: String,
    /// An OpenAPI document, 3.0 or 3.1, as JSON or YAML
    #[arg(long, value_name = "FILE", required_unless_present = "mcp")]
    pub openapi: Option<PathBuf>,
    /// The endpoint of an MCP server that speaks streamable HTTP; needs --allow
    #[arg(long, value_name = "URL", conflicts_with_all = ["openapi", "base_url"], requires = "allow")]
    pub mcp: Option<String>,
    /// The operations or tools that the agent may use, with commas between them
    /// [default: all operations of the document]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Where the API is [default: the document's first server]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// A header with a secret of the deployment, such as 'Authorization: Bearer {NAME}'
    #[arg(long, value_name = "HEADER: {SECRET}")]
    pub secret_header: Vec<String>,
    /// What the set is called [default: the document's title, or the server's host]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where
    #[command(flatten)]
    pub deployment: Deployment,
}
