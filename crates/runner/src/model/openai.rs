//! The OpenAI chat completions API, which OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and others
//! implement (<https://platform.openai.com/docs/api-reference/chat>).

use domain::{ChatMessage, Fault, ModelReply, Provider, StopReason, ToolSpec};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::foreign::{AtMost, MAX_CALLS, ReplyError, parse_arguments, parse_echo, parse_string};
use super::http::{Request, advise_on_fields};
use super::{ModelCall, Protocol, endpoint, or_nothing};

pub(super) const PROTOCOL: Protocol = Protocol {
    request: |_, model_call| request(model_call),
    can_enforce: |_| true,
    parse_reply,
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
    messages.extend(model_call.messages.iter().flat_map(message_json));
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
fn message_json(message: &ChatMessage) -> Vec<Value> {
    match message {
        ChatMessage::Model { text, calls, echo } => {
            let calls: Vec<Value> = calls.iter().map(tool_call_json).collect();
            let content = match text.trim().is_empty() && !calls.is_empty() {
                true => Value::Null,
                false => or_nothing(text).into(),
            };
            let mut message = Map::from_iter([
                ("role".to_owned(), "assistant".into()),
                ("content".to_owned(), content),
            ]);
            if !calls.is_empty() {
                message.insert("tool_calls".to_owned(), calls.into());
            }
            let echo = echo.as_ref().and_then(|echo| echo.get(Provider::Openai.as_str()));
            message.extend(
                echo.and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())),
            );
            vec![message.into()]
        }
        ChatMessage::Tools(results) => results
            .iter()
            .map(|result| json!({ "role": "tool", "tool_call_id": result.id, "content": or_nothing(&result.content) }))
            .collect(),
        ChatMessage::Correction(text) => vec![json!({ "role": "user", "content": text })],
    }
}

fn tool_call_json(call: &domain::ToolCall) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn parse_reply(body: &[u8]) -> Result<ModelReply, ReplyError> {
    let completion: Completion<'_> = serde_json::from_slice(body)?;
    let counts = completion.usage.unwrap_or_default();
    let reply = ModelReply {
        model: completion.model.unwrap_or_default(),
        input_tokens: counts.prompt_tokens,
        output_tokens: counts.completion_tokens,
        ..ModelReply::default()
    };
    match completion.choices.items.into_iter().next() {
        Some(choice) => choice.into_reply(reply),
        None => Ok(ModelReply {
            stop: StopReason::Broken,
            ..reply
        }),
    }
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(default)]
    model: Option<String>,
    /// We request one choice.
    #[serde(borrow)]
    choices: AtMost<Choice<'a>, 1>,
    #[serde(default)]
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    content: Option<String>,
    /// The model's explanation when it refuses to answer.
    #[serde(default)]
    refusal: Option<String>,
    /// The reasoning, as named by OpenRouter and Ollama.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<AtMost<ToolCall<'a>, MAX_CALLS>>,
    /// The reasoning, as named by DeepSeek, vLLM and llama.cpp.
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl Choice<'_> {
    fn into_reply(self, reply: ModelReply) -> Result<ModelReply, ReplyError> {
        let message = self.message;
        let stop = match self.finish_reason.as_deref() {
            Some("length" | "max_tokens") => StopReason::Length,
            Some("model_length") => StopReason::ContextFull,
            Some("content_filter") => StopReason::Filtered,
            // Errors inside DeepSeek, OpenRouter and vLLM.
            Some("insufficient_system_resource" | "error" | "abort") => StopReason::Broken,
            _ if message.refusal.is_some() => StopReason::Refused,
            _ => StopReason::Stop,
        };
        let echo = message.echo()?;
        let thought = parse_string(message.reasoning_content)
            .or(message.reasoning)
            .unwrap_or_default();
        let calls = message
            .tool_calls
            .unwrap_or_default()
            .items
            .into_iter()
            .map(ToolCall::into_call);
        let calls = calls.collect::<Result<_, _>>()?;
        Ok(ModelReply {
            text: message.content.unwrap_or_default(),
            thought,
            calls,
            echo,
            stop,
            ..reply
        })
    }
}

impl Message<'_> {
    /// The fields that must go back to the server with the tool calls of a message. DeepSeek
    /// requires the reasoning, OpenRouter the reasoning with signatures.
    fn echo(&self) -> Result<Option<Value>, ReplyError> {
        let fields = [
            ("reasoning_content", self.reasoning_content),
            ("reasoning_details", self.reasoning_details),
        ];
        let (names, values): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .unzip();
        if names.is_empty() {
            return Ok(None);
        }
        let fields: Map<String, Value> = names.into_iter().zip(parse_echo(&values)?).collect();
        Ok(Some(json!({ Provider::Openai.as_str(): fields })))
    }
}

impl ToolCall<'_> {
    fn into_call(self) -> Result<domain::ToolCall, ReplyError> {
        let Function {
            name,
            arguments: written,
        } = self.function;
        Ok(domain::ToolCall {
            id: self.id.unwrap_or_default(),
            name,
            arguments: parse_arguments(written)?,
        })
    }
}
