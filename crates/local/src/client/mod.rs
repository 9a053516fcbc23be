//! The client commands: HTTP calls to a deployment.

pub mod agent;
pub mod secret;
mod source;
pub mod status;
pub mod tool;
pub mod trigger;

use std::io::Read as _;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::cli::Deployment;
use crate::data_dir::ServerNotes;
use crate::{DataDir, DataDirError};

/// Where the local server is, if it never ran.
const DEFAULT_URL: &str = "http://127.0.0.1:7091";
/// How much of an upload is handed to the connection at a time.
const PIECE: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(40);

/// Why a command ends with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server cannot be reached.
    #[error(
        "no answer from {url}; is the server running? Start it with `agent-webhooks serve`, or name one with --url"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The local server's folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The command lacks something.
    #[error("{0}")]
    Usage(&'static str),
    /// The server refused.
    #[error("{message} (HTTP {}, {code})", status.as_u16())]
    Refused {
        /// The server's code.
        code: String,
        /// The server's sentence.
        message: String,
        /// Its status.
        status: StatusCode,
    },
    /// The server answered something else than JSON.
    #[error("the answer of {url} is not from Agent Webhooks")]
    Nonsense {
        /// Which.
        url: String,
    },
    /// No admin token is known.
    #[error("no admin token: {0}, or give one with --admin-token or AGENT_WEBHOOKS_ADMIN_TOKEN")]
    NoAdminToken(&'static str),
    /// No agent has this name or id.
    #[error("no agent has the id or name {0:?}; `agent list` shows all")]
    UnknownAgent(String),
    /// Several agents have this name.
    #[error("several agents have the name {0:?}; use an id")]
    AmbiguousName(String),
    /// A file cannot be read.
    #[error("failed to read {what}")]
    Read {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no JSON.
    #[error("{what} does not hold a JSON object")]
    NotJson {
        /// Which.
        what: String,
    },
    /// The server does not take a file.
    #[error("{file} was not added")]
    NotAdded {
        /// Which.
        file: String,
        /// Why.
        source: Box<ClientError>,
    },
    /// A file is no document that the server takes.
    #[error("{file}: {reason}")]
    Document {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// A file holds neither JSON nor YAML.
    #[error("{what} holds neither JSON nor YAML")]
    NotYaml {
        /// Which.
        what: String,
        /// Why.
        source: yaml_serde::Error,
    },
    /// An OpenAPI document is of no use.
    #[error("failed to import {what}")]
    OpenApi {
        /// Which.
        what: String,
        /// Why.
        source: domain::agent::OpenApiError,
    },
    /// The agent has no such set of tools.
    #[error("the agent has no tool {0:?}; `agent tool list AGENT` shows all")]
    UnknownTool(String),
    /// The task ended FAILURE; its result is printed already.
    #[error("the task failed")]
    TaskFailed,
}

impl ClientError {
    /// Whether the same call may succeed in a moment.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            _ => false,
        }
    }
}

/// A connection to one deployment.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    admin_token: Option<String>,
    token_hint: &'static str,
    /// Whether stdout is for programs.
    pub(crate) json: bool,
}

impl Client {
    pub(crate) fn new(deployment: &Deployment) -> Result<Self, ClientError> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
        let given = set(&deployment.url);
        let notes = match DataDir::new(&deployment.data_dir).server_notes() {
            // Another deployment is named: this folder does not matter.
            Err(_) if given.is_some() => ServerNotes::default(),
            notes => notes?,
        };
        // The local server's token is for the local server only.
        let is_local = given.is_none() || given == notes.url;
        let local_token = notes.admin_token.filter(|_| is_local);
        let url = given.or(notes.url).unwrap_or_else(|| DEFAULT_URL.to_owned());
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ClientError::Usage("--url must begin with http:// or https://"));
        }
        // Installed once a process; a second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            http: http.map_err(|source| ClientError::Unreachable { url: url.clone(), source })?,
            url: url.trim_end_matches('/').to_owned(),
            admin_token: set(&deployment.admin_token).or(local_token),
            token_hint: match is_local {
                true => "no server has run in this data folder; start it, or name its folder with --data-dir",
                false => "the local server's token is not sent to another --url",
            },
            json: deployment.json,
        })
    }

    /// The same client for the deployment that this webhook URL belongs to.
    pub(crate) fn at_webhook(mut self, webhook_url: &str) -> Self {
        if let Some((base, _)) = webhook_url.split_once("/api/webhooks/") {
            base.clone_into(&mut self.url);
        }
        self
    }

    /// A call of the management API.
    pub(crate) async fn manage(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let token = self.admin_token.as_deref().ok_or(ClientError::NoAdminToken(self.token_hint))?;
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request.send().await).await
    }

    /// Uploads a document, telling `progress` how many bytes went out.
    pub(crate) async fn upload(
        &self,
        path: &str,
        query: &str,
        content_type: &str,
        bytes: Vec<u8>,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Value, ClientError> {
        let token = self.admin_token.as_deref().ok_or(ClientError::NoAdminToken(self.token_hint))?;
        let length = bytes.len();
        let mut bytes = bytes::Bytes::from(bytes);
        let pieces = futures::stream::iter(std::iter::from_fn(move || {
            let piece = bytes.split_to(PIECE.min(bytes.len()));
            progress(piece.len() as u64);
            (!piece.is_empty()).then_some(Ok::<_, std::io::Error>(piece))
        }));
        let request = self
            .http
            .post(format!("{}{path}?{query}", self.url))
            .bearer_auth(token)
            .header("content-type", content_type)
            .header("content-length", length)
            .body(reqwest::Body::wrap_stream(pieces));
        self.answer(request.send().await).await
    }

    pub(crate) async fn status(&self, task: &str) -> Result<Value, ClientError> {
        let request = self.http.get(format!("{}/api/task_status?{}", self.url, query("task_id", task)));
        self.answer(request.send().await).await
    }

    /// The accepted task, and whether its key had named it before.
    pub(crate) async fn trigger(
        &self,
        url: &str,
        payload: String,
        key: Option<&str>,
    ) -> Result<(Value, bool), ClientError> {
        let mut request = self.http.post(url).header("content-type", "application/json").body(payload);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let sent = request.send().await;
        let replayed =
            sent.as_ref().is_ok_and(|response| response.headers().contains_key("idempotent-replayed"));
        Ok((self.answer(sent).await?, replayed))
    }

    /// The agent of this id or name.
    pub(crate) async fn find(&self, agent: &str) -> Result<Value, ClientError> {
        let all = self.manage(Method::GET, "/api/agents", None).await?;
        let agents = all.get("agents").and_then(Value::as_array).cloned().unwrap_or_default();
        let has = |field: &'static str| {
            let wanted = agent.to_owned();
            move |found: &&Value| found.get(field).and_then(Value::as_str) == Some(wanted.as_str())
        };
        if let Some(found) = agents.iter().find(has("agent_id")) {
            return Ok(found.clone());
        }
        let mut named = agents.iter().filter(has("name"));
        match (named.next(), named.next()) {
            (Some(found), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(ClientError::AmbiguousName(agent.to_owned())),
            (None, _) => Err(ClientError::UnknownAgent(agent.to_owned())),
        }
    }

    async fn answer(&self, sent: reqwest::Result<Response>) -> Result<Value, ClientError> {
        let response = sent.map_err(|source| match source.is_builder() {
            true => ClientError::Usage("an option holds characters that HTTP cannot carry"),
            // Without its URL, which may hold a webhook's token.
            false => ClientError::Unreachable { url: self.url.clone(), source: source.without_url() },
        })?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let nonsense = |_| ClientError::Nonsense { url: self.url.clone() };
        let value: Value = response.json().await.map_err(nonsense)?;
        if status.is_success() {
            return Ok(value);
        }
        let (message, code) = (text(&value, "message").to_owned(), text(&value, "code").to_owned());
        Err(ClientError::Refused { code, message, status })
    }
}

/// A field's text, empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn query(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// What an argument stands for: `@FILE`, `-` for standard input, or itself.
pub(crate) fn argument(argument: &str) -> Result<String, ClientError> {
    let read = |what: &str, result: std::io::Result<String>| {
        result.map_err(|source| ClientError::Read { what: what.to_owned(), source })
    };
    if argument == "-" {
        let mut text = String::new();
        return read("standard input", std::io::stdin().read_to_string(&mut text).map(|_| text));
    }
    match argument.strip_prefix('@') {
        Some(path) => read(path, std::fs::read_to_string(path)),
        None => Ok(argument.to_owned()),
    }
}
