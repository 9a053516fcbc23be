//! Reading agents.

use axum::Json;
use axum::extract::{Path, RawQuery, State};

use super::view::{AgentList, AgentView, WebhookUrl};
use super::{AgentPath, ManageError, Management};
use crate::Problem;

/// `GET /api/agents`
pub(super) async fn list(State(management): State<Management>) -> Result<Json<AgentList>, Problem> {
    let records = management.agents.list().await?;
    let mut agents = Vec::with_capacity(records.len());
    for record in &records {
        agents.push(management.view(record).await?);
    }
    Ok(Json(AgentList { agents }))
}

/// `GET /api/agents/{id}`
pub(super) async fn show(
    State(management): State<Management>,
    id: AgentPath,
) -> Result<Json<AgentView>, Problem> {
    let record = management.find(id).await?;
    Ok(Json(management.view(&record).await?))
}

/// `GET /api/agent_webhook?id=…`, DocsGPT's call.
pub(super) async fn webhook_url(
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
