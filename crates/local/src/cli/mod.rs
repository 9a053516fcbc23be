//! The command line: commands, options and their help texts.

mod model;
mod tool;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use model::{ModelArgs, ModelCommand};
pub use tool::{AddTool, CallTool, InspectTool, ToolCommand};

/// A secret webhook URL for every AI agent.
///
/// Without a command, `agent-webhooks` runs `agent-webhooks serve`.
#[derive(Debug, Parser)]
#[command(
    name = "agent-webhooks",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the local server: webhooks, agents, task status and storage in one process
    Serve(ServeArgs),
    /// Create, list, show, update and delete agents
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Store, list and delete secrets that agents refer to as {"secret": "NAME"}
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Trigger an agent's webhook
    Trigger(TriggerArgs),
    /// Show the status and the result of a task
    Status(StatusArgs),
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on, HOST:PORT; port 0 selects a free port
    #[arg(
        long,
        value_name = "ADDR",
        env = "AGENT_WEBHOOKS_LISTEN",
        default_value = "127.0.0.1:7091"
    )]
    pub listen: String,
    /// Folder for the database, the secrets and the admin token
    #[arg(
        long,
        value_name = "DIR",
        env = "AGENT_WEBHOOKS_DATA_DIR",
        default_value = ".agent-webhooks"
    )]
    pub data_dir: PathBuf,
    /// Base URL at which callers reach this server [default: http://ADDR]
    #[arg(long, value_name = "URL", env = "AGENT_WEBHOOKS_PUBLIC_URL", value_parser = parse_http_url)]
    pub public_url: Option<String>,
    /// Format of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text for a terminal
    Text,
    /// One JSON object per line
    Json,
}

/// The deployment that a client command calls.
#[derive(Args, Clone)]
pub struct Deployment {
    /// URL of the deployment [default: the local server's]
    #[arg(long, value_name = "URL", env = "AGENT_WEBHOOKS_URL")]
    pub url: Option<String>,
    /// Admin token of the deployment [default: the local server's]
    #[arg(
        long,
        value_name = "TOKEN",
        env = "AGENT_WEBHOOKS_ADMIN_TOKEN",
        hide_env_values = true
    )]
    pub admin_token: Option<String>,
    /// Data folder of the local server
    #[arg(
        long,
        value_name = "DIR",
        env = "AGENT_WEBHOOKS_DATA_DIR",
        default_value = ".agent-webhooks"
    )]
    pub data_dir: PathBuf,
    /// Print only JSON on stdout
    #[arg(long)]
    pub json: bool,
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Create an agent and print its webhook URL
    Create {
        #[command(flatten)]
        definition: DefinitionArgs,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List all agents
    List {
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Show an agent with its webhook URL
    Show {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Update an agent; fields without an option stay unchanged
    Update {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        #[command(flatten)]
        definition: DefinitionArgs,
        /// Enable the webhook
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Disable the webhook: it answers 404
        #[arg(long)]
        disable: bool,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Add, list and remove the tools of an agent
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Test a model
    #[command(subcommand)]
    Model(ModelCommand),
    /// Give an agent a new webhook URL
    Rotate {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Seconds for which the old URL still works
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = 0,
            allow_negative_numbers = true
        )]
        overlap: u64,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Add, list and delete the documents that an agent can search
    #[command(subcommand)]
    Source(SourceCommand),
    /// Delete an agent, its webhook URL and its documents
    Delete {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        #[command(flatten)]
        deployment: Deployment,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a secret, or replace its value; reads the value from standard input
    Set {
        /// Name of the secret: letters, digits and - _ . /
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List the names of all secrets
    List {
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Delete a secret that no agent refers to
    Delete {
        /// Name of the secret
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        deployment: Deployment,
    },
}

#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Add documents (text, Markdown, HTML, PDF, Word, CSV, JSON, reStructuredText, Org); a document of the same name is replaced
    Add {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Files to add, and folders of files
        #[arg(value_name = "FILE|FOLDER", required = true)]
        files: Vec<PathBuf>,
        /// Title of the document [default: the title in the document, or the file's name]
        #[arg(long, value_name = "TITLE")]
        title: Option<String>,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List the documents of an agent
    List {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Delete a document
    Delete {
        /// Id or name of the agent
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Id of the document, as shown by `agent source list`
        #[arg(value_name = "SOURCE_ID")]
        source: String,
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// An agent's definition, from options or from a file.
#[derive(Args, Clone, Debug)]
pub struct DefinitionArgs {
    /// Name of the agent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Prompt of the agent: a Jinja template with the variable `payload`
    #[arg(long, value_name = "TEXT|@FILE")]
    pub prompt: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// JSON file with the definition, for example with limits and sources (see docs/agents/).
    /// `agent update` changes only the fields in the file, and `null` removes a field. Options
    /// override the file
    #[arg(long, value_name = "FILE.json")]
    pub from: Option<PathBuf>,
}

/// Options of `trigger`.
#[derive(Args, Clone, Debug)]
pub struct TriggerArgs {
    /// Id, name or webhook URL of the agent
    #[arg(value_name = "ID|NAME|WEBHOOK_URL")]
    pub agent: String,
    /// Payload: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        default_value = "{}",
        allow_hyphen_values = true
    )]
    pub data: String,
    /// Idempotency key: within 24 hours, triggers with the same key start one task
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Wait until the task has ended, and print its result
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub deployment: Deployment,
}

/// Options of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Id of the task
    #[arg(value_name = "TASK_ID")]
    pub task: String,
    /// Wait until the task has ended
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub deployment: Deployment,
}

fn parse_http_url(text: &str) -> Result<String, &'static str> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        _ => Err("must start with http:// or https://"),
    }
}

impl Cli {
    /// Without a command it is `serve` with the options given.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}
