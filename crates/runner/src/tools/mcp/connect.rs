//! Connects to an MCP server and lists the tools that the agent may use.

use std::time::Duration;

use domain::agent::tools::McpTool;
use domain::{ErrorType, Failure, Fault};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ErrorCode, ErrorData, Implementation, PaginatedRequestParams,
    ProtocolVersion, Tool,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use url::Url;

use super::client::KeyedClient;
use super::error::{McpServerError, error_detail, error_text, unavailable_fault, with_detail};
use super::handler::WebhookClient;
use super::stream::MAX_MESSAGE_BYTES;
use crate::scrub::SecretScrubber;
use crate::tools::ToolContext;
use crate::tools::credentials::ToolCredentials;
use crate::tools::headers::ToolHeaders;
use crate::tools::oauth::TokenSource;

/// Time to connect, negotiate the protocol version and list the tools. Longer than the time that
/// a discovery may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Most pages of a server's tool list that are read.
pub(super) const MAX_PAGES: usize = 16;
/// No further pages are read once there are this many tools.
const MAX_TOOLS: usize = 512;

pub(super) type Service = RunningService<RoleClient, WebhookClient>;

pub(super) struct Connected {
    pub(super) http: KeyedClient,
    pub(super) service: Service,
    pub(super) offered: Vec<Tool>,
    /// Whether the server has more tools than were read.
    pub(super) is_cut: bool,
}

/// Which tools of a server are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    Allowed,
    All,
}

/// Connects, and connects again if the server refused a secret that has been replaced since it
/// was read.
pub(super) async fn open_connection(
    context: ToolContext<'_>,
    tool: &McpTool,
    credentials: &ToolCredentials,
    listing: Listing,
) -> Result<Connected, Fault> {
    let ToolCredentials { headers, tokens } = credentials;
    let tokens = tokens.as_ref();
    let opened = connect_in_time(context, tool, headers, tokens, listing).await;
    if let Err(Fault::Permanent(_)) = &opened
        && let Some(renewed) = headers.renewed(context, &tool.headers).await
    {
        return connect_in_time(context, tool, &renewed, tokens, listing).await;
    }
    opened
}

async fn connect_in_time(
    context: ToolContext<'_>,
    tool: &McpTool,
    headers: &ToolHeaders,
    tokens: Option<&TokenSource>,
    listing: Listing,
) -> Result<Connected, Fault> {
    tokio::time::timeout(
        OPEN_TIMEOUT,
        connect(context, tool, headers, tokens, listing),
    )
    .await
    .unwrap_or_else(|_| Err(unavailable_fault(&tool.name, "it did not answer in time")))
}

async fn connect(
    context: ToolContext<'_>,
    tool: &McpTool,
    headers: &ToolHeaders,
    tokens: Option<&TokenSource>,
    listing: Listing,
) -> Result<Connected, Fault> {
    let url = Url::parse(&tool.url)
        .map_err(|_| unavailable_fault(&tool.name, "its address is not a URL"))?;
    let scrubber = context.run_secrets.scrubber();
    let client = context.egress.client_for(&url).map_err(|refused| {
        tracing::error!(%refused, "call of a tool refused");
        McpServerError::NotAllowed.to_fault(&tool.name, &scrubber)
    })?;
    let sent = headers
        .map
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(sent.collect())
        .max_sse_event_size(MAX_MESSAGE_BYTES)
        .max_json_response_size(MAX_MESSAGE_BYTES);
    // One more than the calls of a turn.
    config.max_concurrent_requests = 33;
    let http = KeyedClient::new(client, tokens.cloned());
    let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
    let us = Implementation::new("agent-webhooks", env!("CARGO_PKG_VERSION"));
    let session = WebhookClient(ClientConfig::new(ClientCapabilities::default(), us));
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        // The newest version with a handshake. Servers may refuse a newer one.
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    };
    let service = session.serve_with_lifecycle(transport, lifecycle).await;
    let recorded = || {
        http.recorded_error()
            .map(|error| error.to_fault(&tool.name, &scrubber))
    };
    let service = service.map_err(|error| {
        recorded().unwrap_or_else(|| initialize_fault(&tool.name, &error, &scrubber))
    })?;
    match list_tools(&service, tool, listing).await {
        Ok((offered, is_cut)) => Ok(Connected {
            http,
            service,
            offered,
            is_cut,
        }),
        Err(error) => {
            let kind = error_kind(&error);
            tracing::warn!(
                server = tool.name,
                kind,
                "tools of an MCP server could not be listed"
            );
            Err(recorded().unwrap_or_else(|| list_fault(&tool.name, &error, &scrubber)))
        }
    }
}

/// The tools of the server that the agent may use, or all. Others are not stored. Pages are read
/// only until all allowed tools are found, because a server may return an endless list.
async fn list_tools(
    service: &Service,
    tool: &McpTool,
    listing: Listing,
) -> Result<(Vec<Tool>, bool), ServiceError> {
    let (mut allowed, mut cursor): (Vec<Tool>, _) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor.clone());
        let page = service.peer().list_tools(Some(params)).await?;
        for found in page.tools {
            let is_wanted =
                listing == Listing::All || tool.allow.iter().any(|name| *name == found.name);
            if is_wanted && allowed.iter().all(|known| known.name != found.name) {
                allowed.push(found);
            }
        }
        let is_last = page.next_cursor.is_none() || page.next_cursor == cursor;
        cursor = page.next_cursor;
        let is_complete = listing == Listing::Allowed && allowed.len() >= tool.allow.len();
        if is_last || is_complete {
            return Ok((allowed, false));
        }
        if allowed.len() >= MAX_TOOLS {
            break;
        }
    }
    Ok((allowed, true))
}

/// The error of the server is shown but not logged, because it may quote what it was sent.
fn answered_fault(
    server: &str,
    what: &str,
    error: &ErrorData,
    shown: &str,
    is_permanent: bool,
) -> Fault {
    let logged = format!("The MCP server `{server}` {what}: error {}", error.code.0);
    let shown = format!("The MCP server `{server}` {what}: {shown}");
    let fault = match is_permanent {
        true => {
            Fault::Permanent(Failure::permanent(ErrorType::InvalidAgent, shown).logged_as(logged))
        }
        false => Fault::Transient {
            failure: Failure::transient(ErrorType::ToolError, shown).logged_as(logged),
            retry_after: None,
        },
    };
    with_detail(fault, error_detail(error))
}

fn initialize_fault(
    server: &str,
    error: &ClientInitializeError,
    scrubber: &SecretScrubber,
) -> Fault {
    match error {
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            initialize_fault(server, fallback, scrubber)
        }
        ClientInitializeError::JsonRpcError(error) => {
            let shown = error_text(error, scrubber);
            answered_fault(server, "refused to initialize", error, &shown, false)
        }
        ClientInitializeError::ExpectedInitResult(_)
        | ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. } => {
            McpServerError::NotMcp("an unrelated message".to_owned()).to_fault(server, scrubber)
        }
        _ => unavailable_fault(server, "it did not complete the handshake"),
    }
}

fn list_fault(server: &str, error: &ServiceError, scrubber: &SecretScrubber) -> Fault {
    match error {
        ServiceError::McpError(error) => {
            let has_no_tools = error.code == ErrorCode::METHOD_NOT_FOUND;
            let shown = error_text(error, scrubber);
            answered_fault(
                server,
                "did not list its tools",
                error,
                &shown,
                has_no_tools,
            )
        }
        _ => unavailable_fault(server, "its tools cannot be listed"),
    }
}

/// Only the kind of an SDK error is logged, because the error quotes the server's response.
pub(super) const fn error_kind(error: &ServiceError) -> &'static str {
    match error {
        ServiceError::McpError(_) => "error returned",
        ServiceError::TransportSend(_) => "not sent",
        ServiceError::TransportClosed => "closed",
        ServiceError::Timeout { .. } => "timeout",
        ServiceError::UnexpectedResponse => "unexpected response",
        _ => "other",
    }
}
