//! Changing, rotating and deleting agents.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::agent::imported_token_name;
use domain::{AgentDraft, AuditEntry, AuditEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AgentRecord, Webhook};
use utoipa::ToSchema;

use super::view::{AgentView, WebhookUrl};
use super::{AgentPath, Body, ManageError, Management, audit_entry, own_api_key};
use crate::Problem;
use crate::audit::Actor;
use crate::openapi::parameters::OfAgent;
use crate::openapi::shapes::AgentPatch;

/// Longest time an old URL may go on working: 30 days.
const MAX_OVERLAP_SECONDS: u64 = 2_592_000;

/// Old URLs that can work beside the new one; one more ends the oldest.
const MAX_PREVIOUS_TOKENS: usize = 10;

/// Changes an agent.
///
/// The body is a JSON merge patch (RFC 7396) of the definition: what is `null` is
/// taken out, what is absent stays.
#[utoipa::path(patch, path = "/api/agents/{id}", tag = "Agents", operation_id = "update_agent",
    params(OfAgent),
    request_body(content = AgentPatch, description = "What to change.", example = json!({ "enabled": false, "limits": { "timeout_seconds": 60 } })),
    responses((status = 200, description = "The agent as it is now.", body = AgentView)))]
pub(crate) async fn update(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
    body: Body,
) -> Result<Json<AgentView>, Problem> {
    let read = management.find(id).await?;
    let patch =
        serde_json::from_slice(&body.map_err(ManageError::from)?).map_err(|_| ManageError::NotAnObject)?;
    let record = management.update(&read, patch, &actor).await?;
    Ok(Json(management.view(&record).await?))
}

/// Deletes an agent.
///
/// Its webhook answers 404 from then on, and its queued tasks end as FAILURE.
#[utoipa::path(delete, path = "/api/agents/{id}", tag = "Agents", operation_id = "delete_agent",
    params(OfAgent),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
) -> Result<StatusCode, Problem> {
    let read = management.clear_out(management.find(id).await?).await?;
    management.agents.delete(&read, management.clock.now()).await.map_err(ManageError::from)?;
    management.record(&actor, audit_entry(AuditEvent::AgentDeleted, &read)).await;
    management.forget_secrets(&read).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives an agent a new webhook URL.
///
/// The old one goes on working for `overlap_seconds`; without a body it ends at once. Older ones that
/// still work end no later than it.
#[utoipa::path(post, path = "/api/agents/{id}/webhook/rotate", tag = "Agents", operation_id = "rotate_webhook",
    params(OfAgent),
    request_body(content = Option<Rotation>, description = "How long the old URL goes on working."),
    responses((status = 200, description = "The new URL.", body = WebhookUrl)))]
pub(crate) async fn rotate(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
    body: Body,
) -> Result<Json<WebhookUrl>, Problem> {
    let read = management.find(id).await?;
    let record = management.rotate(&read, overlap(&body.map_err(ManageError::from)?)?, &actor).await?;
    Ok(Json(management.url_view(&record).await?))
}

/// How a webhook URL is replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how long the old URL goes on working: up to 30 days.
    #[serde(default)]
    #[schema(maximum = 2_592_000, example = 3600)]
    overlap_seconds: u64,
}

fn overlap(body: &[u8]) -> Result<Duration, ManageError> {
    let rotation = match body {
        [] => Rotation::default(),
        // An object: an array would be read as one, by position.
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
        read: &AgentRecord,
        patch: Value,
        actor: &Actor,
    ) -> Result<AgentRecord, ManageError> {
        let Value::Object(fields) = &patch else { return Err(ManageError::NotAnObject) };
        if fields.contains_key("webhook_token") {
            return Err(ManageError::TokenFixed);
        }
        let mut definition = json!(read.agent.draft());
        merge(&mut definition, patch);
        let draft = AgentDraft::from_json(definition.to_string().as_bytes())?;
        let agent = read.agent.changed(draft)?;
        let agent = self.keep_api_key(agent).await?;
        let replaced = self.replace(read, AgentRecord { agent: agent.clone(), ..read.clone() }).await;
        if let Ok(record) = &replaced {
            self.record(actor, update_entry(read, record)).await;
        }
        // Whichever key nobody uses now is forgotten.
        let unused = match &replaced {
            Ok(_) => own_api_key(&read.agent).filter(|old| own_api_key(&agent) != Some(*old)),
            Err(ManageError::Conflict) => {
                own_api_key(&agent).filter(|new| own_api_key(&read.agent) != Some(*new))
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
        read: &AgentRecord,
        overlap: Duration,
        actor: &Actor,
    ) -> Result<AgentRecord, ManageError> {
        let now = self.clock.now();
        let version = read.webhook.version + 1;
        let last = now.plus(overlap);
        let mut previous = read.webhook.previous.clone();
        // Who replaces what leaked means every URL there was.
        for (_, until) in &mut previous {
            *until = last.min(*until);
        }
        previous.push((read.webhook.current.clone(), last));
        previous.retain(|(_, until)| now < *until);
        previous.drain(..previous.len().saturating_sub(MAX_PREVIOUS_TOKENS));
        let webhook = Webhook {
            version,
            imported: false,
            current: self.token(read.agent.id(), version).hash(),
            previous,
        };
        let record = self.replace(read, AgentRecord { webhook, ..read.clone() }).await?;
        let entry = audit_entry(AuditEvent::WebhookRotated, &record);
        self.record(actor, AuditEntry { overlap_seconds: Some(overlap.as_secs()), ..entry }).await;
        if read.webhook.imported {
            self.secrets.remove(&imported_token_name(read.agent.id())).await?;
        }
        Ok(record)
    }

    pub(crate) async fn replace(
        &self,
        read: &AgentRecord,
        record: AgentRecord,
    ) -> Result<AgentRecord, ManageError> {
        let now = self.clock.now();
        let mut record = AgentRecord { updated_at: now, revision: read.revision + 1, ..record };
        // An expired token may belong to another agent by now.
        record.webhook.previous.retain(|(_, until)| now < *until);
        self.agents.update(read, &record).await?;
        Ok(record)
    }

    pub(crate) async fn forget_secrets(&self, record: &AgentRecord) -> Result<(), ManageError> {
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

/// The audit log's entry of an update.
fn update_entry(read: &AgentRecord, record: &AgentRecord) -> AuditEntry {
    let (old, new) = (read.agent.draft(), record.agent.draft());
    let entry = audit_entry(AuditEvent::AgentUpdated, record).with_differences(Some(old), new);
    AuditEntry { event: AuditEvent::of_update(&entry.fields, new.enabled), ..entry }
}

/// JSON merge patch, RFC 7396 section 2. The nesting is that of a parsed value,
/// which the parser bounds.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
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
        merge(&mut target, json!({ "a": null, "b": { "c": 9, "d": null }, "e": { "f": { "g": null } } }));
        assert_eq!(target, json!({ "b": { "c": 9 }, "e": { "f": {} } }));
    }
}
