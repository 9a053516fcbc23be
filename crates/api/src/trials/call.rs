//! `POST /api/tools/call`: calls one operation of a tool.

use axum::extract::State;
use axum::{Extension, Json};
use domain::agent::tools::Tool;
use domain::{AuditEntry, AuditEvent, CallTrial, TrialRequest, TrialResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{TrialProblem, audit_entry, check_part, origin, parse_body};
use crate::agents::{Body, ManageError};
use crate::audit::Actor;
use crate::{Management, Problem};

/// A call of a tool.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallTool<'a> {
    /// An `http` or `mcp` tool, as in an agent's definition.
    #[schema(value_type = Tool)]
    tool: Value,
    /// The name of an operation of the tool, or of a tool of the MCP server.
    #[schema(min_length = 1, max_length = 128)]
    operation: String,
    /// The arguments.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    arguments: Option<&'a RawValue>,
}

/// Calls one operation of a tool, as a run would.
///
/// The call is real: it can change data on the tool's server. It ends after 20 seconds.
#[utoipa::path(post, path = "/api/tools/call", tag = "Tests", operation_id = "call_tool",
    request_body(content = CallTool, description = "A tool, an operation and its arguments.", example = json!({
        "tool": {
            "type": "http", "name": "shop", "base_url": "https://shop.example.com/v1",
            "operations": [{
                "name": "get_order", "path": "/orders/{id}",
                "parameters": { "type": "object", "properties": { "id": { "type": "string" } }, "required": ["id"] }
            }]
        },
        "operation": "get_order",
        "arguments": { "id": "42" }
    })),
    responses((status = 200, description = "The result, also if the call failed.", body = CallTrial)))]
pub(crate) async fn call(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<CallTrial>, Problem> {
    let body = body.map_err(ManageError::from)?;
    let CallTool {
        tool,
        operation,
        arguments,
    } = parse_body(&body)?;
    let tool = check_tool(tool)?;
    let (name, url) = match &tool {
        Tool::SearchSources {} => {
            return Err(TrialProblem::Usage("`search_sources` has no server to call").into());
        }
        Tool::Http(tool) => (&tool.name, &tool.base_url),
        Tool::Mcp(tool) => (&tool.name, &tool.url),
    };
    if !tool.clone().keep_only(&operation) {
        return Err(
            TrialProblem::Usage("`operation` is not the name of an operation of `tool`").into(),
        );
    }
    let entry = AuditEntry {
        tool: Some(format!("{name}.{}", domain::cut(&operation, 128))),
        ..audit_entry(AuditEvent::ToolCalled, origin(url))
    };
    let request = TrialRequest::CallTool {
        tool,
        operation,
        arguments: arguments.map_or("{}", RawValue::get).to_owned(),
    };
    match management.run_trial(&actor, entry, request).await? {
        TrialResponse::Call(trial) => Ok(Json(trial)),
        TrialResponse::Failed(error) => Ok(Json(CallTrial::failed(error))),
        _ => Err(TrialProblem::Mismatch.into()),
    }
}

/// The tool after the checks that it needs in a definition.
fn check_tool(tool: Value) -> Result<Tool, TrialProblem> {
    let definition = check_part(None, "tools", json!([tool]))?;
    let tool = definition.tools.into_iter().next();
    tool.ok_or(TrialProblem::Usage("`tool` must be a tool"))
}
