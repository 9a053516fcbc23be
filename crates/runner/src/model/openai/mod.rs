//! The OpenAI chat completions API, which OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and others
//! implement (<https://platform.openai.com/docs/api-reference/chat>).

mod reply;

use domain::agent::RequestPart;
use domain::{ChatMessage, Fault, Provider, ToolCall, ToolSpec};
use serde_json::{Map, Value, json};

use super::call::or_nothing;
use super::endpoint::endpoint;
use super::http::Request;
use super::refusal::advise_on_fields;
use super::{ModelCall, Protocol};

/// In a stored message, the other fields of each of its calls.
const CALL_FIELDS: &str = "call_fields";

pub(super) const PROTOCOL: Protocol = Protocol {
    request: |_, model_call| request(model_call),
    can_enforce: |_| true,
    parse_reply: reply::parse_reply,
    error_codes: ERROR_CODES,
    advice: advise_on_fields,
};

/// The codes of OpenAI (<https://platform.openai.com/docs/guides/error-codes>) and of servers
/// of its protocol: Azure, Groq, LiteLLM, llama.cpp, Ollama, Gemini, vLLM and
/// text-generation-inference.
const ERROR_CODES: &[&str] = &[
    "BadRequestError",
    "DeploymentNotFound",
    "Forbidden",
    "InternalServerError",
    "NotFoundError",
    "OperationNotSupported",
    "PermissionDenied",
    "RateLimitError",
    "RateLimitReached",
    "ResourceNotFound",
    "Unauthorized",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "account_deactivated",
    "array_above_max_length",
    "auth_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "budget_exceeded",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "context_window_exceeded",
    "engine_overloaded",
    "exceed_context_size_error",
    "insufficient_quota",
    "insufficient_system_resource",
    "integer_above_max_value",
    "integer_below_min_value",
    "internal_error",
    "internal_server_error",
    "invalid_api_key",
    "invalid_function_parameters",
    "invalid_json",
    "invalid_organization",
    "invalid_prompt",
    "invalid_type",
    "invalid_value",
    "ip_not_authorized",
    "json_validate_failed",
    "mismatched_organization",
    "missing_required_parameter",
    "model_decommissioned",
    "model_loading",
    "model_not_found",
    "not_supported_error",
    "overloaded",
    "rate_limit_exceeded",
    "requests",
    "server_error",
    "slow_down",
    "string_above_max_length",
    "tokens",
    "tool_use_failed",
    "unavailable_error",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
];

fn request(model_call: &ModelCall<'_>) -> Result<Request, Fault> {
    let url = endpoint(model_call.base_url(), "chat/completions")?;
    // Azure's own API takes the key in a header of its own.
    let is_azure = url.query_pairs().any(|(name, _)| name == "api-version");
    let request = Request::json(url, &request_body(model_call));
    match model_call.api_key {
        Some(key) if is_azure => request.with_secret("api-key", key),
        Some(key) => request.with_secret("authorization", &format!("Bearer {key}")),
        None => Ok(request),
    }
}

fn request_body(model_call: &ModelCall<'_>) -> Value {
    let mut messages: Vec<Value> = Vec::with_capacity(2 + model_call.messages.len());
    let system = model_call.system_message();
    messages.extend(system.map(|system| json!({ "role": "system", "content": system })));
    messages.push(json!({ "role": "user", "content": model_call.user_message() }));
    let empty_content = match model_call.is_refused(RequestPart::EmptyContent) {
        true => or_nothing("").into(),
        false => Value::Null,
    };
    let others = model_call.messages.iter();
    messages.extend(others.flat_map(|message| message_json(message, &empty_content)));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(model_call.model.name));
    set("messages", messages.into());
    if let Some(limit) = model_call.limit_part() {
        set(limit.as_str(), model_call.max_output_tokens.into());
    }
    set("stream", false.into());
    if !model_call.tools.is_empty() {
        set("tools", model_call.tools.iter().map(tool_json).collect());
    }
    if let Some(schema) = model_call.enforced_schema() {
        let schema = json!({ "name": "answer", "schema": schema });
        set(
            "response_format",
            json!({ "type": "json_schema", "json_schema": schema }),
        );
    }
    body.into()
}

fn tool_json(spec: &ToolSpec) -> Value {
    let ToolSpec {
        name,
        description,
        parameters,
    } = spec;
    json!({
        "type": "function",
        "function": { "name": name, "description": description, "parameters": parameters },
    })
}

/// A message in the form of this protocol. Each tool result of a turn is a message.
/// `empty_content` is the content of a message with calls and without text.
fn message_json(message: &ChatMessage, empty_content: &Value) -> Vec<Value> {
    match message {
        ChatMessage::Model { text, calls, echo } => {
            let content = match text.trim().is_empty() && !calls.is_empty() {
                true => empty_content.clone(),
                false => or_nothing(text).into(),
            };
            let echo = echo.as_ref();
            let echo = echo.and_then(|echo| echo.get(Provider::Openai.as_str())?.as_object());
            vec![model_message_json(content, calls, echo)]
        }
        ChatMessage::Tools(results) => results
            .iter()
            .map(|result| json!({ "role": "tool", "tool_call_id": result.id, "content": or_nothing(&result.content) }))
            .collect(),
        ChatMessage::Correction(text) => vec![json!({ "role": "user", "content": text })],
    }
}

fn model_message_json(
    content: Value,
    calls: &[ToolCall],
    echo: Option<&Map<String, Value>>,
) -> Value {
    let mut message = Map::from_iter([
        ("role".to_owned(), "assistant".into()),
        ("content".to_owned(), content),
    ]);
    let call_fields = echo.and_then(|echo| echo.get(CALL_FIELDS)?.as_array());
    if !calls.is_empty() {
        let fields = |place: usize| call_fields.and_then(|fields| fields.get(place)?.as_object());
        let calls = calls.iter().enumerate();
        let calls = calls.map(|(place, call)| tool_call_json(call, fields(place)));
        message.insert("tool_calls".to_owned(), calls.collect());
    }
    let fields = echo
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != CALL_FIELDS);
    message.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    message.into()
}

/// A call, with the fields that its server sent with it.
fn tool_call_json(call: &ToolCall, fields: Option<&Map<String, Value>>) -> Value {
    let mut function = Map::from_iter([
        ("name".to_owned(), call.name.as_str().into()),
        ("arguments".to_owned(), call.arguments.as_str().into()),
    ]);
    let mut json = Map::from_iter([
        ("id".to_owned(), call.id.as_str().into()),
        ("type".to_owned(), "function".into()),
    ]);
    for (name, value) in fields.into_iter().flatten() {
        match (name.as_str(), value.as_object()) {
            ("function", Some(fields)) => function.extend(fields.clone()),
            _ => {
                json.insert(name.clone(), value.clone());
            }
        }
    }
    json.insert("function".to_owned(), function.into());
    json.into()
}
