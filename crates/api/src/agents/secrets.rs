//! Secrets that agents refer to by name: kept, listed and forgotten here, and read
//! by nobody but a runner.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::agent::{SecretError, check_kept_name, check_secret_value};
use domain::{AuditEntry, AuditEvent};
use serde::{Deserialize, Serialize};
use store::AgentRecord;
use utoipa::ToSchema;

use super::{Body, ManageError, Management};
use crate::Problem;
use crate::audit::Actor;
use crate::openapi::parameters::OfSecret;

/// Agents named in a refusal; it is for people.
const MOST_NAMED: usize = 10;

/// The `{name}` of a path, malformed ones included.
type NamePath = Result<Path<String>, PathRejection>;

/// A secret on its way to the secret store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SecretValue)]
pub(crate) struct Given {
    /// Printable ASCII without a space at either end, since it travels in a header.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]([ -~]*[!-~])?$", format = "password")]
    value: String,
}

/// The names of all secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretList {
    /// Their values never come back.
    secrets: Vec<KeptSecret>,
}

/// A secret that is kept here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptSecret {
    /// What definitions of agents call it.
    name: String,
    /// The ids of the agents that refer to it.
    agents: Vec<String>,
}

/// Lists the secrets' names, each with the agents that refer to it.
#[utoipa::path(get, path = "/api/secrets", tag = "Secrets", operation_id = "list_secrets",
    responses((status = 200, description = "The names of all secrets.", body = SecretList)))]
pub(crate) async fn list(State(management): State<Management>) -> Result<Json<SecretList>, Problem> {
    let (names, agents) = (management.agents.kept_secrets().await?, management.agents.list().await?);
    let with_users = |name: String| KeptSecret {
        agents: users(&agents, &name).map(|record| record.agent.id().to_string()).collect(),
        name,
    };
    Ok(Json(SecretList { secrets: names.into_iter().map(with_users).collect() }))
}

/// Keeps a secret, or replaces its value.
///
/// Definitions of agents refer to it as `{"secret": "name"}`.
#[utoipa::path(put, path = "/api/secrets/{name}", tag = "Secrets", operation_id = "put_secret",
    params(OfSecret),
    request_body(content = Given, description = "The secret's value."),
    responses((status = 204, description = "It is kept.")))]
pub(crate) async fn keep(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    name: NamePath,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = kept_name(name)?;
    let value = value(&body.map_err(ManageError::from)?)?;
    management.agents.note_secret(&name).await?;
    management.secrets.replace(&name, &value).await?;
    management.record(&actor, secret_entry(AuditEvent::SecretPut, name)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a secret that no agent refers to.
#[utoipa::path(delete, path = "/api/secrets/{name}", tag = "Secrets", operation_id = "delete_secret",
    params(OfSecret),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn forget(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    name: NamePath,
) -> Result<StatusCode, Problem> {
    let name = kept_name(name)?;
    if !management.agents.keeps_secret(&name).await? {
        return Err(ManageError::NoSecret.into());
    }
    let agents = management.agents.list().await?;
    let named: Vec<&str> =
        users(&agents, &name).map(|record| record.agent.draft().name.as_str()).take(MOST_NAMED).collect();
    if !named.is_empty() {
        return Err(ManageError::SecretInUse(named.join(", ")).into());
    }
    management.secrets.remove(&name).await?;
    management.record(&actor, secret_entry(AuditEvent::SecretDeleted, name.clone())).await;
    management.agents.forget_secret(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn secret_entry(event: AuditEvent, name: String) -> AuditEntry {
    AuditEntry { secret_name: Some(name), ..AuditEntry::of(event) }
}

fn kept_name(name: NamePath) -> Result<String, ManageError> {
    let Path(name) = name.map_err(|_| SecretError::Name)?;
    check_kept_name(&name)?;
    Ok(name)
}

/// Errors of the parser could quote the secret.
fn value(body: &[u8]) -> Result<String, ManageError> {
    let given = match body.trim_ascii() {
        // An object: an array would be read as one, by position.
        json @ [b'{', ..] => serde_json::from_slice::<Given>(json).map_err(|_| SecretError::Value)?,
        _ => return Err(SecretError::Value.into()),
    };
    check_secret_value(&given.value)?;
    Ok(given.value)
}

fn users<'a>(agents: &'a [AgentRecord], secret: &str) -> impl Iterator<Item = &'a AgentRecord> {
    agents.iter().filter(move |record| record.agent.refers_to(secret))
}
