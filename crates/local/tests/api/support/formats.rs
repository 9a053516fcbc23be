//! The providers' wire formats on the server side: how to read a request and how to
//! write a reply. A new provider is one more implementation of [`WireFormat`], in
//! [`Format::ALL`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::model::Asked;

/// The format of one provider.
#[derive(Clone, Copy)]
pub(crate) struct Format(&'static dyn WireFormat);

impl Format {
    pub(crate) const OPENAI: Self = Self(&Openai);
    pub(crate) const ANTHROPIC: Self = Self(&Anthropic);
    pub(crate) const BEDROCK: Self = Self(&Bedrock);

    pub(crate) const ALL: [Self; 3] = [Self::OPENAI, Self::ANTHROPIC, Self::BEDROCK];

    /// The format of this path.
    pub(crate) fn from_path(path: &str) -> Self {
        let found = Self::ALL
            .into_iter()
            .find(|format| path.ends_with(format.path_end()));
        found.unwrap_or(Self::OPENAI)
    }

    /// The user message made of the caller's payload.
    pub(crate) fn user(self, body: &Value) -> &str {
        self.text_of(&self.messages(body)[0])
    }
}

impl Deref for Format {
    type Target = dyn WireFormat;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.provider())
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.provider() == other.provider()
    }
}

/// The server's side of a protocol, and how the product must use it.
pub(crate) trait WireFormat: Sync {
    /// As in an agent's definition.
    fn provider(&self) -> &'static str;

    /// How the paths of its requests end.
    fn path_end(&self) -> &'static str;

    /// The `model` field of an agent that calls the server at `origin`.
    fn model(&self, origin: &str) -> Value;

    /// The model's name in the reported usage.
    fn name(&self) -> &'static str {
        NAME
    }

    /// The roles of messages of the model and of messages with results of tools.
    fn roles(&self) -> (&'static str, &'static str) {
        ("assistant", "user")
    }

    fn system<'b>(&self, body: &'b Value) -> &'b str;

    /// The messages after the system message.
    fn messages<'b>(&self, body: &'b Value) -> &'b [Value] {
        body["messages"].as_array().unwrap()
    }

    /// The text of a message that contains only text.
    fn text_of<'b>(&self, message: &'b Value) -> &'b str;

    fn max_tokens(&self, body: &Value) -> u64;

    /// Each tool with the schema of its arguments.
    fn tools<'b>(&self, body: &'b Value) -> Vec<(&'b str, &'b Value)>;

    /// The results of the last turn, in order.
    fn results(&self, body: &Value) -> Vec<Result>;

    /// Whether results have a field for errors.
    fn marks_errors(&self) -> bool {
        true
    }

    /// A JSON pointer into the request and what is there, for a closed schema. `None` if the
    /// schema is described in the prompt.
    fn enforced(&self, _schema: &Value) -> Option<(&'static str, Value)> {
        None
    }

    /// Whether schemas that are not closed are enforced too.
    fn enforces_every_schema(&self) -> bool {
        false
    }

    /// The caller's API key.
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;

    fn reply(&self, says: &Says) -> Value;

    /// Checks the path and the headers of a request, and the name of its model.
    fn check_request(&self, asked: &Asked);

    /// Checks the message in which the model's signed reasoning and its calls are sent back.
    fn check_echo(&self, message: &Value, reply: &Value);
}

/// The reply of a scripted model, independent of the format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    pub(crate) text: Cow<'static, str>,
    pub(crate) thought: &'static str,
    pub(crate) calls: Vec<Call>,
    pub(crate) stop: Stop,
}

/// A tool call: its id, its tool and its arguments, which may be null.
#[derive(Clone, Debug)]
pub(crate) struct Call(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Value,
);

/// Why a scripted model stops.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Stop {
    #[default]
    Done,
    Length,
    ContextFull,
    Filtered,
    Refused,
    Broken,
}

/// A tool's result in a request to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Result {
    pub(crate) call: String,
    pub(crate) text: String,
    /// Only in formats that have such a field.
    pub(crate) is_error: bool,
}

/// What the fake charges for a reply.
pub(crate) const INPUT_TOKENS: u64 = 11;
pub(crate) const OUTPUT_TOKENS: u64 = 7;
const NAME: &str = "test-model-2026";
const BEDROCK_NAME: &str = "eu.test-model-v1:0";

fn tools_in<'b>(tools: &'b Value, name: &str, schema: &str) -> Vec<(&'b str, &'b Value)> {
    let all = tools.as_array().into_iter().flatten();
    all.map(|tool| {
        (
            tool.pointer(name).unwrap().as_str().unwrap(),
            tool.pointer(schema).unwrap(),
        )
    })
    .collect()
}

/// The content blocks of the last message.
fn blocks(messages: &[Value]) -> impl Iterator<Item = &Value> {
    messages.last().unwrap()["content"]
        .as_array()
        .unwrap()
        .iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

struct Openai;

impl WireFormat for Openai {
    fn provider(&self) -> &'static str {
        "openai"
    }

    fn path_end(&self) -> &'static str {
        "/chat/completions"
    }

    fn model(&self, origin: &str) -> Value {
        json!({ "base_url": format!("{origin}/v1"), "name": NAME, "api_key": "sk-of-openai" })
    }

    fn roles(&self) -> (&'static str, &'static str) {
        ("assistant", "tool")
    }

    fn system<'b>(&self, body: &'b Value) -> &'b str {
        body["messages"][0]["content"].as_str().unwrap_or_default()
    }

    fn messages<'b>(&self, body: &'b Value) -> &'b [Value] {
        let messages = body["messages"].as_array().unwrap();
        let has_system = messages[0]["role"] == "system";
        &messages[usize::from(has_system)..]
    }

    fn text_of<'b>(&self, message: &'b Value) -> &'b str {
        message["content"].as_str().unwrap()
    }

    fn max_tokens(&self, body: &Value) -> u64 {
        body["max_tokens"].as_u64().unwrap()
    }

    fn tools<'b>(&self, body: &'b Value) -> Vec<(&'b str, &'b Value)> {
        tools_in(&body["tools"], "/function/name", "/function/parameters")
    }

    fn results(&self, body: &Value) -> Vec<Result> {
        let results = self
            .messages(body)
            .iter()
            .rev()
            .take_while(|message| message["role"] == "tool");
        let mut results: Vec<Result> = results
            .map(|result| Result {
                call: text(&result["tool_call_id"]),
                text: text(&result["content"]),
                is_error: false,
            })
            .collect();
        results.reverse();
        results
    }

    fn marks_errors(&self) -> bool {
        false
    }

    fn enforced(&self, schema: &Value) -> Option<(&'static str, Value)> {
        let schema = json!({ "name": "answer", "schema": schema });
        Some((
            "/response_format",
            json!({ "type": "json_schema", "json_schema": schema }),
        ))
    }

    fn enforces_every_schema(&self) -> bool {
        true
    }

    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        header(headers, "authorization")?.strip_prefix("Bearer ")
    }

    fn reply(&self, says: &Says) -> Value {
        let call = |Call(id, name, arguments): &Call| {
            let arguments = arguments
                .as_str()
                .map_or_else(|| arguments.to_string(), str::to_owned);
            json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
        };
        let mut message = json!({ "role": "assistant", "content": says.text });
        if !says.calls.is_empty() {
            message["tool_calls"] = says.calls.iter().map(call).collect();
        }
        if !says.thought.is_empty() {
            message["reasoning_content"] = says.thought.into();
        }
        let reason = match says.stop {
            Stop::Done if says.calls.is_empty() => "stop",
            Stop::Done => "tool_calls",
            Stop::Length => "length",
            Stop::ContextFull => "model_length",
            Stop::Filtered => "content_filter",
            Stop::Refused => {
                message = json!({ "role": "assistant", "content": null, "refusal": "I would rather not." });
                "stop"
            }
            Stop::Broken => "error",
        };
        completion(message, reason)
    }

    fn check_request(&self, asked: &Asked) {
        assert_eq!(asked.path, "/v1/chat/completions");
        assert_eq!(asked.body["model"], NAME);
        assert_eq!(asked.headers["authorization"], "Bearer sk-of-openai");
    }

    fn check_echo(&self, message: &Value, reply: &Value) {
        let sent = &reply["choices"][0]["message"];
        assert_eq!(message["reasoning_content"], sent["reasoning_content"]);
        assert_eq!(message["tool_calls"], sent["tool_calls"]);
    }
}

/// A chat completion with this message.
pub(crate) fn completion(message: Value, finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": NAME,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
        "usage": {
            "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    })
}

struct Anthropic;

impl WireFormat for Anthropic {
    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn path_end(&self) -> &'static str {
        "/messages"
    }

    fn model(&self, origin: &str) -> Value {
        json!({ "provider": "anthropic", "base_url": origin, "name": NAME, "api_key": "sk-of-anthropic" })
    }

    fn system<'b>(&self, body: &'b Value) -> &'b str {
        body["system"].as_str().unwrap_or_default()
    }

    fn text_of<'b>(&self, message: &'b Value) -> &'b str {
        message["content"].as_str().unwrap()
    }

    fn max_tokens(&self, body: &Value) -> u64 {
        body["max_tokens"].as_u64().unwrap()
    }

    fn tools<'b>(&self, body: &'b Value) -> Vec<(&'b str, &'b Value)> {
        tools_in(&body["tools"], "/name", "/input_schema")
    }

    fn results(&self, body: &Value) -> Vec<Result> {
        blocks(self.messages(body))
            .map(|result| Result {
                call: text(&result["tool_use_id"]),
                text: text(&result["content"]),
                is_error: result["is_error"] == true,
            })
            .collect()
    }

    fn enforced(&self, schema: &Value) -> Option<(&'static str, Value)> {
        Some((
            "/output_config",
            json!({ "format": { "type": "json_schema", "schema": schema } }),
        ))
    }

    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        header(headers, "x-api-key")
    }

    fn reply(&self, says: &Says) -> Value {
        let mut content = Vec::new();
        if !says.thought.is_empty() {
            content.push(
                json!({ "type": "thinking", "thinking": says.thought, "signature": "c2lnbmVk" }),
            );
        }
        if !says.text.is_empty() {
            content.push(json!({ "type": "text", "text": says.text }));
        }
        content.extend(says.calls.iter().map(
            |Call(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input }),
        ));
        let reason = match says.stop {
            Stop::Done if says.calls.is_empty() => "end_turn",
            Stop::Done => "tool_use",
            Stop::Length => "max_tokens",
            Stop::ContextFull => "model_context_window_exceeded",
            Stop::Filtered | Stop::Refused => "refusal",
            Stop::Broken => "pause_turn",
        };
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": NAME, "content": content,
            "stop_reason": reason, "stop_sequence": null,
            "usage": {
                "input_tokens": INPUT_TOKENS - 8, "cache_creation_input_tokens": 3,
                "cache_read_input_tokens": 5, "output_tokens": OUTPUT_TOKENS,
            },
        })
    }

    fn check_request(&self, asked: &Asked) {
        assert_eq!(asked.path, "/v1/messages");
        assert_eq!(asked.body["model"], NAME);
        assert_eq!(asked.headers["x-api-key"], "sk-of-anthropic");
        assert_eq!(asked.headers["anthropic-version"], "2023-06-01");
        assert!(!asked.headers.contains_key("authorization"));
    }

    fn check_echo(&self, message: &Value, reply: &Value) {
        assert_eq!(message["content"], reply["content"]);
    }
}

struct Bedrock;

impl WireFormat for Bedrock {
    fn provider(&self) -> &'static str {
        "bedrock"
    }

    fn path_end(&self) -> &'static str {
        "/converse"
    }

    /// The deployment configures the address.
    fn model(&self, _origin: &str) -> Value {
        json!({ "provider": "bedrock", "name": BEDROCK_NAME })
    }

    fn name(&self) -> &'static str {
        BEDROCK_NAME
    }

    fn system<'b>(&self, body: &'b Value) -> &'b str {
        body["system"][0]["text"].as_str().unwrap_or_default()
    }

    fn text_of<'b>(&self, message: &'b Value) -> &'b str {
        message["content"][0]["text"].as_str().unwrap()
    }

    fn max_tokens(&self, body: &Value) -> u64 {
        body["inferenceConfig"]["maxTokens"].as_u64().unwrap()
    }

    fn tools<'b>(&self, body: &'b Value) -> Vec<(&'b str, &'b Value)> {
        tools_in(
            &body["toolConfig"]["tools"],
            "/toolSpec/name",
            "/toolSpec/inputSchema/json",
        )
    }

    fn results(&self, body: &Value) -> Vec<Result> {
        blocks(self.messages(body))
            .map(|result| &result["toolResult"])
            .map(|result| Result {
                call: text(&result["toolUseId"]),
                text: text(&result["content"][0]["text"]),
                is_error: result["status"] == "error",
            })
            .collect()
    }

    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        header(headers, "x-amz-security-token")
    }

    fn reply(&self, says: &Says) -> Value {
        let mut content = Vec::new();
        if !says.thought.is_empty() {
            let reasoning = json!({ "text": says.thought, "signature": "c2lnbmVk" });
            content.push(json!({ "reasoningContent": { "reasoningText": reasoning } }));
        }
        if !says.text.is_empty() {
            content.push(json!({ "text": says.text }));
        }
        content.extend(says.calls.iter().map(
            |Call(id, name, input)| json!({ "toolUse": { "toolUseId": id, "name": name, "input": input } }),
        ));
        let reason = match says.stop {
            Stop::Done if says.calls.is_empty() => "end_turn",
            Stop::Done => "tool_use",
            Stop::Length => "max_tokens",
            Stop::ContextFull => "model_context_window_exceeded",
            Stop::Filtered => "guardrail_intervened",
            Stop::Refused => "refusal",
            Stop::Broken => "malformed_model_output",
        };
        json!({
            "output": { "message": { "role": "assistant", "content": content } },
            "stopReason": reason, "metrics": { "latencyMs": 1 },
            "usage": {
                "inputTokens": INPUT_TOKENS - 8, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 5,
                "outputTokens": OUTPUT_TOKENS, "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS,
            },
        })
    }

    fn check_request(&self, asked: &Asked) {
        assert_eq!(asked.path, "/model/eu.test-model-v1%3A0/converse");
        let signed = asked.headers["authorization"].to_str().unwrap();
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDOFTESTS/"),
            "{signed}"
        );
        assert!(
            signed.contains("/eu-west-1/bedrock/aws4_request"),
            "{signed}"
        );
        assert!(signed.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"));
        assert_eq!(
            asked.headers["x-amz-security-token"],
            "the-session-token-of-tests"
        );
    }

    fn check_echo(&self, message: &Value, reply: &Value) {
        assert_eq!(message["content"], reply["output"]["message"]["content"]);
    }
}
