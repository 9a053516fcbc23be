//! The Anthropic Messages API (<https://docs.claude.com/en/api/messages>).

use domain::{
    ChatMessage, Fault, ModelReply, Provider, ToolCall, ToolResult, ToolSpec, json_fields,
};
use serde_json::{Map, Value, json};

use super::call::or_nothing;
use super::content::{BlockKind, add_block, parse_blocks, parse_stop_reason, without_blank_texts};
use super::endpoint::{endpoint, split_query};
use super::foreign::{ReplyError, optional_fields, parse_count, parse_echo, parse_string};
use super::http::Request;
use super::refusal::advise_on_fields;
use super::{ModelCall, Protocol, as_object, echoed_blocks};

/// The only version.
const VERSION: &str = "2023-06-01";

pub(super) const PROTOCOL: Protocol = Protocol {
    request: |_, model_call| request(model_call),
    can_enforce,
    parse_reply,
    error_codes: ERROR_CODES,
    advice: advise_on_fields,
};

/// <https://docs.claude.com/en/api/errors>
const ERROR_CODES: &[&str] = &[
    "api_error",
    "authentication_error",
    "billing_error",
    "invalid_request_error",
    "not_found_error",
    "overloaded_error",
    "permission_error",
    "rate_limit_error",
    "request_too_large",
    "timeout_error",
    "unsupported_country_region_territory",
];

fn request(model_call: &ModelCall<'_>) -> Result<Request, Fault> {
    let (base, query) = split_query(model_call.base_url());
    let base = base.trim_end_matches('/');
    // Some owners include the version in the URL, as for other providers.
    let base = base.strip_suffix("/v1").unwrap_or(base);
    let mut url = endpoint(base, "v1/messages")?;
    url.set_query(query);
    let mut request = Request::json(url, &request_body(model_call));
    request.headers.insert(
        "anthropic-version",
        reqwest::header::HeaderValue::from_static(VERSION),
    );
    match model_call.api_key {
        Some(key) => request.with_secret("x-api-key", key),
        None => Ok(request),
    }
}

fn request_body(model_call: &ModelCall<'_>) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": model_call.user_message() })];
    messages.extend(model_call.messages.iter().map(message_json));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(model_call.model.name));
    set("max_tokens", model_call.max_output_tokens.into());
    if let Some(schema) = model_call.enforced_schema() {
        set(
            "output_config",
            json!({ "format": { "type": "json_schema", "schema": schema } }),
        );
    }
    if let Some(system) = model_call.system_message() {
        set("system", system.into());
    }
    set("messages", messages.into());
    if !model_call.tools.is_empty() {
        set("tools", model_call.tools.iter().map(tool_json).collect());
    }
    body.into()
}

/// Whether the API accepts this schema as the format of answers. It refuses all others
/// (<https://docs.claude.com/en/docs/build-with-claude/structured-outputs>).
fn can_enforce(schema: &Value) -> bool {
    let Some(fields) = schema.as_object() else {
        return false;
    };
    let is_object =
        fields.contains_key("properties") || fields.get("type") == Some(&"object".into());
    let is_closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
    let each_can = |(keyword, value): (&String, &Value)| match keyword.as_str() {
        "type" | "enum" | "const" | "required" | "title" | "description" | "default" | "$ref" => {
            true
        }
        "additionalProperties" => is_closed,
        "items" => can_enforce(value),
        "properties" | "$defs" | "definitions" => value
            .as_object()
            .is_some_and(|schemas| schemas.values().all(can_enforce)),
        "anyOf" | "allOf" => value
            .as_array()
            .is_some_and(|schemas| schemas.iter().all(can_enforce)),
        _ => false,
    };
    (is_closed || !is_object) && fields.iter().all(each_can)
}

fn tool_json(spec: &ToolSpec) -> Value {
    let ToolSpec {
        name,
        description,
        parameters,
    } = spec;
    json!({ "name": name, "description": description, "input_schema": parameters })
}

fn message_json(message: &ChatMessage) -> Value {
    match message {
        ChatMessage::Model { text, calls, echo } => {
            let echoed = echoed_blocks(echo.as_ref(), Provider::Anthropic, calls, call_id);
            json!({ "role": "assistant", "content": echoed.unwrap_or_else(|| content_blocks(text, calls)) })
        }
        ChatMessage::Tools(results) => {
            json!({ "role": "user", "content": results.iter().map(tool_result_json).collect::<Vec<_>>() })
        }
        ChatMessage::Correction(text) => json!({ "role": "user", "content": text }),
    }
}

fn content_blocks(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let has_text = !text.trim().is_empty() || calls.is_empty();
    let text = has_text.then(|| json!({ "type": "text", "text": or_nothing(text) }));
    let call = |call: &ToolCall| {
        let ToolCall {
            id,
            name,
            arguments,
        } = call;
        json!({ "type": "tool_use", "id": id, "name": name, "input": as_object(arguments) })
    };
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call_id(block: &mut Value) -> Option<&mut Value> {
    let is_call = block.get("type").is_some_and(|kind| kind == "tool_use");
    let fields = block.as_object_mut().filter(|_| is_call)?;
    Some(fields.entry("id").or_insert(Value::Null))
}

fn tool_result_json(result: &ToolResult) -> Value {
    let ToolResult {
        id,
        content,
        is_error,
        ..
    } = result;
    let content = or_nothing(content);
    json!({ "type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error })
}

fn parse_reply(body: &str) -> Result<ModelReply, ReplyError> {
    let names = ["model", "content", "stop_reason", "usage", "type"];
    let [model, content, stop_reason, usage, kind] = json_fields(body, names)?.values;
    let is_message = content.is_some() || parse_string(kind).as_deref() == Some("message");
    if !is_message {
        return Err(ReplyError::NotAReply);
    }
    let content = parse_blocks(content)?;
    let names = [
        "input_tokens",
        // Not included in `input_tokens`.
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
    ];
    let [input, created, read, output] = optional_fields(usage, names).map(parse_count);
    let mut reply = ModelReply {
        model: parse_string(model).unwrap_or_default(),
        stop: parse_stop_reason(parse_string(stop_reason).as_deref()),
        input_tokens: input.saturating_add(created).saturating_add(read),
        output_tokens: output,
        ..ModelReply::default()
    };
    let mut is_signed = false;
    for block in &content {
        is_signed |= add_block(block, &mut reply)? == BlockKind::Signed;
    }
    // Thinking must go back unchanged and in place, or the API refuses the next turn.
    if is_signed {
        let blocks = parse_echo(&without_blank_texts(&content))?;
        reply.echo = Some(json!({ Provider::Anthropic.as_str(): blocks }));
    }
    Ok(reply)
}
