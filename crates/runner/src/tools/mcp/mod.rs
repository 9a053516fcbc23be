//! Tools of MCP servers, by the protocol's own SDK.
//!
//! A server is connected to when a run starts, since only it can say what its
//! tools take. One that cannot be reached then is a passing fault: the run rests
//! and is tried again, rather than going on, and perhaps answering, without what
//! its owner gave it. No model has been asked by then, so that costs nothing.

mod client;
mod messages;
mod result;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::agent::McpTool;
use domain::{ErrorType, Fault, ToolSpec, cut};
use futures::future::join_all;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation, MetaObject,
    PaginatedRequestParams, ProtocolVersion, Tool,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use serde_json::{Map, Value};
use url::Url;

use super::headers::Headers;
use super::{CallError, Found, described, not_scrubbed};
use crate::Runner;
use crate::scrub::{RunSecrets, SecretScrubber, TextEnd};
use client::KeyedClient;
use messages::{MAX_MESSAGE_BYTES, Trouble};

/// The name of a call's key in its `_meta`, and of its header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// To connect, agree on a version of the protocol and list the tools. Longer than
/// the 10 s for which the SDK waits to hear that a server is of the older kind.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// To take leave: a session that is not closed is the server's to expire.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most pages of a server's list of tools that are looked through.
const MAX_PAGES: usize = 16;
/// Most bytes of a tool's description, and of the schema of its arguments.
const MAX_DESCRIPTION_BYTES: usize = 4096;
/// Most bytes of a description or an error message that are searched for secrets.
const MAX_SEARCHED_BYTES: usize = 16 * 1024;
const MAX_SCHEMA_BYTES: usize = 32 * 1024;

/// A connection to a server.
pub(super) struct McpServer<'a> {
    tool: &'a McpTool,
    secrets: &'a RunSecrets,
    http: KeyedClient,
    service: RunningService<RoleClient, ClientConfig>,
    offered: HashMap<String, Tool>,
}

/// One tool of it.
pub(super) struct McpOperation<'a> {
    server: Arc<McpServer<'a>>,
    /// As the server names it.
    name: &'a str,
}

impl<'a> McpServer<'a> {
    /// Connects and asks what the tools take.
    pub(super) async fn open(
        runner: &Runner,
        tool: &'a McpTool,
        secrets: &'a RunSecrets,
        headers: Headers,
    ) -> Result<Arc<Self>, Fault> {
        let mut opened = connect_in_time(runner, tool, &headers).await;
        // Perhaps the server refused a secret that has been replaced since it was read.
        if let Err(Fault::Permanent(_)) = &opened
            && let Some(renewed) = headers.renewed(runner, &tool.headers, secrets).await
        {
            opened = connect_in_time(runner, tool, &renewed).await;
        }
        let Connected { http, service, offered } = opened?;
        let offered = offered.into_iter().map(|tool| (tool.name.to_string(), tool)).collect();
        let server = Self { tool, secrets, http, service, offered };
        server.check()?;
        Ok(Arc::new(server))
    }

    /// What can be called of it.
    pub(super) fn operations(self: &Arc<Self>) -> impl Iterator<Item = McpOperation<'a>> {
        self.tool.allow.iter().map(|name| McpOperation { server: Arc::clone(self), name })
    }

    /// Whatever the agent may use is there.
    fn check(&self) -> Result<(), Fault> {
        for name in &self.tool.allow {
            let server = &self.tool.name;
            let message = match self.offered.get(name) {
                None => format!("The MCP server `{server}` has no tool `{}`", cut(name, 64)),
                Some(tool) if schema_bytes(tool) > MAX_SCHEMA_BYTES => {
                    format!(
                        "The tool `{}` of the MCP server `{server}` takes more than can be told",
                        cut(name, 64)
                    )
                }
                Some(_) => continue,
            };
            return Err(Fault::permanent(ErrorType::InvalidAgent, message));
        }
        Ok(())
    }
}

impl McpOperation<'_> {
    /// The name as the server knows it.
    pub(super) const fn name(&self) -> &str {
        self.name
    }

    pub(super) fn needs_approval(&self) -> bool {
        self.server.tool.needs_approval(self.name)
    }

    /// As the model is told of it, under this name.
    pub(super) fn spec(&self, name: String) -> ToolSpec {
        let offered = self.server.offered.get(self.name);
        let description = offered.and_then(|tool| tool.description.as_deref()).unwrap_or_default();
        let (beginning, end) = beginning(description);
        let description = self.server.secrets.scrubber().scrub_part(beginning, end).into_owned();
        let description = described(&cut(&description, MAX_DESCRIPTION_BYTES), self.needs_approval());
        let schema = offered.map(|tool| Map::clone(&tool.input_schema)).unwrap_or_default();
        ToolSpec { name, description, parameters: Value::Object(schema) }
    }

    /// Calls it once: trying again is for the model to decide.
    pub(super) async fn call(&self, arguments: Map<String, Value>, key: &str) -> Result<Found, CallError> {
        let McpServer { tool, service, secrets, http, .. } = &*self.server;
        let mut params = CallToolRequestParams::new(self.name.to_owned()).with_arguments(arguments);
        let mut meta = MetaObject::default();
        meta.insert(IDEMPOTENCY_KEY.to_owned(), key.into());
        params.meta = Some(meta.into());
        let _awaited = http.await_call(key);
        let scrubber = secrets.scrubber();
        let told = match tokio::time::timeout(tool.timeout(), service.peer().call_tool_once(params)).await {
            Ok(Ok(CallToolResponse::Complete(result))) => {
                let (bytes, most) = (result::bytes(&result), tool.max_response_bytes);
                let told = move |scrubber: &SecretScrubber, result| result::told(&result, most, scrubber);
                let told = scrubber.scrub_off_workers(bytes, result, told).await;
                told.map_err(|error| not_scrubbed(&error))?
            }
            Ok(Ok(_)) => Err("The tool asks for something that a webhook run cannot give.".to_owned()),
            Ok(Err(error)) => Err(failed(tool, error, &scrubber)),
            Err(_) => Err(format!("The server did not answer within {} seconds.", tool.timeout_seconds)),
        };
        match told {
            Ok(content) => Ok(Found { content, ..Found::default() }),
            Err(why) => Err(CallError(why)),
        }
    }
}

/// Ends the sessions that these connections hold on their servers, side by side.
pub(super) async fn close_all(servers: Vec<Arc<McpServer<'_>>>) {
    let servers = servers.into_iter().filter_map(Arc::into_inner);
    join_all(servers.map(async |mut server| server.service.close_with_timeout(CLOSE_TIMEOUT).await)).await;
}

type Service = RunningService<RoleClient, ClientConfig>;

struct Connected {
    http: KeyedClient,
    service: Service,
    offered: Vec<Tool>,
}

async fn connect_in_time(runner: &Runner, tool: &McpTool, headers: &Headers) -> Result<Connected, Fault> {
    tokio::time::timeout(OPEN_TIMEOUT, connect(runner, tool, headers))
        .await
        .unwrap_or_else(|_| Err(unavailable(tool, "it did not answer in time")))
}

async fn connect(runner: &Runner, tool: &McpTool, headers: &Headers) -> Result<Connected, Fault> {
    let outgoing = runner.models.outgoing();
    let url = Url::parse(&tool.url).map_err(|_| unavailable(tool, "its address is no URL"))?;
    outgoing.private_hosts().check(&url).map_err(|refused| {
        tracing::error!(%refused, "call of a tool refused");
        troubled(tool, Trouble::NotAllowed)
    })?;
    let sent = headers.map.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(sent.collect())
        .max_sse_event_size(MAX_MESSAGE_BYTES)
        .max_json_response_size(MAX_MESSAGE_BYTES);
    // One more than a turn may ask for.
    config.max_concurrent_requests = 33;
    let http = KeyedClient::new(outgoing.get());
    let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
    let us = Implementation::new("agent-webhooks", env!("CARGO_PKG_VERSION"));
    let client = ClientConfig::new(ClientCapabilities::default(), us);
    let lifecycle =
        ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::LATEST], legacy_version: None };
    let service = client.serve_with_lifecycle(transport, lifecycle).await;
    let unavailable = |why| match http.trouble() {
        Some(trouble) => troubled(tool, trouble),
        None => unavailable(tool, why),
    };
    let service =
        service.map_err(|_| unavailable("it could not be reached, or does not speak the protocol"))?;
    match allowed_tools(&service, tool).await {
        Ok(offered) => Ok(Connected { http, service, offered }),
        Err(error) => {
            let kind = kind(&error);
            tracing::warn!(server = tool.name, kind, "the tools of an MCP server cannot be listed");
            Err(unavailable("its tools cannot be listed"))
        }
    }
}

/// Those of the server's tools that the agent may use. Others are not kept, and no
/// more pages are read than are needed: a server may have no end of them.
async fn allowed_tools(service: &Service, tool: &McpTool) -> Result<Vec<Tool>, ServiceError> {
    let (mut allowed, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let page = service.peer().list_tools(Some(params)).await?;
        allowed
            .extend(page.tools.into_iter().filter(|found| tool.allow.iter().any(|name| *name == found.name)));
        cursor = page.next_cursor;
        if cursor.is_none() || allowed.len() >= tool.allow.len() {
            break;
        }
    }
    Ok(allowed)
}

/// As much of a server's text as is searched for secrets before it is cut to what is kept.
fn beginning(text: &str) -> (&str, TextEnd) {
    match text.len() > MAX_SEARCHED_BYTES {
        true => (&text[..text.floor_char_boundary(MAX_SEARCHED_BYTES)], TextEnd::Cut),
        false => (text, TextEnd::Whole),
    }
}

fn schema_bytes(tool: &Tool) -> usize {
    serde_json::to_vec(&tool.input_schema).map_or(usize::MAX, |json| json.len())
}

fn troubled(tool: &McpTool, trouble: Trouble) -> Fault {
    let server = &tool.name;
    let message = match trouble {
        Trouble::NotAllowed => format!("The address of the MCP server `{server}` is not allowed here"),
        Trouble::Unauthorized => format!("The MCP server `{server}` refused the agent: check its `headers`"),
        Trouble::TooLarge => format!(
            "The MCP server `{server}` answered more than 4 MiB or 50000 JSON values, \
             or the agent's MCP servers list tools with more than 30000"
        ),
    };
    Fault::permanent(ErrorType::InvalidAgent, message)
}

/// The log gets no more than the kind of an error of the SDK, which quotes what the
/// server said.
fn unavailable(tool: &McpTool, why: &str) -> Fault {
    Fault::passing(ErrorType::ToolError, format!("The MCP server `{}` is not available: {why}", tool.name))
}

/// What went wrong, for the model; a server's own words are cut.
fn failed(tool: &McpTool, error: ServiceError, scrubber: &SecretScrubber) -> String {
    if let ServiceError::McpError(error) = error {
        let (beginning, end) = beginning(&error.message);
        let message = scrubber.scrub_part(beginning, end);
        return format!("The server answered error {}: {}", error.code.0, cut(&message, 2048));
    }
    tracing::warn!(server = tool.name, kind = kind(&error), "call of an MCP tool failed");
    "The connection to the server broke.".to_owned()
}

const fn kind(error: &ServiceError) -> &'static str {
    match error {
        ServiceError::McpError(_) => "error answered",
        ServiceError::TransportSend(_) => "not sent",
        ServiceError::TransportClosed => "closed",
        ServiceError::Timeout { .. } => "time-out",
        ServiceError::UnexpectedResponse => "unexpected answer",
        _ => "other",
    }
}
