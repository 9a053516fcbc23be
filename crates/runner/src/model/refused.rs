//! What a model server does not accept, recognised in the text of its refusals. The text itself
//! is neither stored nor logged.

use domain::agent::RequestPart;
use reqwest::StatusCode;

use super::ModelCall;

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
    "function calling is not supported",
    "function calling is not enabled",
    "tool choice requires",
    "unsupported parameter: 'tools'",
    "unsupported parameter: tools",
    "tools: extra inputs",
    "argument supplied: tools",
    "unknown field \"tools\"",
];

/// Sentences of chat templates without a system message.
const ROLES: &[&str] = &["roles must alternate", "only user and assistant roles"];

/// Returns the part of the request that a server refuses with this response, if its text names
/// one that the request has.
pub(super) fn refused_part(
    call: &ModelCall<'_>,
    status: StatusCode,
    body: &[u8],
) -> Option<RequestPart> {
    // llama.cpp and older vLLM answer 500 if the model's chat template refuses.
    if !matches!(status.as_u16(), 400 | 415 | 422 | 500 | 501) {
        return None;
    }
    let text = String::from_utf8_lossy(body).to_lowercase();
    let part = named_part(call, &text)?;
    call.sends(part).then_some(part)
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
    let is_about_system = text.contains("system") || text.contains("developer instruction");
    (has(ROLES) || is_about_system && is_refusal).then_some(RequestPart::SystemMessage)
}
