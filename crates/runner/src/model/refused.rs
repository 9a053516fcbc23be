//! What a model server does not accept, recognised in the text of its refusals. The text itself
//! is neither stored nor logged.

use domain::agent::RequestPart;
use domain::{MAX_JSON_VALUES, parse_foreign_json};
use reqwest::StatusCode;
use serde_json::Value;

use super::ModelCall;

/// Fields with which servers quote the request or the model's reply, which may contain anything.
const QUOTES: &[&str] = &["input", "failed_generation"];

/// Phrases that say that something is not accepted.
const NOT_ACCEPTED: &[&str] = &[
    "unsupported",
    "not supported",
    "not support",
    "n't support",
    "unknown",
    "unrecognized",
    "unexpected",
    "extra inputs",
    "extra_forbidden",
    "not permitted",
    "not allowed",
    "not enabled",
    "unavailable",
    "additional properties",
    "cannot find field",
    "no such field",
];

/// Names of an enforced schema, in the requests and in the words of servers.
const SCHEMA: &[&str] = &[
    "response_format",
    "response format",
    "json_schema",
    "json schema",
    "json mode",
    "json_object",
    "structured output",
    "structured_output",
    "output_config",
    "output_format",
    "response mime type",
    "response_mime_type",
    "responsemimetype",
    "response_schema",
    "guided",
    "grammar",
];

/// Sentences about tools as such. The words for tools alone also occur in refusals of one
/// tool's schema, and in failed calls.
const TOOLS: &[&str] = &[
    "support tools",
    "support tool",
    "support function",
    "support the tools",
    "tools is not supported",
    "tools are not supported",
    "tools not supported",
    "tool use is not supported",
    "tool calling is not supported",
    "tool calling` is not supported",
    "function calling is not supported",
    "function calling is not enabled",
    "tool use has not been enabled",
    "tool choice requires",
    "tools param requires",
    "support the toolconfig",
    "support parameters: ['tools'",
    "support parameters: {'tools'",
    "'tools' is not supported",
    "'tools' is unsupported",
    "unsupported parameter: 'tools'",
    "unsupported parameter: tools",
    "unsupported param: tools",
    "tools: extra inputs",
    "argument supplied: tools",
    "unknown field \"tools\"",
];

/// Sentences of chat templates without a system message.
const ROLES: &[&str] = &[
    "roles must alternate",
    "only user and assistant roles",
    "invalid role: system",
    "input should be 'user' or 'assistant'",
    "input should be 'user', 'assistant'",
];

/// Names of a system message. The word alone occurs in other errors: Bedrock's "the system
/// encountered an unexpected error".
const SYSTEM: &[&str] = &[
    "system role",
    "system message",
    "system prompt",
    "system instruction",
    "system_instruction",
    "'system'",
    "\"system\"",
    "`system`",
    "role system",
    "role: system",
    "system: extra",
    "developer instruction",
];

/// What servers say about the `content` of a message with tool calls.
const EMPTY: &[&str] = &[
    "must be a string",
    "be a valid string",
    "be null",
    "got null",
    "nonetype",
    "be empty",
    "non-empty",
    "is empty",
    "is required",
    "field required",
    "missing 'content'",
    "missing field `content`",
];

/// Returns the part of the request that a server refuses with this response, if its text names
/// one that the request has.
pub(super) fn refused_part(
    call: &ModelCall<'_>,
    status: StatusCode,
    body: &[u8],
) -> Option<RequestPart> {
    // llama.cpp and older vLLM answer 500 if the model's chat template refuses, OpenRouter 404
    // if no server has all parts.
    if !matches!(status.as_u16(), 400 | 404 | 415 | 422 | 500 | 501) {
        return None;
    }
    let part = named_part(call, &refusal_text(body))?;
    call.sends(part).then_some(part)
}

/// The names and texts of a refusal, in lower case and without what it quotes.
fn refusal_text(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    match parse_foreign_json::<Value>(&body, MAX_JSON_VALUES) {
        Ok(json) => {
            let mut text = String::new();
            add_texts(&json, &mut text);
            text.to_lowercase()
        }
        Err(_) => body.to_lowercase(),
    }
}

fn add_texts(json: &Value, text: &mut String) {
    match json {
        Value::String(part) => {
            text.push_str(part);
            text.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| add_texts(item, text)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if !QUOTES.contains(&name.as_str()) {
                    text.push_str(name);
                    text.push('\n');
                    add_texts(value, text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn named_part(call: &ModelCall<'_>, text: &str) -> Option<RequestPart> {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let is_refusal = has(NOT_ACCEPTED);
    let (old, new) = (
        text.contains("max_tokens"),
        text.contains("max_completion_tokens"),
    );
    let sends_new = call.sends(RequestPart::MaxCompletionTokens);
    match (old, new) {
        // The message names the field to use instead.
        (true, true) if is_refusal && sends_new => return Some(RequestPart::MaxCompletionTokens),
        (true, true) if is_refusal => return Some(RequestPart::MaxTokens),
        (true, false) if is_refusal => return Some(RequestPart::MaxTokens),
        (false, true) if is_refusal && sends_new => return Some(RequestPart::MaxCompletionTokens),
        (false, true) => return Some(RequestPart::MaxTokens),
        _ => {}
    }
    let is_about_tools = text.contains("tool") || text.contains("function");
    if call.sends(RequestPart::Schema) && has(SCHEMA) {
        return Some(match !call.tools.is_empty() && is_about_tools {
            true => RequestPart::SchemaWithTools,
            false => RequestPart::Schema,
        });
    }
    if has(TOOLS) {
        return Some(RequestPart::Tools);
    }
    if has(ROLES) || has(SYSTEM) && is_refusal {
        return Some(RequestPart::SystemMessage);
    }
    // Chat templates fail with Python's error about adding `NoneType`.
    let is_about_content = text.contains("content") || text.contains("nonetype");
    (is_about_content && has(EMPTY)).then_some(RequestPart::EmptyContent)
}
