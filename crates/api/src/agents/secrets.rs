//! Secrets that agents refer to by name. The API stores, lists and deletes them. Only a
//! runner reads their values.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::agent::{SecretError, check_secret_name, check_secret_value};
use domain::{AuditEntry, AuditEvent};
use serde::{Deserialize, Serialize};
use store::StoredAgent;
use utoipa::ToSchema;

use super::{Body, ManageError};
use crate::audit::Actor;
use crate::openapi::parameters::SecretNameParam;
use crate::{Management, Problem};

/// How many agents an error message names.
const MOST_NAMED: usize = 10;

/// The `{name}` of a path, even if it is malformed.
type NamePath = Result<Path<String>, PathRejection>;

/// The value of a secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretValue {
    /// Printable ASCII in one line without a space at either end, because it is sent in a header.
    /// Or a private key as PEM.
    #[schema(
        min_length = 1,
        max_length = 4096,
        pattern = r"^([!-~]([ -~]*[!-~])?|-----BEGIN [ -~\r\n]*-----)$",
        format = "password"
    )]
    value: String,
}

/// All secrets, without their values.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretList {
    /// Values are never returned.
    secrets: Vec<SecretSummary>,
}

/// A stored secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretSummary {
    /// The name that agents refer to.
    name: String,
    /// The ids of the agents that refer to it.
    agents: Vec<String>,
}

/// Lists the names of secrets, each with the agents that refer to it.
#[utoipa::path(get, path = "/api/secrets", tag = "Secrets", operation_id = "list_secrets",
    responses((status = 200, description = "The names of all secrets.", body = SecretList)))]
pub(crate) async fn list(
    State(management): State<Management>,
) -> Result<Json<SecretList>, Problem> {
    let (names, agents) = (
        management.agents.secret_names().await?,
        management.agents.list().await?,
    );
    let with_agents = |name: String| SecretSummary {
        agents: agents_using(&agents, &name)
            .map(|record| record.agent.id().to_string())
            .collect(),
        name,
    };
    Ok(Json(SecretList {
        secrets: names.into_iter().map(with_agents).collect(),
    }))
}

/// Stores a secret, or replaces its value.
///
/// Agents refer to it as `{"secret": "name"}`.
#[utoipa::path(put, path = "/api/secrets/{name}", tag = "Secrets", operation_id = "put_secret",
    params(SecretNameParam),
    request_body(content = SecretValue, description = "The secret's value."),
    responses((status = 204, description = "Stored.")))]
pub(crate) async fn store_secret(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    name: NamePath,
    body: Body,
) -> Result<StatusCode, Problem> {
    let name = parse_name(name)?;
    let value = parse_value(&body.map_err(ManageError::from)?)?;
    management.agents.store_secret_name(&name).await?;
    management.secrets.replace(&name, &value).await?;
    management
        .record(&actor, secret_entry(AuditEvent::SecretPut, name))
        .await;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a secret that no agent refers to.
#[utoipa::path(delete, path = "/api/secrets/{name}", tag = "Secrets", operation_id = "delete_secret",
    params(SecretNameParam),
    responses((status = 204, description = "Deleted.")))]
pub(crate) async fn delete_secret(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    name: NamePath,
) -> Result<StatusCode, Problem> {
    let name = parse_name(name)?;
    if !management.agents.has_secret_name(&name).await? {
        return Err(ManageError::SecretNotFound.into());
    }
    let agents = management.agents.list().await?;
    let named: Vec<&str> = agents_using(&agents, &name)
        .map(|record| record.agent.definition().name.as_str())
        .take(MOST_NAMED)
        .collect();
    if !named.is_empty() {
        return Err(ManageError::SecretInUse(named.join(", ")).into());
    }
    management.secrets.remove(&name).await?;
    management
        .record(
            &actor,
            secret_entry(AuditEvent::SecretDeleted, name.clone()),
        )
        .await;
    management.agents.delete_secret_name(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn secret_entry(event: AuditEvent, name: String) -> AuditEntry {
    AuditEntry {
        secret_name: Some(name),
        ..AuditEntry::new(event)
    }
}

fn parse_name(name: NamePath) -> Result<String, ManageError> {
    let Path(name) = name.map_err(|_| SecretError::Name)?;
    check_secret_name(&name)?;
    Ok(name)
}

/// Never returns an error of the JSON parser, because it could quote the secret.
fn parse_value(body: &[u8]) -> Result<String, ManageError> {
    let given = match body.trim_ascii() {
        // Only an object: serde would also accept an array, with the fields by position.
        json @ [b'{', ..] => {
            serde_json::from_slice::<SecretValue>(json).map_err(|_| SecretError::Value)?
        }
        _ => return Err(SecretError::Value.into()),
    };
    check_secret_value(&given.value)?;
    Ok(given.value)
}

fn agents_using<'a>(
    agents: &'a [StoredAgent],
    secret: &str,
) -> impl Iterator<Item = &'a StoredAgent> {
    agents
        .iter()
        .filter(move |record| record.agent.refers_to(secret))
}
