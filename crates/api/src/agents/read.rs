//! Lists and shows agents and their webhook URLs.

use axum::Json;
use axum::extract::{Path, RawQuery, State};

use super::view::{AgentList, AgentView, WebhookUrl};
use super::{AgentPath, ManageError};
use crate::openapi::parameters::{AgentIdParam, AgentUrlParams};
use crate::{Management, Problem};

/// Lists the agents.
#[utoipa::path(get, path = "/api/agents", tag = "Agents", operation_id = "list_agents",
    responses((status = 200, description = "All agents.", body = AgentList)))]
pub(crate) async fn list(State(management): State<Management>) -> Result<Json<AgentList>, Problem> {
    let records = management.agents.list().await?;
    let mut agents = Vec::with_capacity(records.len());
    for record in &records {
        agents.push(management.view(record).await?);
    }
    Ok(Json(AgentList { agents }))
}

/// Shows an agent.
#[utoipa::path(get, path = "/api/agents/{id}", tag = "Agents", operation_id = "get_agent",
    params(AgentIdParam),
    responses((status = 200, description = "The agent.", body = AgentView)))]
pub(crate) async fn show(
    State(management): State<Management>,
    id: AgentPath,
) -> Result<Json<AgentView>, Problem> {
    let record = management.find(id).await?;
    Ok(Json(management.view(&record).await?))
}

/// Returns an agent's webhook URL, as DocsGPT does.
#[utoipa::path(get, path = "/api/agent_webhook", tag = "Agents", operation_id = "get_agent_webhook",
    params(AgentUrlParams),
    responses((status = 200, description = "The webhook URL. It stays the same until it is rotated.", body = WebhookUrl)))]
pub(crate) async fn webhook_url(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<WebhookUrl>, Problem> {
    let query = query.unwrap_or_default();
    let id = form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "id" && !value.is_empty())
        .ok_or(ManageError::NoId)?;
    let record = management.find(Ok(Path(id.1.into_owned()))).await?;
    Ok(Json(management.url_view(&record).await?))
}
