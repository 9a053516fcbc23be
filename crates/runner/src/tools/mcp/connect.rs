//! Connects to an MCP server and lists the tools that the agent may use.

use std::time::Duration;

use domain::agent::tools::McpTool;
use domain::{ErrorType, Fault};
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion, Tool,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use url::Url;

use super::client::KeyedClient;
use super::messages::{MAX_MESSAGE_BYTES, McpServerError};
use crate::egress::Egress;
use crate::tools::headers::ToolHeaders;

/// Time to connect, negotiate the protocol version and list the tools. Longer than the 10 s
/// that the SDK waits before it assumes an older protocol version.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Most pages of a server's tool list that are read.
const MAX_PAGES: usize = 16;

pub(super) type Service = RunningService<RoleClient, ClientConfig>;

pub(super) struct Connected {
    pub(super) http: KeyedClient,
    pub(super) service: Service,
    pub(super) offered: Vec<Tool>,
}

pub(super) async fn connect_in_time(
    egress: &Egress,
    tool: &McpTool,
    headers: &ToolHeaders,
) -> Result<Connected, Fault> {
    tokio::time::timeout(OPEN_TIMEOUT, connect(egress, tool, headers))
        .await
        .unwrap_or_else(|_| Err(unavailable_fault(tool, "it did not answer in time")))
}

async fn connect(
    egress: &Egress,
    tool: &McpTool,
    headers: &ToolHeaders,
) -> Result<Connected, Fault> {
    let url =
        Url::parse(&tool.url).map_err(|_| unavailable_fault(tool, "its address is not a URL"))?;
    let client = egress.client_for(&url).map_err(|refused| {
        tracing::error!(%refused, "call of a tool refused");
        permanent_fault(tool, McpServerError::NotAllowed)
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
    let http = KeyedClient::new(client);
    let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
    let us = Implementation::new("agent-webhooks", env!("CARGO_PKG_VERSION"));
    let session = ClientConfig::new(ClientCapabilities::default(), us);
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: None,
    };
    let service = session.serve_with_lifecycle(transport, lifecycle).await;
    let unavailable = |why| match http.permanent_error() {
        Some(error) => permanent_fault(tool, error),
        None => unavailable_fault(tool, why),
    };
    let service = service
        .map_err(|_| unavailable("it could not be reached, or does not support the protocol"))?;
    match allowed_tools(&service, tool).await {
        Ok(offered) => Ok(Connected {
            http,
            service,
            offered,
        }),
        Err(error) => {
            let kind = error_kind(&error);
            tracing::warn!(
                server = tool.name,
                kind,
                "tools of an MCP server could not be listed"
            );
            Err(unavailable("its tools cannot be listed"))
        }
    }
}

/// The tools of the server that the agent may use. Others are not stored. Pages are read only
/// until all allowed tools are found, because a server may return an endless list.
async fn allowed_tools(service: &Service, tool: &McpTool) -> Result<Vec<Tool>, ServiceError> {
    let (mut allowed, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let page = service.peer().list_tools(Some(params)).await?;
        allowed.extend(
            page.tools
                .into_iter()
                .filter(|found| tool.allow.iter().any(|name| *name == found.name)),
        );
        cursor = page.next_cursor;
        if cursor.is_none() || allowed.len() >= tool.allow.len() {
            break;
        }
    }
    Ok(allowed)
}

fn permanent_fault(tool: &McpTool, error: McpServerError) -> Fault {
    let server = &tool.name;
    let message = match error {
        McpServerError::NotAllowed => {
            format!("The address of the MCP server `{server}` is not allowed here")
        }
        McpServerError::Unauthorized => {
            format!("The MCP server `{server}` refused the agent: check its `headers`")
        }
        McpServerError::TooLarge => format!(
            "The MCP server `{server}` returned more than 4 MiB or 50000 JSON values, \
             or the tool lists of the agent's MCP servers have more than 30000 JSON values"
        ),
    };
    Fault::permanent(ErrorType::InvalidAgent, message)
}

fn unavailable_fault(tool: &McpTool, why: &str) -> Fault {
    Fault::transient(
        ErrorType::ToolError,
        format!("The MCP server `{}` is not available: {why}", tool.name),
    )
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
