//! Updates and deletes agents, and rotates their webhooks.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::agent::imported_token_name;
use domain::{AuditEntry, AuditEvent, Definition};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{StoredAgent, Webhook};
use utoipa::ToSchema;

use super::view::{AgentView, WebhookUrl};
use super::{AgentPath, Body, ManageError, audit_entry, own_api_key};
use crate::audit::Actor;
use crate::openapi::parameters::AgentIdParam;
use crate::openapi::shapes::AgentPatch;
use crate::{Management, Problem};

/// The longest time that an old URL continues to work: 30 days.
const MAX_OVERLAP_SECONDS: u64 = 2_592_000;

/// How many old URLs can work in addition to the new one. One more ends the oldest.
const MAX_PREVIOUS_TOKENS: usize = 10;

/// Updates an agent.
///
/// The body is a JSON merge patch (RFC 7396) of the definition. Fields that are `null` are
/// removed. Fields that are absent do not change.
#[utoipa::path(patch, path = "/api/agents/{id}", tag = "Agents", operation_id = "update_agent",
    params(AgentIdParam),
    request_body(content = AgentPatch, description = "The fields to change.", example = json!({ "enabled": false, "limits": { "timeout_seconds": 60 } })),
    responses((status = 200, description = "The updated agent.", body = AgentView)))]
pub(crate) async fn update(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
    body: Body,
) -> Result<Json<AgentView>, Problem> {
    let current = management.find(id).await?;
    let patch = serde_json::from_slice(&body.map_err(ManageError::from)?)
        .map_err(|_| ManageError::NotAnObject)?;
    let record = management.update(&current, patch, &actor).await?;
    Ok(Json(management.view(&record).await?))
}

/// Deletes an agent.
///
/// From then on its webhook returns 404, and its queued tasks end in FAILURE.
#[utoipa::path(delete, path = "/api/agents/{id}", tag = "Agents", operation_id = "delete_agent",
    params(AgentIdParam),
    responses((status = 204, description = "Deleted.")))]
pub(crate) async fn delete(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
) -> Result<StatusCode, Problem> {
    let current = management
        .delete_documents(management.find(id).await?)
        .await?;
    management
        .agents
        .delete(&current, management.clock.now())
        .await
        .map_err(ManageError::from)?;
    management
        .record(&actor, audit_entry(AuditEvent::AgentDeleted, &current))
        .await;
    management.delete_agent_secrets(&current).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces an agent's webhook URL.
///
/// The old URL continues to work for `overlap_seconds`. Without a body it stops at once. Older URLs that
/// still work stop at the same time or earlier.
#[utoipa::path(post, path = "/api/agents/{id}/webhook/rotate", tag = "Agents", operation_id = "rotate_webhook",
    params(AgentIdParam),
    request_body(content = Option<Rotation>, description = "How long the old URL continues to work."),
    responses((status = 200, description = "The new URL.", body = WebhookUrl)))]
pub(crate) async fn rotate(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
    body: Body,
) -> Result<Json<WebhookUrl>, Problem> {
    let current = management.find(id).await?;
    let record = management
        .rotate(
            &current,
            parse_overlap(&body.map_err(ManageError::from)?)?,
            &actor,
        )
        .await?;
    Ok(Json(management.url_view(&record).await?))
}

/// Options for replacing a webhook URL.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// How long the old URL continues to work, in seconds: up to 30 days.
    #[serde(default)]
    #[schema(maximum = 2_592_000, example = 3600)]
    overlap_seconds: u64,
}

fn parse_overlap(body: &[u8]) -> Result<Duration, ManageError> {
    let rotation = match body {
        [] => Rotation::default(),
        // Only an object: serde would also accept an array, with the fields by position.
        json if json.trim_ascii().starts_with(b"{") => {
            serde_json::from_slice(json).map_err(ManageError::Rotation)?
        }
        _ => return Err(ManageError::NotAnObject),
    };
    if rotation.overlap_seconds > MAX_OVERLAP_SECONDS {
        return Err(ManageError::Overlap);
    }
    Ok(Duration::from_secs(rotation.overlap_seconds))
}

impl Management {
    async fn update(
        &self,
        current: &StoredAgent,
        patch: Value,
        actor: &Actor,
    ) -> Result<StoredAgent, ManageError> {
        let Value::Object(fields) = &patch else {
            return Err(ManageError::NotAnObject);
        };
        if fields.contains_key("webhook_token") {
            return Err(ManageError::TokenFixed);
        }
        let mut definition = json!(current.agent.definition());
        merge(&mut definition, patch);
        let definition = Definition::from_json(definition.to_string().as_bytes())?;
        let agent = current.agent.changed(definition)?;
        let agent = self.store_api_key(agent).await?;
        let replaced = self
            .replace(
                current,
                StoredAgent {
                    agent: agent.clone(),
                    ..current.clone()
                },
            )
            .await;
        if let Ok(record) = &replaced {
            self.record(actor, update_entry(current, record)).await;
        }
        // Delete the key that is no longer used: the old one, or after a conflict the new one.
        let unused = match &replaced {
            Ok(_) => own_api_key(&current.agent).filter(|old| own_api_key(&agent) != Some(*old)),
            Err(ManageError::Conflict) => {
                own_api_key(&agent).filter(|new| own_api_key(&current.agent) != Some(*new))
            }
            Err(_) => None,
        };
        if let Some(name) = unused {
            self.secrets.remove(name).await?;
        }
        replaced
    }

    async fn rotate(
        &self,
        current: &StoredAgent,
        overlap: Duration,
        actor: &Actor,
    ) -> Result<StoredAgent, ManageError> {
        let now = self.clock.now();
        let version = current.webhook.version + 1;
        let last = now.plus(overlap);
        let mut previous = current.webhook.previous.clone();
        // The owner may rotate because a URL leaked, so no older URL may outlive this overlap.
        for (_, until) in &mut previous {
            *until = last.min(*until);
        }
        previous.push((current.webhook.current.clone(), last));
        previous.retain(|(_, until)| now < *until);
        previous.drain(..previous.len().saturating_sub(MAX_PREVIOUS_TOKENS));
        let webhook = Webhook {
            version,
            imported: false,
            current: self.token(current.agent.id(), version).hash(),
            previous,
        };
        let record = self
            .replace(
                current,
                StoredAgent {
                    webhook,
                    ..current.clone()
                },
            )
            .await?;
        let entry = audit_entry(AuditEvent::WebhookRotated, &record);
        self.record(
            actor,
            AuditEntry {
                overlap_seconds: Some(overlap.as_secs()),
                ..entry
            },
        )
        .await;
        if current.webhook.imported {
            self.secrets
                .remove(&imported_token_name(current.agent.id()))
                .await?;
        }
        Ok(record)
    }

    pub(crate) async fn replace(
        &self,
        current: &StoredAgent,
        record: StoredAgent,
    ) -> Result<StoredAgent, ManageError> {
        let now = self.clock.now();
        let mut record = StoredAgent {
            updated_at: now,
            revision: current.revision + 1,
            ..record
        };
        // An expired token may belong to another agent by now.
        record.webhook.previous.retain(|(_, until)| now < *until);
        self.agents.update(current, &record).await?;
        Ok(record)
    }

    pub(crate) async fn delete_agent_secrets(
        &self,
        record: &StoredAgent,
    ) -> Result<(), ManageError> {
        let id = record.agent.id();
        if record.webhook.imported {
            self.secrets.remove(&imported_token_name(id)).await?;
        }
        if let Some(name) = own_api_key(&record.agent) {
            self.secrets.remove(name).await?;
        }
        Ok(())
    }
}

/// The audit entry of an update.
fn update_entry(current: &StoredAgent, record: &StoredAgent) -> AuditEntry {
    let (old, new) = (current.agent.definition(), record.agent.definition());
    let entry = audit_entry(AuditEvent::AgentUpdated, record).with_differences(Some(old), new);
    AuditEntry {
        event: AuditEvent::for_update(&entry.fields, new.enabled),
        ..entry
    }
}

/// JSON merge patch, RFC 7396 section 2. The recursion is limited because the parser limits
/// the nesting of `patch`.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_sets_removes_and_descends() {
        let mut target = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 4 });
        merge(
            &mut target,
            json!({ "a": null, "b": { "c": 9, "d": null }, "e": { "f": { "g": null } } }),
        );
        assert_eq!(target, json!({ "b": { "c": 9 }, "e": { "f": {} } }));
    }
}
