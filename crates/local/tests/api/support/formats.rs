//! The providers' wire formats on the server side: how to read a request and how to
//! write a reply.

use std::borrow::Cow;

use axum::http::HeaderMap;
use serde_json::{Value, json};

/// One per provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Openai,
    Anthropic,
    Bedrock,
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
pub(crate) struct Call(pub(crate) &'static str, pub(crate) &'static str, pub(crate) Value);

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

impl Format {
    pub(crate) const ALL: [Self; 3] = [Self::Openai, Self::Anthropic, Self::Bedrock];

    /// The format of this path.
    pub(crate) fn from_path(path: &str) -> Self {
        match path.rsplit('/').next() {
            Some("messages") => Self::Anthropic,
            Some("converse") => Self::Bedrock,
            _ => Self::Openai,
        }
    }

    /// The `model` field of an agent that calls the server at `origin`. The deployment
    /// configures Bedrock's address.
    pub(crate) fn model(self, origin: &str) -> Value {
        match self {
            Self::Openai => {
                json!({ "base_url": format!("{origin}/v1"), "name": NAME, "api_key": "sk-of-openai" })
            }
            Self::Anthropic => json!({
                "provider": "anthropic", "base_url": origin, "name": NAME, "api_key": "sk-of-anthropic",
            }),
            Self::Bedrock => json!({ "provider": "bedrock", "name": BEDROCK_NAME }),
        }
    }

    /// The model's name in the reported usage.
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Bedrock { BEDROCK_NAME } else { NAME }
    }

    pub(crate) fn system(self, body: &Value) -> &str {
        let system = match self {
            Self::Openai => &body["messages"][0]["content"],
            Self::Anthropic => &body["system"],
            Self::Bedrock => &body["system"][0]["text"],
        };
        system.as_str().unwrap_or_default()
    }

    /// The messages after the system message.
    pub(crate) fn messages(self, body: &Value) -> &[Value] {
        let messages = body["messages"].as_array().unwrap();
        if self == Self::Openai { &messages[1..] } else { messages }
    }

    /// The user message made of the caller's payload.
    pub(crate) fn user(self, body: &Value) -> &str {
        self.text_of(&self.messages(body)[0])
    }

    /// The text of a message that contains only text.
    pub(crate) fn text_of(self, message: &Value) -> &str {
        let text = match self {
            Self::Openai | Self::Anthropic => &message["content"],
            Self::Bedrock => &message["content"][0]["text"],
        };
        text.as_str().unwrap()
    }

    pub(crate) fn max_tokens(self, body: &Value) -> u64 {
        let limit = match self {
            Self::Openai | Self::Anthropic => &body["max_tokens"],
            Self::Bedrock => &body["inferenceConfig"]["maxTokens"],
        };
        limit.as_u64().unwrap()
    }

    /// Each tool with the schema of its arguments.
    pub(crate) fn tools(self, body: &Value) -> Vec<(&str, &Value)> {
        let (tools, name, schema) = match self {
            Self::Openai => (&body["tools"], "/function/name", "/function/parameters"),
            Self::Anthropic => (&body["tools"], "/name", "/input_schema"),
            Self::Bedrock => (&body["toolConfig"]["tools"], "/toolSpec/name", "/toolSpec/inputSchema/json"),
        };
        let all = tools.as_array().into_iter().flatten();
        all.map(|tool| (tool.pointer(name).unwrap().as_str().unwrap(), tool.pointer(schema).unwrap()))
            .collect()
    }

    /// The results of the last turn, in order.
    pub(crate) fn results(self, body: &Value) -> Vec<Result> {
        let messages = self.messages(body);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match self {
            Self::Openai => {
                let results = messages.iter().rev().take_while(|message| message["role"] == "tool");
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
            Self::Anthropic => blocks(messages)
                .map(|result| Result {
                    call: text(&result["tool_use_id"]),
                    text: text(&result["content"]),
                    is_error: result["is_error"] == true,
                })
                .collect(),
            Self::Bedrock => blocks(messages)
                .map(|result| &result["toolResult"])
                .map(|result| Result {
                    call: text(&result["toolUseId"]),
                    text: text(&result["content"][0]["text"]),
                    is_error: result["status"] == "error",
                })
                .collect(),
        }
    }

    /// The caller's API key.
    pub(crate) fn key(self, headers: &HeaderMap) -> Option<&str> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match self {
            Self::Openai => header("authorization")?.strip_prefix("Bearer "),
            Self::Anthropic => header("x-api-key"),
            Self::Bedrock => header("x-amz-security-token"),
        }
    }

    pub(crate) fn reply(self, says: &Says) -> Value {
        match self {
            Self::Openai => openai(says),
            Self::Anthropic => anthropic(says),
            Self::Bedrock => bedrock(says),
        }
    }
}

fn blocks(messages: &[Value]) -> impl Iterator<Item = &Value> {
    messages.last().unwrap()["content"].as_array().unwrap().iter()
}

fn openai(says: &Says) -> Value {
    let call = |Call(id, name, arguments): &Call| {
        let arguments = arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned);
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

fn anthropic(says: &Says) -> Value {
    let mut content = Vec::new();
    if !says.thought.is_empty() {
        content.push(json!({ "type": "thinking", "thinking": says.thought, "signature": "c2lnbmVk" }));
    }
    if !says.text.is_empty() {
        content.push(json!({ "type": "text", "text": says.text }));
    }
    content.extend(
        says.calls.iter().map(
            |Call(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input }),
        ),
    );
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

fn bedrock(says: &Says) -> Value {
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
