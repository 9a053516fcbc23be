//! Entries of the audit log: which management change was made, by whom and from where.
//!
//! An entry names the changed fields. It shows their values only if they determine where data is
//! sent or whether the agent runs. Of a URL it shows only the origin, because a path or a query can
//! contain a key.

mod differences;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Definition;
pub use differences::FieldChange;
use differences::find_differences;

/// The kind of an event in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditEvent {
    /// An agent was created.
    AgentCreated,
    /// An agent's definition was changed.
    AgentUpdated,
    /// An agent was enabled, and nothing else was changed.
    AgentEnabled,
    /// An agent was disabled, and nothing else was changed.
    AgentDisabled,
    /// An agent was deleted.
    AgentDeleted,
    /// An agent got a new webhook URL.
    WebhookRotated,
    /// A secret was stored or replaced.
    SecretPut,
    /// A secret was deleted.
    SecretDeleted,
    /// A document was added or replaced.
    DocumentAdded,
    /// A document was deleted.
    DocumentDeleted,
    /// A model was tested.
    ModelTested,
    /// An MCP server was asked for its tools, or an OpenAPI document was downloaded.
    ToolInspected,
    /// A tool was called as a test.
    ToolCalled,
    /// A console session began.
    SignedIn,
    /// A console session was ended by its holder.
    SignedOut,
    /// A sign-in with a wrong admin token.
    SignInFailed,
    /// A management request with a wrong admin token.
    TokenRejected,
    /// A wrong admin token from an address that had sent too many. The response was 429.
    AttemptsLimited,
    /// A change with a console session that may have come from another site.
    CrossOriginRefused,
    /// The number of refused attempts in a minute that have no entry of their own.
    AttemptsOmitted,
    /// An event that this version does not know.
    #[serde(other)]
    Unknown,
}

impl AuditEvent {
    /// As in log lines and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentCreated => "agent_created",
            Self::AgentUpdated => "agent_updated",
            Self::AgentEnabled => "agent_enabled",
            Self::AgentDisabled => "agent_disabled",
            Self::AgentDeleted => "agent_deleted",
            Self::WebhookRotated => "webhook_rotated",
            Self::SecretPut => "secret_put",
            Self::SecretDeleted => "secret_deleted",
            Self::DocumentAdded => "document_added",
            Self::DocumentDeleted => "document_deleted",
            Self::ModelTested => "model_tested",
            Self::ToolInspected => "tool_inspected",
            Self::ToolCalled => "tool_called",
            Self::SignedIn => "signed_in",
            Self::SignedOut => "signed_out",
            Self::SignInFailed => "sign_in_failed",
            Self::TokenRejected => "token_rejected",
            Self::AttemptsLimited => "attempts_limited",
            Self::CrossOriginRefused => "cross_origin_refused",
            Self::AttemptsOmitted => "attempts_omitted",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a request was refused. Unauthenticated callers can cause these events.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::TokenRejected
                | Self::AttemptsLimited
                | Self::CrossOriginRefused
                | Self::AttemptsOmitted
        )
    }

    /// The event of an update, derived from the names of the fields that changed.
    pub fn for_update(fields: &[String], is_enabled: bool) -> Self {
        match (fields, is_enabled) {
            ([field], true) if field == "enabled" => Self::AgentEnabled,
            ([field], false) if field == "enabled" => Self::AgentDisabled,
            _ => Self::AgentUpdated,
        }
    }
}

/// How the caller of a change was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditActor {
    /// The admin token.
    AdminToken,
    /// A console session.
    Session,
    /// Not authenticated: the attempt was refused.
    Unauthenticated,
    /// The server itself.
    Server,
}

impl AuditActor {
    /// As in log lines and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token",
            Self::Session => "session",
            Self::Unauthenticated => "unauthenticated",
            Self::Server => "server",
        }
    }
}

/// One event of the audit log. Fields that do not apply to the event are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The entry's id, which is also in its log line.
    pub id: String,
    /// The time of the event.
    #[schema(format = "date-time")]
    pub at: String,
    /// The kind of event.
    pub event: AuditEvent,
    /// How the caller was authenticated.
    pub actor: AuditActor,
    /// The public id of the console session, which cannot be used as a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session_id: Option<String>,
    /// The caller's IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// The agent's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent_id: Option<String>,
    /// The agent's name after the change. Not in the log line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent_name: Option<String>,
    /// The name of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub secret_name: Option<String>,
    /// The document's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source_id: Option<String>,
    /// The document's title. Not in the log line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    /// The size of the document, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub bytes: Option<u64>,
    /// The number of passages of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub passages: Option<u32>,
    /// The server that a test called: scheme, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub server: Option<String>,
    /// The tool and the operation that a test called, such as `shop.get_order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tool: Option<String>,
    /// How long the old webhook URL keeps working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub overlap_seconds: Option<u64>,
    /// The paths of the fields that changed, such as `prompt` or `tools.shop.headers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The old and new values of changed fields whose values may be shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// The number of refused attempts that the entry represents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub attempts: Option<u64>,
    /// The number of addresses that those attempts came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub addresses: Option<u32>,
}

impl AuditEntry {
    /// An entry of this event. The caller fills in the other fields.
    pub fn new(event: AuditEvent) -> Self {
        Self {
            id: String::new(),
            at: String::new(),
            event,
            actor: AuditActor::Unauthenticated,
            session_id: None,
            address: None,
            agent_id: None,
            agent_name: None,
            secret_name: None,
            source_id: None,
            title: None,
            bytes: None,
            passages: None,
            server: None,
            tool: None,
            overlap_seconds: None,
            fields: Vec::new(),
            changes: Vec::new(),
            attempts: event.is_refusal().then_some(1),
            addresses: None,
        }
    }

    /// The same entry with the differences between two definitions of its agent.
    #[must_use]
    pub fn with_differences(self, old: Option<&Definition>, new: &Definition) -> Self {
        let (fields, changes) = find_differences(old, new);
        Self {
            fields,
            changes,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn enabling_alone_is_an_event_of_its_own() {
        let event = |fields: &[&str], is_enabled| {
            AuditEvent::for_update(
                &fields
                    .iter()
                    .map(|field| (*field).to_owned())
                    .collect::<Vec<_>>(),
                is_enabled,
            )
        };
        assert_eq!(event(&["enabled"], true), AuditEvent::AgentEnabled);
        assert_eq!(event(&["enabled"], false), AuditEvent::AgentDisabled);
        assert_eq!(
            event(&["enabled", "prompt"], false),
            AuditEvent::AgentUpdated
        );
        assert_eq!(event(&[], true), AuditEvent::AgentUpdated);
    }

    #[test]
    fn an_event_has_one_name_everywhere_and_an_event_of_a_later_version_is_unknown() {
        let event = AuditEvent::AttemptsOmitted;
        assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        let later: AuditEvent = serde_json::from_value(json!("agent_copied")).unwrap();
        assert_eq!(later, AuditEvent::Unknown);
    }
}
