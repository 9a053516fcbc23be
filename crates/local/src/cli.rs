//! What can be typed.

mod tool;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::Provider;

pub use tool::{AddTool, ToolCommand};

/// A secret webhook URL for every AI agent.
///
/// Without a command it serves: `agent-webhooks` is `agent-webhooks serve`.
#[derive(Debug, Parser)]
#[command(
    name = "agent-webhooks",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
    /// Options of `serve`, which need not be said.
    #[command(flatten)]
    serve: ServeArgs,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in this process: webhooks, agents, task status and storage
    Serve(ServeArgs),
    /// Make, show, change and delete agents
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Keep, list and delete secrets that agents refer to as {"secret": "NAME"}
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Trigger an agent's webhook
    Trigger(TriggerArgs),
    /// Show how a task stands
    Status(StatusArgs),
}

/// Options of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on, HOST:PORT; port 0 picks a free one
    #[arg(long, value_name = "ADDR", env = "AGENT_WEBHOOKS_LISTEN", default_value = "127.0.0.1:7091")]
    pub listen: String,
    /// Folder for the database, the secrets and the admin token
    #[arg(long, value_name = "DIR", env = "AGENT_WEBHOOKS_DATA_DIR", default_value = ".agent-webhooks")]
    pub data_dir: PathBuf,
    /// URL under which callers reach this server [default: http://ADDR]
    #[arg(long, value_name = "URL", env = "AGENT_WEBHOOKS_PUBLIC_URL", value_parser = http_url)]
    pub public_url: Option<String>,
    /// How the log on stderr reads
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// Which deployment a client command talks to.
#[derive(Args, Clone)]
pub struct Deployment {
    /// The deployment's URL [default: the local server's]
    #[arg(long, value_name = "URL", env = "AGENT_WEBHOOKS_URL")]
    pub url: Option<String>,
    /// Its admin token [default: the local server's]
    #[arg(long, value_name = "TOKEN", env = "AGENT_WEBHOOKS_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Folder of the local server
    #[arg(long, value_name = "DIR", env = "AGENT_WEBHOOKS_DATA_DIR", default_value = ".agent-webhooks")]
    pub data_dir: PathBuf,
    /// Print JSON alone
    #[arg(long)]
    pub json: bool,
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an agent and print its webhook URL
    Create {
        /// Its definition
        #[command(flatten)]
        definition: Definition,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List all agents
    List {
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Show an agent with its webhook URL
    Show {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Change an agent; what is not named stays
    Update {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// What changes
        #[command(flatten)]
        definition: Definition,
        /// Let its webhook take triggers again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
        /// Let its webhook answer 404
        #[arg(long)]
        disable: bool,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Add, list and remove what an agent may use
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Give an agent a new webhook URL
    Rotate {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Seconds for which the old URL works on
        #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
        overlap: u64,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Add, list and delete the documents that an agent answers from
    #[command(subcommand)]
    Source(SourceCommand),
    /// Delete an agent, its webhook URL and its documents
    Delete {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Keep a secret, or replace its value; the value is read from standard input
    Set {
        /// Letters, digits and - _ . /
        #[arg(value_name = "NAME")]
        name: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List the names of all secrets
    List {
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Delete a secret that no agent refers to
    Delete {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// What can be done with the documents of an agent.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Add documents: text, Markdown, HTML or PDF; one of the same name is replaced
    Add {
        /// The agent's id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// What answers call the document [default: what it calls itself, or its file's name]
        #[arg(long, value_name = "TITLE")]
        title: Option<String>,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// List the documents of an agent
    List {
        /// The agent's id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
    /// Delete a document
    Delete {
        /// The agent's id or name
        #[arg(value_name = "ID|NAME")]
        agent: String,
        /// The document's id, as `list` shows it
        #[arg(value_name = "SOURCE_ID")]
        source: String,
        /// Where
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// An agent's definition, by flags or from a file.
#[derive(Args, Clone, Debug)]
pub struct Definition {
    /// Its name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Its prompt, a Jinja template over `payload`
    #[arg(long, value_name = "TEXT|@FILE")]
    pub prompt: Option<String>,
    /// How the model is asked: openai, anthropic, bedrock or extractive
    /// [default: openai, for a server that speaks its protocol]
    #[arg(long, value_name = "PROVIDER", value_parser = provider)]
    pub model_provider: Option<Provider>,
    /// Base URL of the model's server, such as http://127.0.0.1:8080/v1
    #[arg(long, value_name = "URL")]
    pub model_url: Option<String>,
    /// The model's name on that server
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Read the API key of the model's server from standard input
    #[arg(long)]
    pub api_key_stdin: bool,
    /// A file with the definition as JSON, such as limits and sources
    /// (README, Agents); of an update, what changes, `null` removing; flags win over it
    #[arg(long, value_name = "FILE.json")]
    pub from: Option<PathBuf>,
}

/// Options of `trigger`.
#[derive(Args, Clone, Debug)]
pub struct TriggerArgs {
    /// The agent's id or name, or its webhook URL
    #[arg(value_name = "ID|NAME|WEBHOOK_URL")]
    pub agent: String,
    /// The payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
    pub data: String,
    /// Idempotency key: the same key triggers one task within 24 hours
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Wait for the task's end and print its result
    #[arg(long)]
    pub wait: bool,
    /// Where
    #[command(flatten)]
    pub deployment: Deployment,
}

/// Options of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// The task's id
    #[arg(value_name = "TASK_ID")]
    pub task: String,
    /// Wait for the task's end
    #[arg(long)]
    pub wait: bool,
    /// Where
    #[command(flatten)]
    pub deployment: Deployment,
}

fn provider(text: &str) -> Result<Provider, String> {
    let names = Provider::ALL.map(Provider::as_str).join(", ");
    Provider::parse(text).ok_or_else(|| format!("it must be one of {names}"))
}

fn http_url(text: &str) -> Result<String, &'static str> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        _ => Err("it must begin with http:// or https://"),
    }
}

impl Cli {
    /// The command, `serve` with its defaults if none is given.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}
