//! Anthropic's messages (<https://docs.claude.com/en/api/messages>).

use domain::{Fault, Message, ModelReply, Provider, StopReason, ToolCall, ToolResult, ToolSpec};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::foreign::{AtMost, MAX_BLOCKS, ReplyError, arguments, echo, string};
use super::http::Request;
use super::{Question, as_object, endpoint, kept_whole};

const BASE_URL: &str = "https://api.anthropic.com";
/// The one version there is.
const VERSION: &str = "2023-06-01";

pub(super) fn request(question: &Question<'_>) -> Result<Request, Fault> {
    let base = question.model.base_url.as_deref().unwrap_or(BASE_URL).trim_end_matches('/');
    // Some write it with the version, as of other providers.
    let url = endpoint(base.strip_suffix("/v1").unwrap_or(base), "v1/messages")?;
    let mut request = Request::json(url, &request_body(question));
    request.headers.insert("anthropic-version", reqwest::header::HeaderValue::from_static(VERSION));
    match question.api_key {
        Some(key) => request.with_secret("x-api-key", key),
        None => Ok(request),
    }
}

fn request_body(question: &Question<'_>) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": question.payload.as_json() })];
    messages.extend(question.talk.iter().map(told));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(question.model.name));
    set("max_tokens", question.max_output_tokens.into());
    let (enforced, asked) = match question.schema {
        Some(schema) if can_enforce(schema) => (Some(schema), None),
        asked => (None, asked),
    };
    if let Some(schema) = enforced {
        set("output_config", json!({ "format": { "type": "json_schema", "schema": schema } }));
    }
    // It takes no blank text.
    let system = question.system_with(asked);
    if !system.trim().is_empty() {
        set("system", system.into());
    }
    set("messages", messages.into());
    if !question.tools.is_empty() {
        set("tools", question.tools.iter().map(tool).collect());
    }
    body.into()
}

/// Whether it takes a schema as the format of its answers: any other is refused
/// (<https://docs.claude.com/en/docs/build-with-claude/structured-outputs>).
fn can_enforce(schema: &Value) -> bool {
    let Some(fields) = schema.as_object() else { return false };
    let is_object = fields.contains_key("properties") || fields.get("type") == Some(&"object".into());
    let is_closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
    let each_can = |(keyword, value): (&String, &Value)| match keyword.as_str() {
        "type" | "enum" | "const" | "required" | "title" | "description" | "default" | "$ref" => true,
        "additionalProperties" => is_closed,
        "items" => can_enforce(value),
        "properties" | "$defs" | "definitions" => {
            value.as_object().is_some_and(|schemas| schemas.values().all(can_enforce))
        }
        "anyOf" | "allOf" => value.as_array().is_some_and(|schemas| schemas.iter().all(can_enforce)),
        _ => false,
    };
    (is_closed || !is_object) && fields.iter().all(each_can)
}

fn tool(spec: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = spec;
    json!({ "name": name, "description": description, "input_schema": parameters })
}

fn told(message: &Message) -> Value {
    match message {
        Message::Model { text, calls, echo } => {
            let kept = kept_whole(echo.as_ref(), Provider::Anthropic, calls, call_id);
            json!({ "role": "assistant", "content": kept.unwrap_or_else(|| said(text, calls)) })
        }
        Message::Tools(results) => {
            json!({ "role": "user", "content": results.iter().map(result).collect::<Vec<_>>() })
        }
        Message::Correction(text) => json!({ "role": "user", "content": text }),
    }
}

fn said(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let text = (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }));
    let call = |call: &ToolCall| {
        let ToolCall { id, name, arguments } = call;
        json!({ "type": "tool_use", "id": id, "name": name, "input": as_object(arguments) })
    };
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call_id(block: &mut Value) -> Option<&mut Value> {
    block.get("type").is_some_and(|kind| kind == "tool_use").then(|| block.get_mut("id"))?
}

fn result(result: &ToolResult) -> Value {
    let ToolResult { id, content, is_error, .. } = result;
    json!({ "type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    model: String,
    #[serde(borrow)]
    content: AtMost<&'a RawValue, MAX_BLOCKS>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: TokenCounts,
}

/// Each kind of block has some of these fields.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenCounts {
    input_tokens: u64,
    /// Apart from those above, and read all the same.
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
}

pub(super) fn parse_reply(body: &[u8]) -> Result<ModelReply, ReplyError> {
    let Reply { model, content, stop_reason, usage } = serde_json::from_slice(body)?;
    let content = content.all("content blocks")?;
    let mut reply = ModelReply {
        model,
        stop: stop(stop_reason.as_deref()),
        input_tokens: usage.input(),
        output_tokens: usage.output_tokens,
        ..ModelReply::default()
    };
    let mut is_signed = false;
    for block in &content {
        match serde_json::from_str::<Block<'_>>(block.get()) {
            Ok(block) if block.add_to(&mut reply)?.is_some() => is_signed |= block.is_signed(),
            _ => reply.stop = StopReason::Broken,
        }
    }
    // Thinking goes back as it came, in its place, or the next turn is refused.
    if is_signed {
        reply.echo = Some(json!({ Provider::Anthropic.as_str(): echo(&content)? }));
    }
    Ok(reply)
}

impl Block<'_> {
    fn is_signed(&self) -> bool {
        matches!(self.kind.as_str(), "thinking" | "redacted_thinking")
    }

    /// Nothing if a field is missing or not a string.
    fn add_to(&self, reply: &mut ModelReply) -> Result<Option<()>, ReplyError> {
        let (into, text) = match self.kind.as_str() {
            "text" => (&mut reply.text, string(self.text)),
            "thinking" => (&mut reply.thought, string(self.thinking)),
            "tool_use" => {
                let Some((id, name)) = string(self.id).zip(string(self.name)) else { return Ok(None) };
                reply.calls.push(ToolCall { id, name, arguments: arguments(self.input)? });
                return Ok(Some(()));
            }
            // Of tools that run at the provider, which we never offer, and thinking
            // that cannot be read.
            _ => return Ok(Some(())),
        };
        Ok(text.map(|text| into.push_str(&text)))
    }
}

fn stop(reason: Option<&str>) -> StopReason {
    match reason {
        Some("max_tokens") => StopReason::Length,
        Some("model_context_window_exceeded") => StopReason::ContextFull,
        Some("refusal") => StopReason::Refused,
        // For tools that run at the provider, which we never offer.
        Some("pause_turn") => StopReason::Broken,
        _ => StopReason::Stop,
    }
}

impl TokenCounts {
    fn input(&self) -> u64 {
        [self.cache_creation_input_tokens, self.cache_read_input_tokens]
            .into_iter()
            .flatten()
            .fold(self.input_tokens, u64::saturating_add)
    }
}
