//! Repairs the result of `tools/call`.

use serde_json::{Map, Value, json};

pub(super) fn repair_called(result: Value) -> Value {
    let Value::Object(mut fields) = result else {
        return json!({ "content": repair_content(result), "isError": false });
    };
    let is_complete = match fields.get("resultType") {
        None | Some(Value::Null) => true,
        Some(kind) => kind == "complete",
    };
    // A task, or a request for input, which the SDK reports.
    if !is_complete {
        return fields.into();
    }
    let content = fields.remove("content");
    // `toolResult` is that of version 2024-10-07.
    let structured = ["structuredContent", "toolResult"]
        .into_iter()
        .find_map(|field| fields.remove(field).filter(|json| !json.is_null()));
    let is_error = fields.remove("isError").is_some_and(|error| match error {
        Value::Bool(is_error) => is_error,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => false,
    });
    fields.remove("_meta");
    fields.remove("resultType");
    let content = match content {
        // Fields of another name are the result itself.
        None if structured.is_none() && !fields.is_empty() => {
            vec![text_block(&Value::Object(fields).to_string())]
        }
        content => repair_content(content.unwrap_or_default()),
    };
    let mut repaired = json!({ "content": content, "isError": is_error });
    if let (Some(structured), Some(fields)) = (structured, repaired.as_object_mut()) {
        fields.insert("structuredContent".to_owned(), structured);
    }
    repaired
}

/// Content should be a list of blocks. Accepts one block, and text.
fn repair_content(content: Value) -> Vec<Value> {
    match content {
        Value::Null => Vec::new(),
        Value::Array(blocks) => blocks.into_iter().map(repair_block).collect(),
        block => vec![repair_block(block)],
    }
}

/// Keeps what the model sees of a block: text, or the description of other content.
fn repair_block(block: Value) -> Value {
    let Value::Object(mut fields) = block else {
        return match block {
            Value::String(text) => text_block(&text),
            other => text_block(&other.to_string()),
        };
    };
    let kind = match fields.remove("type") {
        Some(Value::String(kind)) => kind,
        _ => String::new(),
    };
    let mut text_of = |field| match fields.remove(field) {
        Some(Value::String(text)) => Some(text),
        None | Some(Value::Null) => None,
        Some(other) => Some(other.to_string()),
    };
    match kind.as_str() {
        "text" | "" => match text_of("text") {
            Some(text) => text_block(&text),
            None if kind.is_empty() => text_block(&Value::Object(fields).to_string()),
            None => text_block(""),
        },
        "image" | "audio" => {
            let mime_type = text_of("mimeType").unwrap_or_else(|| "of unknown type".to_owned());
            json!({ "type": kind, "data": "", "mimeType": mime_type })
        }
        "resource_link" => {
            let uri = text_of("uri").unwrap_or_default();
            let name = text_of("name").or_else(|| text_of("title"));
            json!({ "type": kind, "uri": uri, "name": name.as_deref().unwrap_or(&uri) })
        }
        "resource" => match fields.remove("resource") {
            Some(Value::Object(resource)) => repair_resource(resource),
            _ => text_block("[a resource]"),
        },
        other => text_block(&format!("[content of type {other}]")),
    }
}

fn repair_resource(mut resource: Map<String, Value>) -> Value {
    let mut text_of = |field| match resource.remove(field) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let uri = text_of("uri").unwrap_or_default();
    let mime_type = text_of("mimeType");
    let mut repaired = json!({ "uri": uri });
    let content = match (text_of("text"), text_of("blob")) {
        (Some(text), _) => ("text", text),
        (None, Some(_)) => ("blob", String::new()),
        (None, None) => ("text", format!("[a resource: {uri}]")),
    };
    if let Some(fields) = repaired.as_object_mut() {
        fields.insert(content.0.to_owned(), content.1.into());
        if let Some(mime_type) = mime_type {
            fields.insert("mimeType".to_owned(), mime_type.into());
        }
    }
    json!({ "type": "resource", "resource": repaired })
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}
