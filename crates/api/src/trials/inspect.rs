//! `POST /api/tools/inspect`: lists what an MCP server or an OpenAPI document offers.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use domain::agent::tools::{HeaderSource, HttpMethod, Operation, Tool};
use domain::{AuditEvent, LeftOutTool, McpListing, TrialRequest, TrialResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::document::{ApiImport, ChosenApi, InspectedApi, left_out};
use super::{TrialProblem, audit_entry, check_part, origin, parse_body};
use crate::agents::{Body, ManageError};
use crate::audit::Actor;
use crate::{Management, Problem};

/// A server or a document to inspect: either `mcp` or `openapi`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InspectTool {
    /// An MCP server.
    Mcp(InspectMcp),
    /// An OpenAPI document.
    Openapi(InspectOpenApi),
}

/// An MCP server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectMcp {
    /// The URL of the MCP endpoint.
    #[schema(max_length = 2048, pattern = "^https?://")]
    url: String,
    /// Headers sent with every request.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, HeaderSource>)]
    headers: Option<Value>,
}

/// An OpenAPI document: `url` or `document`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectOpenApi {
    /// The URL of the document. It is downloaded without credentials.
    #[serde(default)]
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// The document as text: JSON or YAML.
    #[serde(default)]
    document: Option<String>,
    /// The base URL of the API, if the document has none or another one.
    #[serde(default)]
    #[schema(max_length = 2048)]
    base_url: Option<String>,
    /// The names of operations to import. The response then has them in `chosen`.
    #[serde(default)]
    allow: Vec<String>,
}

/// What a server or a document offers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum InspectedTool {
    /// An MCP server.
    Mcp(McpListing),
    /// An HTTP API.
    Http(ApiListing),
}

/// An HTTP API and its operations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiListing {
    /// The title of the document.
    title: String,
    /// The base URL, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    base_url: Option<String>,
    /// The operations that can be imported.
    operations: Vec<OperationInfo>,
    /// Headers that the API may require for authentication.
    credentials: Vec<CredentialInfo>,
    /// The operations that cannot be imported.
    left_out: Vec<LeftOutTool>,
    /// Whether the document has more operations than are listed.
    is_cut: bool,
    /// The operations that `allow` names, as in a definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    chosen: Option<Vec<Operation>>,
    /// Sample arguments of the chosen operations, from the examples of the document.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>, required = false)]
    samples: BTreeMap<String, Map<String, Value>>,
}

/// An operation of an HTTP API.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationInfo {
    /// The name, for `allow`.
    name: String,
    /// The HTTP method.
    method: HttpMethod,
    /// The path below the base URL.
    path: String,
    /// The first line of its description.
    summary: String,
}

/// A header with a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialInfo {
    /// The name of the header.
    header: String,
    /// The text before the secret, such as `Bearer `.
    prefix: String,
}

/// Lists the tools of an MCP server, or the operations of an OpenAPI document.
///
/// A URL is called as a run would call it: the same addresses are refused. It has 20 seconds to answer.
#[utoipa::path(post, path = "/api/tools/inspect", tag = "Tests", operation_id = "inspect_tool",
    request_body(content = InspectTool, description = "An MCP server or an OpenAPI document.", examples(
        ("mcp" = (value = json!({ "mcp": { "url": "https://docs.example.com/mcp" } }))),
        ("openapi" = (value = json!({ "openapi": { "url": "https://shop.example.com/openapi.json" } }))),
    )),
    responses((status = 200, description = "What the server or the document offers.", body = InspectedTool)))]
pub(crate) async fn inspect(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<InspectedTool>, Problem> {
    let body = body.map_err(ManageError::from)?;
    let inspected = match parse_body(&body)? {
        InspectTool::Mcp(server) => {
            let listing = management.inspect_mcp(&actor, server).await?;
            InspectedTool::Mcp(listing)
        }
        InspectTool::Openapi(document) => {
            let listing = management.inspect_openapi(&actor, document).await?;
            InspectedTool::Http(listing)
        }
    };
    Ok(Json(inspected))
}

impl Management {
    async fn inspect_mcp(
        &self,
        actor: &Actor,
        InspectMcp { url, headers }: InspectMcp,
    ) -> Result<McpListing, TrialProblem> {
        let entry = audit_entry(AuditEvent::ToolInspected, origin(&url));
        let headers = headers.unwrap_or_else(|| json!({}));
        // The checks of a definition need a name and an allowed tool.
        let tool = json!({ "type": "mcp", "name": "server", "url": url, "headers": headers, "allow": ["any"] });
        let definition = check_part(None, "tools", json!([tool]))?;
        let Some(Tool::Mcp(server)) = definition.tools.into_iter().next() else {
            return Err(TrialProblem::Mismatch);
        };
        let request = TrialRequest::ListTools { server };
        match self.run_trial(actor, entry, request).await? {
            TrialResponse::Tools(listing) => Ok(listing),
            TrialResponse::Failed(error) => Err(TrialProblem::Server(error)),
            _ => Err(TrialProblem::Mismatch),
        }
    }

    async fn inspect_openapi(
        &self,
        actor: &Actor,
        request: InspectOpenApi,
    ) -> Result<ApiListing, TrialProblem> {
        let (text, document_url) = match (request.document, request.url) {
            (Some(text), None) => (text, None),
            (None, Some(url)) => self.download(actor, url).await?,
            _ => {
                let message = "`openapi` needs either `url` or `document`";
                return Err(TrialProblem::Usage(message));
            }
        };
        let import = ApiImport {
            text,
            document_url,
            base_url: request.base_url.filter(|url| !url.trim().is_empty()),
            allow: request.allow,
        };
        Ok(import.inspect().await?.into())
    }

    async fn download(
        &self,
        actor: &Actor,
        url: String,
    ) -> Result<(String, Option<String>), TrialProblem> {
        let Some(server) = origin(&url).filter(|origin| origin.starts_with("http")) else {
            return Err(TrialProblem::Usage(
                "`url` must be an absolute http or https URL",
            ));
        };
        let entry = audit_entry(AuditEvent::ToolInspected, Some(server));
        let request = TrialRequest::Download { url };
        match self.run_trial(actor, entry, request).await? {
            TrialResponse::Document(document) => Ok((document.text, Some(document.url))),
            TrialResponse::Failed(error) => Err(TrialProblem::Server(error)),
            _ => Err(TrialProblem::Mismatch),
        }
    }
}

impl From<InspectedApi> for ApiListing {
    fn from(InspectedApi { listed, chosen }: InspectedApi) -> Self {
        let operations = listed
            .operations
            .into_iter()
            .map(|operation| OperationInfo {
                name: operation.name,
                method: operation.method,
                path: operation.path,
                summary: operation.summary,
            });
        let credentials = listed.credentials.into_iter();
        let credentials = credentials.map(|(header, prefix)| CredentialInfo { header, prefix });
        let (base_url, chosen, samples) = match chosen {
            None => (listed.base_url, None, BTreeMap::new()),
            Some(ChosenApi {
                base_url,
                operations,
                samples,
            }) => (base_url, Some(operations), samples),
        };
        Self {
            title: listed.title,
            base_url,
            operations: operations.collect(),
            credentials: credentials.collect(),
            left_out: listed.left_out.into_iter().map(left_out).collect(),
            is_cut: listed.is_cut,
            chosen,
            samples,
        }
    }
}
