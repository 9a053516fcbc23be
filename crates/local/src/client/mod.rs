//! The client commands: HTTP calls to a deployment.

pub mod agent;
mod agent_tools;
mod argument;
mod document;
mod files;
mod model;
pub mod secret;
mod source;
pub mod status;
pub mod tool;
mod trial;
pub mod trigger;

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::cli::Deployment;
use crate::data_dir::ServerNotes;
use crate::{DataDir, DataDirError};

/// URL of the local server if it has never run.
const DEFAULT_URL: &str = "http://127.0.0.1:7091";
/// Bytes of an upload that are passed to the connection at a time.
const PIECE: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(40);

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "cannot reach {url}; is the server running? Start it with `agent-webhooks serve`, or select another \
         deployment with --url"
    )]
    Unreachable { url: String, source: reqwest::Error },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// An argument or standard input is not usable: exit code 2.
    #[error("{0}")]
    Usage(&'static str),
    /// The server returned an error.
    #[error("{message} (HTTP {}, {code})", status.as_u16())]
    Refused {
        code: String,
        message: String,
        status: StatusCode,
    },
    /// The response is not JSON.
    #[error("the response of {url} is not from Agent Webhooks; check the URL")]
    UnexpectedResponse { url: String },
    #[error("no admin token: {0}, or pass one with --admin-token or AGENT_WEBHOOKS_ADMIN_TOKEN")]
    NoAdminToken(&'static str),
    #[error("no agent has the id or name {0:?}; `agent-webhooks agent list` shows all agents")]
    UnknownAgent(String),
    #[error("several agents have the name {0:?}; use the agent's id")]
    AmbiguousName(String),
    #[error("failed to read {what}")]
    Read {
        what: String,
        source: std::io::Error,
    },
    #[error("{what} does not contain a JSON object")]
    NotJson { what: String },
    #[error("failed to add {file}")]
    NotAdded {
        file: String,
        source: Box<ClientError>,
    },
    /// The errors are printed already.
    #[error("{failed} of {total} files were not added")]
    SomeNotAdded { failed: usize, total: usize },
    /// A file that the client does not send.
    #[error("{file}: {reason}")]
    Document { file: String, reason: String },
    #[error("{what} is neither valid JSON nor valid YAML")]
    NotYaml {
        what: String,
        source: domain::agent::tools::DocumentError,
    },
    #[error("cannot download {url}; download the document and pass the file")]
    Download { url: String, source: reqwest::Error },
    #[error("failed to import {what}")]
    OpenApi {
        what: String,
        source: domain::agent::tools::OpenApiError,
    },
    #[error("the agent has no tool {0:?}; `agent-webhooks agent tool list AGENT` shows its tools")]
    UnknownTool(String),
    /// The result is printed already.
    #[error("the test failed")]
    TestFailed,
    /// The task ended in FAILURE. Its result is printed already.
    #[error("the task failed")]
    TaskFailed,
}

impl ClientError {
    /// Whether the call can succeed if it is repeated.
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

/// Calls the API of one deployment.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    admin_token: Option<String>,
    token_hint: &'static str,
    /// Whether to print only JSON on stdout.
    pub(crate) json: bool,
}

impl Client {
    pub(crate) fn new(deployment: &Deployment) -> Result<Self, ClientError> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.trim().is_empty());
        let given = set(&deployment.url);
        let notes = match DataDir::new(&deployment.data_dir).read_server_notes() {
            // `--url` selects a deployment, so this folder is not needed.
            Err(_) if given.is_some() => ServerNotes::default(),
            notes => notes?,
        };
        // The local server's token is sent only to the local server.
        let is_local = given.is_none() || given == notes.url;
        let local_token = notes.admin_token.filter(|_| is_local);
        let url = given
            .or(notes.url)
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ClientError::Usage(
                "--url must start with http:// or https://",
            ));
        }
        // Fails if the process has installed a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            http: http.map_err(|source| ClientError::Unreachable {
                url: url.clone(),
                source,
            })?,
            url: url.trim_end_matches('/').to_owned(),
            admin_token: set(&deployment.admin_token).or(local_token),
            token_hint: match is_local {
                true => {
                    "no server has run in this data folder; start it, or select its folder with --data-dir"
                }
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

    /// Calls the management API.
    pub(crate) async fn manage(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let token = self
            .admin_token
            .as_deref()
            .ok_or(ClientError::NoAdminToken(self.token_hint))?;
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.parse_response(request.send().await).await
    }

    /// Uploads a document, and calls `progress` with the number of bytes of each sent piece.
    pub(crate) async fn upload(
        &self,
        path: &str,
        query: &str,
        content_type: &str,
        bytes: Vec<u8>,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Value, ClientError> {
        let token = self
            .admin_token
            .as_deref()
            .ok_or(ClientError::NoAdminToken(self.token_hint))?;
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
        self.parse_response(request.send().await).await
    }

    pub(crate) async fn status(&self, task: &str) -> Result<Value, ClientError> {
        let request = self.http.get(format!(
            "{}/api/task_status?{}",
            self.url,
            encode_query("task_id", task)
        ));
        self.parse_response(request.send().await).await
    }

    /// Returns the accepted task, and whether an earlier trigger with the same key created it.
    pub(crate) async fn trigger(
        &self,
        url: &str,
        payload: String,
        key: Option<&str>,
    ) -> Result<(Value, bool), ClientError> {
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(payload);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let sent = request.send().await;
        let replayed = sent
            .as_ref()
            .is_ok_and(|response| response.headers().contains_key("idempotent-replayed"));
        Ok((self.parse_response(sent).await?, replayed))
    }

    /// Returns the agent with this id or name.
    pub(crate) async fn find_agent(&self, agent: &str) -> Result<Value, ClientError> {
        let all = self.manage(Method::GET, "/api/agents", None).await?;
        let agents = all
            .get("agents")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
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

    async fn parse_response(&self, sent: reqwest::Result<Response>) -> Result<Value, ClientError> {
        let response = sent.map_err(|source| match source.is_builder() {
            true => ClientError::Usage(
                "an argument contains characters that are not allowed in an HTTP request",
            ),
            // Without the URL, which may contain a webhook token.
            false => ClientError::Unreachable {
                url: self.url.clone(),
                source: source.without_url(),
            },
        })?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let not_json = |_| ClientError::UnexpectedResponse {
            url: self.url.clone(),
        };
        let value: Value = response.json().await.map_err(not_json)?;
        if status.is_success() {
            return Ok(value);
        }
        let (message, code) = (
            text_field(&value, "message").to_owned(),
            text_field(&value, "code").to_owned(),
        );
        Err(ClientError::Refused {
            code,
            message,
            status,
        })
    }
}

/// The text of a field; empty if the field is missing or not a string.
pub(crate) fn text_field<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn agent_path(agent: &Value) -> String {
    format!("/api/agents/{}", text_field(agent, "agent_id"))
}

fn encode_query(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish()
}
