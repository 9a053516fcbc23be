//! Entries of the audit log: which management change was made, by whom and from where.
//!
//! An entry names the changed fields. It shows their values only if they determine where data is
//! sent or whether the agent runs. Of a URL it shows only the origin, because a path or a query can
//! contain a key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::Definition;
use crate::agent::tools::ADDRESS_FIELDS;

/// Limits the number of named fields, so that an entry stays small.
const MAX_FIELDS: usize = 200;
/// Limits the number of fields whose values are shown.
const MAX_SHOWN: usize = 100;
/// Longest value that an entry shows: a scheme, a host name of 253 characters and a port.
const MAX_SHOWN_CHARS: usize = 272;

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

/// A field whose values an entry shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// The field's path, such as `model.base_url`.
    pub field: String,
    /// The value before; of a URL its origin. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub old: Option<String>,
    /// The value after; of a URL its origin. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub new: Option<String>,
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
        let (old, new) = (old.map(fields_of).unwrap_or_default(), fields_of(new));
        let changed = |path: &&String| old.get(*path) != new.get(*path);
        let mut paths: Vec<&String> = old.keys().chain(new.keys()).filter(changed).collect();
        paths.sort_unstable();
        paths.dedup();
        let shown = |path: &&String| FieldChange {
            field: (*path).clone(),
            old: old.get(*path).and_then(|value| shown(path, value)),
            new: new.get(*path).and_then(|value| shown(path, value)),
        };
        let changes = paths.iter().copied().filter(|path| shows_value(path)).take(MAX_SHOWN);
        let changes = changes.map(|path| shown(&path)).collect();
        Self { fields: paths.into_iter().take(MAX_FIELDS).cloned().collect(), changes, ..self }
    }
}

/// The fields of a definition by their paths. Each list except `tools` is one field, and so is each
/// object whose keys the agent's owner chooses, such as headers.
fn fields_of(definition: &Definition) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    // A definition has no keys that are not strings.
    let Ok(Value::Object(definition)) = serde_json::to_value(definition) else { return fields };
    for (name, value) in definition {
        match (name.as_str(), value) {
            ("model" | "limits", Value::Object(parts)) => {
                fields.extend(parts.into_iter().map(|(part, value)| (format!("{name}.{part}"), value)));
            }
            ("tools", Value::Array(tools)) => {
                for tool in tools {
                    add_tool(&mut fields, tool);
                }
            }
            (_, value) => _ = fields.insert(name, value),
        }
    }
    fields
}

fn add_tool(fields: &mut BTreeMap<String, Value>, tool: Value) {
    let name = ["name", "type"].into_iter().find_map(|key| tool.get(key).and_then(Value::as_str));
    let first = format!("tools.{}", name.unwrap_or_default());
    // Two tools with the same name are two sets of fields.
    let is_free = |path: &String| !fields.contains_key(&format!("{path}.type"));
    let numbered = (2..).map(|number| format!("{first}#{number}"));
    let path = std::iter::once(first.clone()).chain(numbered).find(is_free).unwrap_or(first.clone());
    let Value::Object(parts) = tool else { return };
    fields.extend(parts.into_iter().map(|(part, value)| (format!("{path}.{part}"), value)));
}

/// Whether the field determines where data is sent or whether the agent runs.
fn shows_value(path: &str) -> bool {
    matches!(path, "enabled" | "model.provider") || is_address(path)
}

fn is_address(path: &str) -> bool {
    match path.rsplit_once('.') {
        Some((tool, field)) if tool.starts_with("tools.") => ADDRESS_FIELDS.contains(&field),
        _ => path == "model.base_url",
    }
}

fn shown(path: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(url) if is_address(path) => origin(url),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(text.chars().take(MAX_SHOWN_CHARS).collect())
}

/// Only scheme, host and port of the URL, which contain no secret.
fn origin(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.has_host() => url.origin().ascii_serialization(),
        _ => "not a URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(definition: Value) -> Definition {
        serde_json::from_value(definition).unwrap()
    }

    fn differences(old: Value, new: Value) -> AuditEntry {
        AuditEntry::new(AuditEvent::AgentUpdated).with_differences(Some(&definition(old)), &definition(new))
    }

    #[test]
    fn a_changed_model_address_is_shown_as_its_origin_without_path_query_or_credentials() {
        let model = |url: &str| json!({ "name": "a", "model": { "base_url": url, "name": "m" } });
        let entry = differences(
            model("https://api.example.com/v1"),
            model("https://user:pass-secret@evil.example:8443/path-secret?key=query-secret"),
        );
        assert_eq!(entry.fields, ["model.base_url"]);
        let change = FieldChange {
            field: "model.base_url".into(),
            old: Some("https://api.example.com".into()),
            new: Some("https://evil.example:8443".into()),
        };
        assert_eq!(entry.changes, [change]);
        assert!(!serde_json::to_string(&entry).unwrap().contains("secret"));
    }

    #[test]
    fn nested_fields_and_tools_are_named_and_their_values_are_not_shown() {
        let tool = |url: &str, header: &str| json!({ "type": "mcp", "name": "shop", "url": url, "allow": ["x"], "headers": { "X-Note": header } });
        let entry = differences(
            json!({ "name": "a", "prompt": "old-secret", "tools": [tool("http://a/mcp", "h1-secret")] }),
            json!({ "name": "a", "prompt": "new-secret", "limits": { "max_turns": 3 },
                    "sources": [{ "title": "t-secret", "text": "x" }], "tools": [tool("http://b/s/t-secret", "h2-secret")] }),
        );
        let fields = ["limits.max_turns", "prompt", "sources", "tools.shop.headers", "tools.shop.url"];
        assert_eq!(entry.fields, fields);
        let [change] = &entry.changes[..] else { panic!("{:?}", entry.changes) };
        assert_eq!((change.old.as_deref(), change.new.as_deref()), (Some("http://a"), Some("http://b")));
        assert!(!serde_json::to_string(&entry).unwrap().contains("secret"));
    }

    #[test]
    fn two_tools_with_the_same_name_do_not_hide_changes_of_each_other() {
        let tools = |first: &str, second: &str| {
            let tool = |url| json!({ "type": "mcp", "name": "shop", "url": url, "allow": ["x"] });
            json!({ "name": "a", "tools": [tool(first), tool(second)] })
        };
        let entry = differences(tools("http://a", "http://b"), tools("http://c", "http://b"));
        assert_eq!(entry.fields, ["tools.shop.url"]);
    }

    #[test]
    fn enabling_alone_is_an_event_of_its_own() {
        let event = |fields: &[&str], is_enabled| {
            AuditEvent::for_update(
                &fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>(),
                is_enabled,
            )
        };
        assert_eq!(event(&["enabled"], true), AuditEvent::AgentEnabled);
        assert_eq!(event(&["enabled"], false), AuditEvent::AgentDisabled);
        assert_eq!(event(&["enabled", "prompt"], false), AuditEvent::AgentUpdated);
        assert_eq!(event(&[], true), AuditEvent::AgentUpdated);
    }

    #[test]
    fn an_event_has_one_name_everywhere_and_an_event_of_a_later_version_is_unknown() {
        let event = AuditEvent::AttemptsOmitted;
        assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        let later: AuditEvent = serde_json::from_value(json!("agent_copied")).unwrap();
        assert_eq!(later, AuditEvent::Unknown);
    }

    #[test]
    fn an_entry_is_bounded_whatever_the_definition_holds() {
        let tool = |n: usize| json!({ "type": "mcp", "name": format!("tool-{n}"), "url": format!("http://{n}.example"), "allow": ["x"] });
        let tools: Vec<Value> = (0..300).map(tool).collect();
        let entry = AuditEntry::new(AuditEvent::AgentCreated)
            .with_differences(None, &definition(json!({ "name": "a", "tools": tools })));
        assert_eq!((entry.fields.len(), entry.changes.len()), (MAX_FIELDS, MAX_SHOWN));
    }
}
