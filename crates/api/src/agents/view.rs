//! Agents in responses.

use domain::Definition;
use domain::agent::RequestPart;
use serde::Serialize;
use store::StoredAgent;
use utoipa::ToSchema;

use super::ManageError;
use crate::Management;

/// An agent: its definition, and the fields that the deployment adds. Secrets are never returned.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(crate) struct AgentView {
    /// The agent's id.
    #[schema(format = "uuid")]
    agent_id: String,
    // `openapi/shapes.rs` adds the fields of `Definition` to the OpenAPI schema.
    #[serde(flatten)]
    #[schema(ignore)]
    definition: Definition,
    /// The webhook URL.
    #[schema(format = "uri")]
    webhook_url: String,
    /// When the agent was created.
    #[schema(format = "date-time")]
    created_at: String,
    /// When the agent was last updated.
    #[schema(format = "date-time")]
    updated_at: String,
    /// What the server of the agent's model has refused in earlier runs. Requests leave it
    /// out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_refuses: Vec<RequestPart>,
}

/// All agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentList {
    /// In no particular order.
    pub(super) agents: Vec<AgentView>,
}

/// An agent's webhook URL.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookUrl {
    /// Always `true`.
    success: bool,
    /// The URL is a secret: everyone with this URL can trigger the agent.
    #[schema(format = "uri")]
    webhook_url: String,
}

impl Management {
    pub(super) async fn view(&self, record: &StoredAgent) -> Result<AgentView, ManageError> {
        Ok(AgentView {
            agent_id: record.agent.id().to_string(),
            definition: record.agent.definition().clone(),
            webhook_url: self.webhook_url(record).await?,
            created_at: record.created_at.rfc3339(),
            updated_at: record.updated_at.rfc3339(),
            model_refuses: model_refuses(record),
        })
    }

    pub(super) async fn url_view(&self, record: &StoredAgent) -> Result<WebhookUrl, ManageError> {
        Ok(WebhookUrl {
            success: true,
            webhook_url: self.webhook_url(record).await?,
        })
    }
}

/// An agent without a model uses the deployment's default model, which only its runs know.
fn model_refuses(record: &StoredAgent) -> Vec<RequestPart> {
    let definition = record.agent.definition();
    let refused = &record.refused;
    let parts = match &definition.model {
        Some(model) => refused.parts_of(model, definition.output_schema.as_ref()),
        None => refused.parts.clone(),
    };
    parts.into_iter().collect()
}
