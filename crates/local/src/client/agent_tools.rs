//! The tools in an agent's definition, as JSON.

use serde_json::{Map, Value, json};

use super::{ClientError, text_field};

/// Parses `HEADER: PREFIX{SECRET}`.
pub(super) fn parse_secret_headers(given: &[String]) -> Result<Map<String, Value>, ClientError> {
    let malformed = ClientError::Usage(
        "--secret-header must be HEADER: {SECRET}, such as 'Authorization: Bearer {NAME}'; store the secret \
         with `agent-webhooks secret set NAME`",
    );
    let parsed = given.iter().map(|header| {
        let (name, value) = header.split_once(':')?;
        let (prefix, secret) = value.trim().strip_suffix('}')?.split_once('{')?;
        let mut source = json!({ "secret": secret });
        if let (false, Some(fields)) = (prefix.is_empty(), source.as_object_mut()) {
            fields.insert("prefix".into(), prefix.into());
        }
        Some((name.trim().to_owned(), source))
    });
    parsed.collect::<Option<_>>().ok_or(malformed)
}

pub(super) fn tools_of_agent(agent: &Value) -> Vec<Value> {
    agent
        .get("tools")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// The name of an API or server. Other tools have no name, so theirs is the type.
pub(super) fn name_of_tool(tool: &Value) -> &str {
    match text_field(tool, "name") {
        "" => text_field(tool, "type"),
        name => name,
    }
}
