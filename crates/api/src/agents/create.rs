//! Creates agents.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::agent::imported_token_name;
use domain::{Agent, AgentId, AuditEntry, AuditEvent, Catalogue, NewAgent, Salt, WebhookToken};
use store::{CreateError, Refused, StoredAgent, Webhook};

use super::view::AgentView;
use super::{Body, ManageError, audit_entry};
use crate::audit::Actor;
use crate::openapi::shapes::NewAgentBody;
use crate::{Management, Problem};

/// Creates an agent.
///
/// Only `name` is required. The response has the webhook URL, which works at once.
#[utoipa::path(post, path = "/api/agents", tag = "Agents", operation_id = "create_agent",
    request_body(content = NewAgentBody, description = "The agent's definition.", example = json!({
        "name": "order-triage",
        "prompt": "You triage orders. Order: {{ payload.order }}",
        "model": { "provider": "openai", "base_url": "http://127.0.0.1:8080/v1", "name": "any-model", "api_key": { "secret": "team/openai" } },
        "sources": [{ "title": "Returns policy", "text": "Returns are free for 30 days." }]
    })),
    responses((status = 201, description = "The agent.", body = AgentView)))]
pub(crate) async fn create(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<(StatusCode, Json<AgentView>), Problem> {
    let new =
        NewAgent::from_json(&body.map_err(ManageError::from)?).map_err(ManageError::Invalid)?;
    let record = management.create(new, &actor).await?;
    Ok((StatusCode::CREATED, Json(management.view(&record).await?)))
}

/// The audit entry of a creation. Every field is new, so the entry lists none.
fn creation_entry(record: &StoredAgent) -> AuditEntry {
    let entry = audit_entry(AuditEvent::AgentCreated, record);
    AuditEntry {
        fields: Vec::new(),
        ..entry.with_differences(None, record.agent.definition())
    }
}

impl Management {
    /// The webhook token is derived from the agent's id, unless the request imports one.
    pub async fn create(&self, new: NewAgent, actor: &Actor) -> Result<StoredAgent, ManageError> {
        let (mut id, mut salt) = ([0; 16], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut salt)?;
        let agent = Agent::new(AgentId::random(id), new.definition)?;
        let agent = self.store_api_key(agent).await?;
        let webhook = self.first_webhook(agent.id(), new.webhook_token).await?;
        let now = self.clock.now();
        let record = StoredAgent {
            agent,
            salt: Salt::new(salt),
            webhook,
            catalogue: Catalogue::default(),
            created_at: now,
            updated_at: now,
            revision: 1,
            refused: Refused::default(),
        };
        match self.agents.create(&record).await {
            Err(CreateError::TokenTaken) => {
                self.delete_agent_secrets(&record).await?;
                return Err(ManageError::TokenTaken);
            }
            created => created?,
        }
        self.record(actor, creation_entry(&record)).await;
        Ok(record)
    }

    async fn first_webhook(
        &self,
        id: AgentId,
        imported: Option<WebhookToken>,
    ) -> Result<Webhook, ManageError> {
        if let Some(token) = &imported {
            self.secrets
                .put(&imported_token_name(id), token.expose())
                .await?;
        }
        let token = imported.clone().unwrap_or_else(|| self.token(id, 1));
        Ok(Webhook {
            version: 1,
            imported: imported.is_some(),
            current: token.hash(),
            previous: Vec::new(),
        })
    }
}
