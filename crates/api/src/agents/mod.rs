//! The management API: agents, their webhook URLs and the secrets that they refer to.

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod preview;
pub(crate) mod read;
pub(crate) mod secrets;
pub(crate) mod sources;
mod view;

use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::StatusCode;
use bytes::Bytes;
use domain::agent::{ApiKey, SecretError, imported_token_name, is_own_api_key, new_api_key_name};
use domain::{Agent, AgentError, AgentId, AuditEntry, AuditEvent, WebhookToken};
use store::{CreateError, StoreError, StoredAgent, UpdateError};

use crate::{Management, Problem};

pub use self::sources::SourceError;

/// The `{id}` of a path, even if it is malformed.
type AgentPath = Result<Path<String>, PathRejection>;
pub(crate) type Body = Result<Bytes, BytesRejection>;

/// Errors of management calls.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    #[error("Agent not found")]
    NotFound,
    /// The query has no `id`.
    #[error("Agent ID is required")]
    NoId,
    /// The definition is not valid.
    #[error(transparent)]
    Invalid(#[from] AgentError),
    #[error("`webhook_token` is already used by another agent of this deployment")]
    TokenTaken,
    /// An update contains a token.
    #[error(
        "`webhook_token` can only be set when an agent is created; rotate the webhook to change its URL"
    )]
    TokenFixed,
    #[error("The agent was changed by another request in the meantime; read it and try again")]
    Conflict,
    #[error("`overlap_seconds` must be from 0 to 2592000")]
    Overlap,
    #[error("The request body is not valid: {0}")]
    Rotation(serde_json::Error),
    #[error("The request body must be a JSON object")]
    NotAnObject,
    /// The name or value of a secret is not valid.
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("Secret not found")]
    SecretNotFound,
    #[error(
        "Agents use this secret: {0}; change or delete them first, or replace the secret's value"
    )]
    SecretInUse(String),
    /// The body is too large or incomplete.
    #[error("The request body is incomplete or larger than 1048576 bytes")]
    Body(StatusCode),
    #[error("failed to read random bytes from the operating system")]
    Entropy(#[from] getrandom::Error),
    #[error(transparent)]
    Source(SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Management {
    async fn find(&self, id: AgentPath) -> Result<StoredAgent, ManageError> {
        let Path(id) = id.map_err(|_| ManageError::NotFound)?;
        self.find_by_id(&id).await
    }

    pub(crate) async fn find_by_id(&self, id: &str) -> Result<StoredAgent, ManageError> {
        let id = AgentId::parse(id).ok_or(ManageError::NotFound)?;
        self.agents.get(id).await?.ok_or(ManageError::NotFound)
    }

    /// The agent's webhook URL. Its token is derived or, if it was imported from another
    /// system, read from the secret store.
    pub async fn webhook_url(&self, record: &StoredAgent) -> Result<String, ManageError> {
        let id = record.agent.id();
        let token = if record.webhook.imported {
            let name = imported_token_name(id);
            let token = self.secrets.get(&name).await?;
            token.ok_or(StoreError::Damaged {
                id: name,
                attribute: "token",
            })?
        } else {
            self.token(id, record.webhook.version).expose().to_owned()
        };
        Ok(format!("{}/api/webhooks/agents/{token}", self.public_url))
    }

    fn token(&self, id: AgentId, version: u32) -> WebhookToken {
        WebhookToken::derive(self.signing_secret.as_bytes(), id, version)
    }

    /// Moves a plain API key to the secret store, under a new name: the agent's earlier key
    /// stays until the agent is updated.
    async fn store_api_key(&self, agent: Agent) -> Result<Agent, ManageError> {
        let key = agent
            .definition()
            .model
            .as_ref()
            .and_then(|model| model.api_key.as_ref());
        let Some(ApiKey::Inline(key)) = key else {
            return Ok(agent);
        };
        let mut entropy = [0; 8];
        getrandom::fill(&mut entropy)?;
        let name = new_api_key_name(agent.id(), u64::from_be_bytes(entropy));
        self.secrets.put(&name, key).await?;
        Ok(agent.with_stored_api_key(name))
    }
}

pub(crate) fn audit_entry(event: AuditEvent, record: &StoredAgent) -> AuditEntry {
    AuditEntry {
        agent_id: Some(record.agent.id().to_string()),
        agent_name: Some(record.agent.definition().name.clone()),
        ..AuditEntry::new(event)
    }
}

/// The name of the agent's API key if the key came with the definition. `None` if the owner
/// manages the key as a secret.
fn own_api_key(agent: &Agent) -> Option<&str> {
    match agent.definition().model.as_ref()?.api_key.as_ref()? {
        ApiKey::Stored(name) if is_own_api_key(agent.id(), &name.secret) => Some(&name.secret),
        ApiKey::Stored(_) | ApiKey::Inline(_) => None,
    }
}

impl From<BytesRejection> for ManageError {
    fn from(error: BytesRejection) -> Self {
        Self::Body(error.status())
    }
}

impl From<CreateError> for ManageError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TokenTaken => Self::TokenTaken,
            CreateError::Store(error) => Self::Store(error),
        }
    }
}

impl From<UpdateError> for ManageError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Conflict => Self::Conflict,
            UpdateError::Store(error) => Self::Store(error),
        }
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let message = error.to_string();
        match error {
            ManageError::NotFound => Self::not_found("agent_not_found", "Agent not found"),
            ManageError::NoId => Self::bad_request("agent_id_required", message),
            ManageError::Invalid(_) | ManageError::TokenFixed => {
                Self::bad_request("invalid_agent", message)
            }
            ManageError::Overlap | ManageError::Rotation(_) | ManageError::NotAnObject => {
                Self::bad_request("invalid_request", message)
            }
            ManageError::Secret(_) => Self::bad_request("invalid_secret", message),
            ManageError::SecretNotFound => Self::not_found("secret_not_found", &message),
            ManageError::SecretInUse(_) => {
                Self::client_error(StatusCode::CONFLICT, "secret_in_use", message)
            }
            ManageError::Body(status) => Self::client_error(status, "unreadable_body", message),
            ManageError::TokenTaken => {
                Self::client_error(StatusCode::CONFLICT, "token_taken", message)
            }
            ManageError::Conflict => Self::client_error(StatusCode::CONFLICT, "conflict", message),
            ManageError::Source(error) => error.into(),
            ManageError::Entropy(_) => Self::internal(error),
            ManageError::Store(error) => error.into(),
        }
    }
}
