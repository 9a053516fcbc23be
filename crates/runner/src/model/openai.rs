//! The OpenAI chat completions API, which OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and others
//! implement (<https://platform.openai.com/docs/api-reference/chat>).

use domain::{
    ChatMessage, Fault, ModelReply, Provider, StopReason, ToolCall, ToolSpec, json_fields,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::content::{add_block, parse_blocks, plain_text};
use super::foreign::{
    AtMost, MAX_CALLS, ReplyError, optional_fields, other_fields, parse_arguments, parse_count, parse_echo,
    parse_id, parse_string,
};
use super::http::Request;
use super::provider_error::ProviderError;
use super::refusal::advise_on_fields;
use super::{ModelCall, Protocol, endpoint, or_nothing};

/// Choices that are looked at. We request one.
const MAX_CHOICES: usize = 8;

/// What the product itself reads and writes of a call and its function.
const CALL_FIELD_NAMES: [&str; 6] = ["id", "type", "index", "function", "name", "arguments"];
const FUNCTION_FIELD_NAMES: [&str; 2] = ["name", "arguments"];

/// In a stored message, the other fields of each of its calls.
const CALL_FIELDS: &str = "call_fields";

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
            let echo = echo.as_ref().and_then(|echo| echo.get(Provider::Openai.as_str()));
            vec![model_message_json(text, calls, echo.and_then(Value::as_object))]
        }
        ChatMessage::Tools(results) => results
            .iter()
            .map(|result| json!({ "role": "tool", "tool_call_id": result.id, "content": or_nothing(&result.content) }))
            .collect(),
        ChatMessage::Correction(text) => vec![json!({ "role": "user", "content": text })],
    }
}

fn model_message_json(text: &str, calls: &[ToolCall], echo: Option<&Map<String, Value>>) -> Value {
    let content = match text.trim().is_empty() && !calls.is_empty() {
        true => Value::Null,
        false => or_nothing(text).into(),
    };
    let mut message = Map::from_iter([
        ("role".to_owned(), "assistant".into()),
        ("content".to_owned(), content),
    ]);
    let call_fields = echo.and_then(|echo| echo.get(CALL_FIELDS)?.as_array());
    if !calls.is_empty() {
        let fields = |place| call_fields.and_then(|fields| fields.get(place)?.as_object());
        let calls = calls.iter().enumerate();
        let calls = calls.map(|(place, call)| tool_call_json(call, fields(place)));
        message.insert("tool_calls".to_owned(), calls.collect());
    }
    let fields = echo.into_iter().flatten().filter(|(name, _)| *name != CALL_FIELDS);
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

fn parse_reply(body: &str) -> Result<ModelReply, ReplyError> {
    let names = ["model", "choices", "usage", "error", "id"];
    let [model, choices, usage, error, id] = json_fields(body, names)?.values;
    let names = [
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
    ];
    let [prompt, completion, input, output] = optional_fields(usage, names);
    let reply = ModelReply {
        model: parse_string(model).unwrap_or_default(),
        input_tokens: parse_count(prompt.or(input)),
        output_tokens: parse_count(completion.or(output)),
        ..ModelReply::default()
    };
    match first_choice(choices) {
        Some(choice) => parse_choice(choice, reply),
        None if error.is_some() || (choices.is_none() && usage.is_none() && id.is_none()) => {
            Err(ReplyError::NotAReply)
        }
        None => Ok(ModelReply {
            stop: StopReason::Broken,
            ..reply
        }),
    }
}

/// We request one choice.
fn first_choice(choices: Option<&RawValue>) -> Option<&RawValue> {
    let choices: AtMost<&RawValue, MAX_CHOICES> = serde_json::from_str(choices?.get()).ok()?;
    choices
        .items
        .into_iter()
        .find(|choice| choice.get().starts_with('{'))
}

fn parse_choice(choice: &RawValue, reply: ModelReply) -> Result<ModelReply, ReplyError> {
    let names = ["message", "delta", "text", "finish_reason", "error"];
    let [message, delta, text, finish_reason, error] = optional_fields(Some(choice), names);
    let finish_reason = parse_string(finish_reason);
    let message = message.or(delta);
    // OpenRouter reports an error that happened after its response began in the choice.
    if error.is_some() && (message.is_none() || finish_reason.as_deref() == Some("error")) {
        let error = ProviderError::of_success(choice.get().as_bytes());
        return Err(error.map_or(ReplyError::NotAReply, |error| {
            ReplyError::Refused(Box::new(error))
        }));
    }
    let stop = match finish_reason.as_deref() {
        Some("length" | "max_tokens") => StopReason::Length,
        Some("model_length") => StopReason::ContextFull,
        Some("content_filter") => StopReason::Filtered,
        // Errors inside DeepSeek, OpenRouter and vLLM.
        Some("insufficient_system_resource" | "error" | "abort") => StopReason::Broken,
        _ if message.or(text).is_none() => StopReason::Broken,
        _ => StopReason::Stop,
    };
    let mut reply = ModelReply { stop, ..reply };
    if message.is_none() {
        reply.text = plain_text(text, 0)?;
    }
    add_message(message, &mut reply)?;
    Ok(reply)
}

fn add_message(message: Option<&RawValue>, reply: &mut ModelReply) -> Result<(), ReplyError> {
    let [content, refusal, tool_calls, function_call] = optional_fields(
        message,
        ["content", "refusal", "tool_calls", "function_call"],
    );
    // The reasoning, as named by DeepSeek, vLLM and llama.cpp, by OpenRouter and Ollama, and with
    // signatures by OpenRouter.
    let [reasoning_content, reasoning, reasoning_details] = optional_fields(
        message,
        ["reasoning_content", "reasoning", "reasoning_details"],
    );
    for block in parse_blocks(content)? {
        add_block(block, reply)?;
    }
    let is_refusal = parse_string(refusal).is_some_and(|refusal| !refusal.trim().is_empty());
    if is_refusal && reply.stop == StopReason::Stop {
        reply.stop = StopReason::Refused;
    }
    let thought = match reasoning_content {
        Some(thought) => plain_text(Some(thought), 0)?,
        None => plain_text(reasoning, 0)?,
    };
    reply.thought.insert_str(0, &thought);
    let mut echo = Echo::default();
    echo.add_message_field("reasoning_content", reasoning_content);
    echo.add_message_field("reasoning_details", reasoning_details);
    add_calls(tool_calls, reply, &mut echo)?;
    if let (Some(function), true) = (function_call, reply.calls.is_empty()) {
        add_call(None, Some(function), reply)?;
    }
    reply.echo = echo.parse(reply.calls.len())?;
    Ok(())
}

/// A list of calls, or a call.
fn add_calls<'a>(
    tool_calls: Option<&'a RawValue>,
    reply: &mut ModelReply,
    echo: &mut Echo<'a>,
) -> Result<(), ReplyError> {
    let Some(tool_calls) = tool_calls else {
        return Ok(());
    };
    let calls = match tool_calls.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str::<AtMost<&RawValue, MAX_CALLS>>(tool_calls.get())?.items,
        Some(b'{') => vec![tool_calls],
        _ => Vec::new(),
    };
    for call in calls {
        let [id, function] = optional_fields(Some(call), ["id", "function"]);
        let place = reply.calls.len();
        // Some proxies leave out the level of `function`.
        let or_call = function.or(call.get().starts_with('{').then_some(call));
        add_call(id, or_call, reply)?;
        if reply.calls.len() > place {
            echo.add_call(place, call, function);
        }
    }
    Ok(())
}

fn add_call(
    id: Option<&RawValue>,
    function: Option<&RawValue>,
    reply: &mut ModelReply,
) -> Result<(), ReplyError> {
    let [name, arguments] = optional_fields(function, ["name", "arguments"]);
    let name = parse_string(name).unwrap_or_default();
    let arguments = parse_arguments(arguments)?;
    match (name.trim(), arguments.trim()) {
        // A placeholder, as some servers send beside an answer.
        ("", "" | "{}") => {}
        ("", _) => reply.stop = StopReason::Broken,
        _ => reply.calls.push(ToolCall {
            id: parse_id(id),
            name,
            arguments,
        }),
    }
    Ok(())
}

/// The fields that must go back to the server with the tool calls of a message. DeepSeek
/// requires the reasoning, OpenRouter the reasoning with signatures, Gemini the fields that it
/// added to a call.
#[derive(Default)]
struct Echo<'a>(Vec<(EchoPlace, String, &'a RawValue)>);

#[derive(Clone, Copy)]
enum EchoPlace {
    Message,
    /// The call with this number.
    Call(usize),
    /// The `function` of this call.
    Function(usize),
}

impl<'a> Echo<'a> {
    fn add_message_field(&mut self, name: &str, value: Option<&'a RawValue>) {
        let field = value.map(|value| (EchoPlace::Message, name.to_owned(), value));
        self.0.extend(field);
    }

    fn add_call(&mut self, place: usize, call: &'a RawValue, function: Option<&'a RawValue>) {
        let of_call = other_fields(call, &CALL_FIELD_NAMES);
        let of_function = function.map(|function| other_fields(function, &FUNCTION_FIELD_NAMES));
        let (at_call, at_function) = (EchoPlace::Call(place), EchoPlace::Function(place));
        let at = |at| move |(name, value)| (at, name, value);
        self.0.extend(of_call.into_iter().map(at(at_call)));
        self.0.extend(of_function.into_iter().flatten().map(at(at_function)));
    }

    fn parse(self, calls: usize) -> Result<Option<Value>, ReplyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let raw: Vec<&RawValue> = self.0.iter().map(|(_, _, value)| *value).collect();
        let values = parse_echo(&raw)?;
        let mut fields = Map::new();
        let mut of_calls = vec![Map::new(); calls];
        for ((place, name, _), value) in self.0.into_iter().zip(values) {
            let target = match place {
                EchoPlace::Message => Some(&mut fields),
                EchoPlace::Call(place) => of_calls.get_mut(place),
                EchoPlace::Function(place) => of_calls.get_mut(place).and_then(|of_call| {
                    let function = of_call.entry("function").or_insert_with(|| json!({}));
                    function.as_object_mut()
                }),
            };
            if let Some(target) = target {
                target.insert(name, value);
            }
        }
        if of_calls.iter().any(|of_call| !of_call.is_empty()) {
            fields.insert(CALL_FIELDS.to_owned(), of_calls.into_iter().map(Value::from).collect());
        }
        Ok(Some(json!({ Provider::Openai.as_str(): fields })))
    }
}
