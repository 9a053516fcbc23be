//! The differences between two definitions of an agent, for the audit log.

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

/// The paths of the fields that differ, and the values of those whose values may be shown.
pub(super) fn find_differences(
    old: Option<&Definition>,
    new: &Definition,
) -> (Vec<String>, Vec<FieldChange>) {
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
    let changes = paths
        .iter()
        .copied()
        .filter(|path| shows_value(path))
        .take(MAX_SHOWN);
    let changes = changes.map(|path| shown(&path)).collect();
    let fields = paths.into_iter().take(MAX_FIELDS).cloned().collect();
    (fields, changes)
}

/// The fields of a definition by their paths. Each list except `tools` is one field, and so is each
/// object whose keys the agent's owner chooses, such as headers. Each part of `oauth` is a field.
fn fields_of(definition: &Definition) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    // A definition has no keys that are not strings.
    let Ok(Value::Object(definition)) = serde_json::to_value(definition) else {
        return fields;
    };
    for (name, value) in definition {
        match (name.as_str(), value) {
            ("model" | "limits", Value::Object(parts)) => {
                fields.extend(
                    parts
                        .into_iter()
                        .map(|(part, value)| (format!("{name}.{part}"), value)),
                );
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
    let name = ["name", "type"]
        .into_iter()
        .find_map(|key| tool.get(key).and_then(Value::as_str));
    let first = format!("tools.{}", name.unwrap_or_default());
    // Two tools with the same name are two sets of fields.
    let is_free = |path: &String| !fields.contains_key(&format!("{path}.type"));
    let numbered = (2..).map(|number| format!("{first}#{number}"));
    let path = std::iter::once(first.clone())
        .chain(numbered)
        .find(is_free)
        .unwrap_or(first.clone());
    let Value::Object(parts) = tool else { return };
    for (part, value) in parts {
        match (part.as_str(), value) {
            ("oauth", Value::Object(oauth)) => fields.extend(
                oauth
                    .into_iter()
                    .map(|(part, value)| (format!("{path}.oauth.{part}"), value)),
            ),
            (_, value) => _ = fields.insert(format!("{path}.{part}"), value),
        }
    }
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
    use crate::{AuditEntry, AuditEvent};

    fn definition(definition: Value) -> Definition {
        serde_json::from_value(definition).unwrap()
    }

    fn differences(old: Value, new: Value) -> AuditEntry {
        AuditEntry::new(AuditEvent::AgentUpdated)
            .with_differences(Some(&definition(old)), &definition(new))
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
        let fields = [
            "limits.max_turns",
            "prompt",
            "sources",
            "tools.shop.headers",
            "tools.shop.url",
        ];
        assert_eq!(entry.fields, fields);
        let [change] = &entry.changes[..] else {
            panic!("{:?}", entry.changes)
        };
        assert_eq!(
            (change.old.as_deref(), change.new.as_deref()),
            (Some("http://a"), Some("http://b"))
        );
        assert!(!serde_json::to_string(&entry).unwrap().contains("secret"));
    }

    #[test]
    fn a_changed_token_endpoint_is_shown_as_its_origin() {
        let tool = |url: &str, secret: &str| {
            let oauth = json!({ "grant": "client_credentials", "client_id": "c", "token_url": url, "client_secret": { "secret": secret } });
            let tool = json!({ "type": "mcp", "name": "shop", "url": "http://a", "allow": ["x"], "oauth": oauth });
            json!({ "name": "a", "tools": [tool] })
        };
        let entry = differences(
            tool("https://auth.example/token", "old"),
            tool("https://evil.example/token", "new"),
        );
        let fields = [
            "tools.shop.oauth.client_secret",
            "tools.shop.oauth.token_url",
        ];
        assert_eq!(entry.fields, fields);
        let change = FieldChange {
            field: "tools.shop.oauth.token_url".into(),
            old: Some("https://auth.example".into()),
            new: Some("https://evil.example".into()),
        };
        assert_eq!(entry.changes, [change]);
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
    fn an_entry_is_bounded_whatever_the_definition_holds() {
        let tool = |n: usize| json!({ "type": "mcp", "name": format!("tool-{n}"), "url": format!("http://{n}.example"), "allow": ["x"] });
        let tools: Vec<Value> = (0..300).map(tool).collect();
        let entry = AuditEntry::new(AuditEvent::AgentCreated)
            .with_differences(None, &definition(json!({ "name": "a", "tools": tools })));
        assert_eq!(
            (entry.fields.len(), entry.changes.len()),
            (MAX_FIELDS, MAX_SHOWN)
        );
    }
}
