//! Amazon Bedrock's Converse
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).

use domain::{ErrorType, Fault, Message, ModelReply, Provider, StopReason, ToolCall, ToolResult, ToolSpec};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use store::{Bedrock, error_chain};

use super::foreign::{AtMost, MAX_BLOCKS, ReplyError, arguments, echo};
use super::http::Request;
use super::{Question, as_object, endpoint, kept_whole};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn request(bedrock: Option<&Bedrock>, question: &Question<'_>) -> Result<Request, Fault> {
    let Some(bedrock) = bedrock else {
        return Err(Fault::permanent(
            ErrorType::InvalidAgent,
            "The provider `bedrock` needs AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
             in the environment of this deployment",
        ));
    };
    let model = question.model.name.as_deref().unwrap_or_default();
    let model = utf8_percent_encode(model, RESERVED);
    let url = endpoint(bedrock.endpoint(), &format!("model/{model}/converse"))?;
    sign(bedrock, Request::json(url, &request_body(question)))
}

fn sign(bedrock: &Bedrock, mut request: Request) -> Result<Request, Fault> {
    let headers = request.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signed = bedrock.sign(request.url.as_str(), headers, &request.body).map_err(|error| {
        tracing::error!(error = error_chain(&error), "request to Bedrock not signed");
        Fault::permanent(ErrorType::Internal, "The request to Bedrock could not be signed")
    })?;
    for (name, value) in signed {
        request = request.with_secret(name, &value)?;
    }
    Ok(request)
}

fn request_body(question: &Question<'_>) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": [{ "text": question.payload.as_json() }] })];
    messages.extend(question.talk.iter().map(told));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    // Few of its models take a schema for their answers (`outputConfig`), and all
    // others refuse the request; being asked, every model can.
    let system = question.system_with(question.schema);
    // It takes no blank text.
    if !system.trim().is_empty() {
        set("system", json!([{ "text": system }]));
    }
    set("messages", messages.into());
    set("inferenceConfig", json!({ "maxTokens": question.max_output_tokens }));
    if !question.tools.is_empty() {
        set("toolConfig", json!({ "tools": question.tools.iter().map(tool).collect::<Vec<_>>() }));
    }
    body.into()
}

fn tool(spec: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = spec;
    json!({ "toolSpec": { "name": name, "description": description, "inputSchema": { "json": parameters } } })
}

fn told(message: &Message) -> Value {
    match message {
        Message::Model { text, calls, echo } => {
            let kept = kept_whole(echo.as_ref(), Provider::Bedrock, calls, call_id);
            json!({ "role": "assistant", "content": kept.unwrap_or_else(|| said(text, calls)) })
        }
        Message::Tools(results) => {
            json!({ "role": "user", "content": results.iter().map(result).collect::<Vec<_>>() })
        }
        Message::Correction(text) => json!({ "role": "user", "content": [{ "text": text }] }),
    }
}

fn said(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let text = (!text.trim().is_empty()).then(|| json!({ "text": text }));
    let call = |call: &ToolCall| {
        let ToolCall { id, name, arguments } = call;
        json!({ "toolUse": { "toolUseId": id, "name": name, "input": as_object(arguments) } })
    };
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call_id(block: &mut Value) -> Option<&mut Value> {
    block.get_mut("toolUse")?.get_mut("toolUseId")
}

/// Not every model takes a status, so only failures have one.
fn result(result: &ToolResult) -> Value {
    let text = if result.content.trim().is_empty() { "(nothing)" } else { &result.content };
    let mut told = json!({ "toolUseId": result.id, "content": [{ "text": text }] });
    if let (true, Some(told)) = (result.is_error, told.as_object_mut()) {
        told.insert("status".to_owned(), "error".into());
    }
    json!({ "toolResult": told })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: TokenCounts,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Said<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: AtMost<&'a RawValue, MAX_BLOCKS>,
}

/// One of these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow, default)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<Reasoning>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: String,
    name: String,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning {
    reasoning_text: Option<ReasoningText>,
}

#[derive(Deserialize)]
struct ReasoningText {
    #[serde(default)]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TokenCounts {
    input_tokens: u64,
    /// Apart from those above, and read all the same.
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    output_tokens: u64,
}

/// The reply names no model: it is the one that was asked.
pub(super) fn parse_reply(body: &[u8]) -> Result<ModelReply, ReplyError> {
    let Reply { output, stop_reason, usage } = serde_json::from_slice(body)?;
    let cached = [usage.cache_read_input_tokens, usage.cache_write_input_tokens];
    let mut reply = ModelReply {
        stop: stop(stop_reason.as_deref()),
        input_tokens: cached.into_iter().flatten().fold(usage.input_tokens, u64::saturating_add),
        output_tokens: usage.output_tokens,
        ..ModelReply::default()
    };
    let content = output.message.content.all("content blocks")?;
    let mut is_signed = false;
    for block in &content {
        let Ok(block) = serde_json::from_str::<Block<'_>>(block.get()) else {
            reply.stop = StopReason::Broken;
            continue;
        };
        is_signed |= block.reasoning_content.is_some();
        block.add_to(&mut reply)?;
    }
    // Reasoning goes back as it came, in its place, or the next turn is refused.
    if is_signed {
        reply.echo = Some(json!({ Provider::Bedrock.as_str(): echo(&content)? }));
    }
    Ok(reply)
}

impl Block<'_> {
    fn add_to(self, reply: &mut ModelReply) -> Result<(), ReplyError> {
        let Self { text, tool_use, reasoning_content } = self;
        reply.text.push_str(text.as_deref().unwrap_or_default());
        let reasoning = reasoning_content.and_then(|reasoning| reasoning.reasoning_text);
        reply.thought.extend(reasoning.map(|reasoning| reasoning.text));
        if let Some(ToolUse { tool_use_id, name, input }) = tool_use {
            reply.calls.push(ToolCall { id: tool_use_id, name, arguments: arguments(input)? });
        }
        Ok(())
    }
}

fn stop(reason: Option<&str>) -> StopReason {
    match reason {
        Some("max_tokens") => StopReason::Length,
        Some("model_context_window_exceeded") => StopReason::ContextFull,
        Some("content_filtered" | "guardrail_intervened") => StopReason::Filtered,
        Some("refusal") => StopReason::Refused,
        Some("malformed_model_output" | "malformed_tool_use") => StopReason::Broken,
        _ => StopReason::Stop,
    }
}
