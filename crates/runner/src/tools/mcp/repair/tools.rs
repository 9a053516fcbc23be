//! Repairs the result of `tools/list`.

use serde_json::{Map, Value, json};

use super::SkippedTool;

/// Most tools of a list that are remembered as skipped.
const MAX_SKIPPED: usize = 64;
/// Longer names of skipped tools are not remembered. A name is not cut, because a part of a secret
/// would not be found in it.
const MAX_NAME_BYTES: usize = 128;

pub(super) fn repair_tools(result: Value) -> (Value, Vec<SkippedTool>) {
    let (mut fields, list) = match result {
        Value::Array(list) => (Map::new(), list),
        Value::Object(mut fields) => match fields.remove("tools") {
            Some(Value::Array(list)) => (fields, list),
            Some(tool @ Value::Object(_)) => (fields, vec![tool]),
            _ => (fields, Vec::new()),
        },
        _ => (Map::new(), Vec::new()),
    };
    let (mut tools, mut skipped) = (Vec::with_capacity(list.len()), Vec::new());
    for (place, tool) in list.into_iter().enumerate() {
        match repair_tool(tool) {
            Ok(tool) => tools.push(tool),
            Err((name, reason)) if skipped.len() < MAX_SKIPPED => {
                let name = name.filter(|name| name.len() <= MAX_NAME_BYTES);
                let name = name.unwrap_or_else(|| format!("number {}", place + 1));
                skipped.push(SkippedTool { name, reason });
            }
            Err(_) => {}
        }
    }
    // An empty cursor would list the first page again.
    let cursor = match fields.remove("nextCursor") {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let mut repaired = json!({ "tools": tools });
    if let Some(repaired) = repaired.as_object_mut() {
        if let Some(kind @ Value::String(_)) = fields.remove("resultType") {
            repaired.insert("resultType".to_owned(), kind);
        }
        if let Some(cursor) = cursor {
            repaired.insert("nextCursor".to_owned(), cursor.into());
        }
    }
    (repaired, skipped)
}

/// The name, the description and the schema of a tool. Or its name and why it cannot be offered.
fn repair_tool(tool: Value) -> Result<Value, (Option<String>, &'static str)> {
    let Value::Object(mut tool) = tool else {
        return Err((None, "it is not an object"));
    };
    let name = match tool.remove("name") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ => return Err((None, "it has no name")),
    };
    let schema = ["inputSchema", "input_schema", "parameters"]
        .into_iter()
        .find_map(|field| tool.remove(field).filter(|schema| !schema.is_null()));
    let schema = match schema {
        None | Some(Value::Bool(true)) => json!({ "type": "object", "properties": {} }),
        Some(schema @ Value::Object(_)) => schema,
        Some(_) => return Err((Some(name), "its `inputSchema` is not an object")),
    };
    let is_other_type = |kind: &Value| {
        let kind = kind.as_str();
        kind.is_some_and(|kind| !kind.is_empty() && !kind.eq_ignore_ascii_case("object"))
    };
    if schema.get("type").is_some_and(is_other_type) {
        return Err((
            Some(name),
            "the `type` of its `inputSchema` is not `object`",
        ));
    }
    let mut repaired = json!({ "name": name, "inputSchema": schema });
    let description = ["description", "title"]
        .into_iter()
        .find_map(|field| tool.remove(field).filter(Value::is_string));
    if let (Some(description), Some(fields)) = (description, repaired.as_object_mut()) {
        fields.insert("description".to_owned(), description);
    }
    Ok(repaired)
}
