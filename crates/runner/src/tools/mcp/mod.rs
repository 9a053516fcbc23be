//! Tools of MCP servers, called with the SDK of the protocol.
//!
//! We connect when a run starts, because only the server knows the parameters of its tools.
//! An unreachable server is a transient error: the task is tried again later, because a run
//! must not answer without a configured tool. We connect before calling the model, so a retry
//! costs no tokens.

mod answer;
mod client;
mod connect;
mod discovery;
mod error;
mod handler;
mod listing;
mod messages;
mod redirect;
mod repair;
mod result;
mod sse;
mod state;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::tools::McpTool;
use domain::{ErrorType, Fault, ToolSpec, cut};
use futures::future::join_all;
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResponse, MetaObject, Tool};
use serde_json::{Map, Value};

use super::ToolContext;
use super::call::{CallError, ToolOutput, describe_tool, not_scrubbed};
use super::credentials::ToolCredentials;
use crate::scrub::{RunSecrets, SecretScrubber, TextEnd};
use client::KeyedClient;
use connect::{Connected, Listing, MAX_PAGES, Service, error_kind, open_connection};
use error::server_error_in;
pub(crate) use listing::list_server_tools;
use repair::SkippedTool;

/// The name of a call's key in its `_meta`, and of the header with the key.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Time to close a session. A session that is not closed expires on the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a tool's description.
const MAX_DESCRIPTION_BYTES: usize = 4096;
/// Most bytes of a description or an error message that are searched for secrets.
const MAX_SEARCHED_BYTES: usize = 16 * 1024;
/// Most bytes of the schema of a tool's arguments.
const MAX_SCHEMA_BYTES: usize = 32 * 1024;

pub(super) struct McpServer<'a> {
    tool: &'a McpTool,
    secrets: &'a RunSecrets,
    http: KeyedClient,
    service: Service,
    offered: HashMap<String, Tool>,
    is_cut: bool,
}

/// One tool of an MCP server.
pub(super) struct McpOperation<'a> {
    server: Arc<McpServer<'a>>,
    /// The name on the server.
    name: &'a str,
}

impl<'a> McpServer<'a> {
    /// Connects and reads the tool list.
    pub(super) async fn open(
        context: ToolContext<'a>,
        tool: &'a McpTool,
        credentials: ToolCredentials,
    ) -> Result<Arc<Self>, Fault> {
        let opened = open_connection(context, tool, &credentials, Listing::Allowed).await;
        let Connected {
            http,
            service,
            offered,
            is_cut,
        } = opened?;
        let offered = offered
            .into_iter()
            .map(|tool| (tool.name.to_string(), tool))
            .collect();
        let server = Self {
            tool,
            secrets: context.run_secrets,
            http,
            service,
            offered,
            is_cut,
        };
        server.log_skipped_tools();
        server.check_allowed_tools()?;
        Ok(Arc::new(server))
    }

    pub(super) fn operations(self: &Arc<Self>) -> impl Iterator<Item = McpOperation<'a>> {
        self.tool.allow.iter().map(|name| McpOperation {
            server: Arc::clone(self),
            name,
        })
    }

    /// The names are the server's, so they may repeat a secret.
    fn log_skipped_tools(&self) {
        let scrubber = self.secrets.scrubber();
        for SkippedTool { name, reason } in self.http.skipped_tools() {
            let (server, skipped) = (&self.tool.name, scrubber.scrub(&name));
            tracing::warn!(server, %skipped, reason, "tool of an MCP server skipped");
        }
    }

    /// Checks that the server offers every tool that the agent may use.
    fn check_allowed_tools(&self) -> Result<(), Fault> {
        for name in &self.tool.allow {
            let (server, shown) = (&self.tool.name, cut(name, 64));
            let message = match self.offered.get(name) {
                None => self.missing_text(name, &shown),
                Some(tool) if schema_bytes(tool) > MAX_SCHEMA_BYTES => {
                    format!(
                        "The input schema of tool `{shown}` (MCP server `{server}`) is larger than 32 KiB"
                    )
                }
                Some(_) => continue,
            };
            return Err(Fault::permanent(ErrorType::InvalidAgent, message));
        }
        Ok(())
    }

    fn missing_text(&self, name: &str, shown: &str) -> String {
        let server = &self.tool.name;
        let skipped = self.http.skipped_tools();
        match skipped.iter().find(|skipped| skipped.name == name) {
            Some(SkippedTool { reason, .. }) => {
                format!("The tool `{shown}` of the MCP server `{server}` cannot be used: {reason}")
            }
            None if self.is_cut => format!(
                "The first {MAX_PAGES} pages of the tool list of the MCP server `{server}` have no tool `{shown}`"
            ),
            None => format!("The MCP server `{server}` has no tool `{shown}`"),
        }
    }
}

impl McpOperation<'_> {
    /// The name on the server.
    pub(super) const fn name(&self) -> &str {
        self.name
    }

    pub(super) fn needs_approval(&self) -> bool {
        self.server.tool.needs_approval(self.name)
    }

    /// The description for the model, under this name.
    pub(super) fn spec(&self, name: String) -> ToolSpec {
        let offered = self.server.offered.get(self.name);
        let description = offered
            .and_then(|tool| tool.description.as_deref())
            .unwrap_or_default();
        let (beginning, end) = text_to_scrub(description);
        let description = self
            .server
            .secrets
            .scrubber()
            .scrub_part(beginning, end)
            .into_owned();
        let description = describe_tool(
            &cut(&description, MAX_DESCRIPTION_BYTES),
            self.needs_approval(),
        );
        let schema = offered
            .map(|tool| Map::clone(&tool.input_schema))
            .unwrap_or_default();
        ToolSpec {
            name,
            description,
            parameters: Value::Object(schema),
        }
    }

    /// Makes one call. The model decides whether to try again.
    pub(super) async fn call(
        &self,
        arguments: Map<String, Value>,
        key: &str,
    ) -> Result<ToolOutput, CallError> {
        let McpServer {
            tool,
            service,
            secrets,
            http,
            ..
        } = &*self.server;
        let mut params = CallToolRequestParams::new(self.name.to_owned()).with_arguments(arguments);
        let mut meta = MetaObject::default();
        meta.insert(IDEMPOTENCY_KEY.to_owned(), key.into());
        params.meta = Some(meta.into());
        let _awaited = http.await_call(key);
        let scrubber = secrets.scrubber();
        let result =
            match tokio::time::timeout(tool.timeout(), service.peer().call_tool_once(params)).await
            {
                Ok(Ok(CallToolResponse::Complete(result))) => {
                    let (bytes, most) = (result::estimate_bytes(&result), tool.max_response_bytes);
                    let to_text = move |scrubber: &SecretScrubber, result| {
                        result::result_text(&result, most, scrubber)
                    };
                    let text = scrubber.scrub_off_workers(bytes, result, to_text).await;
                    text.map_err(|error| not_scrubbed(&error))?
                }
                Ok(Ok(_)) => {
                    Err("The tool asks for input that a webhook run cannot provide.".to_owned())
                }
                Ok(Err(error)) => Err(call_error_text(tool, error, &scrubber)),
                Err(_) => Err(format!(
                    "The server did not answer within {} seconds.",
                    tool.timeout_seconds
                )),
            };
        match result {
            Ok(content) => Ok(ToolOutput {
                content,
                ..ToolOutput::default()
            }),
            Err(why) => Err(CallError(why)),
        }
    }
}

/// Closes the sessions of these connections in parallel.
pub(super) async fn close_all(servers: Vec<Arc<McpServer<'_>>>) {
    let servers = servers.into_iter().filter_map(Arc::into_inner);
    join_all(
        servers.map(async |mut server| server.service.close_with_timeout(CLOSE_TIMEOUT).await),
    )
    .await;
}

/// The part of a server's text that is searched for secrets before it is cut to its limit.
fn text_to_scrub(text: &str) -> (&str, TextEnd) {
    match text.len() > MAX_SEARCHED_BYTES {
        true => (
            &text[..text.floor_char_boundary(MAX_SEARCHED_BYTES)],
            TextEnd::Cut,
        ),
        false => (text, TextEnd::Whole),
    }
}

fn schema_bytes(tool: &Tool) -> usize {
    serde_json::to_vec(&tool.input_schema).map_or(usize::MAX, |json| json.len())
}

/// The error text for the model. A message of the server is cut.
fn call_error_text(tool: &McpTool, error: ServiceError, scrubber: &SecretScrubber) -> String {
    if let ServiceError::McpError(error) = error {
        let (beginning, end) = text_to_scrub(&error.message);
        let message = scrubber.scrub_part(beginning, end);
        return format!(
            "The server returned error {}: {}",
            error.code.0,
            cut(&message, 2048)
        );
    }
    tracing::warn!(
        server = tool.name,
        kind = error_kind(&error),
        "call of an MCP tool failed"
    );
    match server_error_in(&error) {
        Some(error) => error.call_text(),
        None => "The connection to the server broke.".to_owned(),
    }
}
