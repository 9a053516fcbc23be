//! The content of a message: a string, or blocks of text, thinking, tool calls and other kinds.
//! Anthropic's replies have blocks. Mistral and proxies send them in OpenAI's format.

use domain::{ModelReply, StopReason, ToolCall};
use serde_json::value::RawValue;

use super::foreign::{
    AtMost, MAX_BLOCKS, ReplyError, optional_fields, parse_arguments, parse_id, parse_string,
};

/// How deep the parts of a text are followed.
const MAX_DEPTH: usize = 4;

/// The blocks of a content, or the content itself if it is not a list.
pub(super) fn parse_blocks(content: Option<&RawValue>) -> Result<Vec<&RawValue>, ReplyError> {
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    if !content.get().starts_with('[') {
        return Ok(vec![content]);
    }
    let blocks: AtMost<&RawValue, MAX_BLOCKS> = serde_json::from_str(content.get())?;
    blocks.into_items("content blocks")
}

/// The blocks that go back to a provider. None accepts a blank text, although some send one.
pub(super) fn without_blank_texts<'a>(blocks: &[&'a RawValue]) -> Vec<&'a RawValue> {
    let is_blank = |block: &RawValue| {
        let [text] = optional_fields(Some(block), ["text"]);
        parse_string(text).is_some_and(|text| text.trim().is_empty())
    };
    let blocks = blocks.iter().copied();
    blocks
        .filter(|block| block.get() != "null" && !is_blank(block))
        .collect()
}

/// Why the model stopped. Proxies pass on the reasons of other protocols, and Gemini's in upper
/// case.
pub(super) fn parse_stop_reason(reason: Option<&str>) -> StopReason {
    match reason.map(str::to_ascii_lowercase).as_deref() {
        Some("length" | "max_tokens" | "max_output_tokens" | "max_length") => StopReason::Length,
        Some("model_length" | "model_context_window_exceeded") => StopReason::ContextFull,
        Some(
            "content_filter"
            | "content_filtered"
            | "guardrail_intervened"
            | "safety"
            | "recitation"
            | "prohibited_content"
            | "blocklist"
            | "spii"
            | "sensitive",
        ) => StopReason::Filtered,
        Some("refusal") => StopReason::Refused,
        // Errors inside DeepSeek, OpenRouter, vLLM, Zhipu, Gemini and Bedrock. `pause_turn` is
        // only for tools that run at the provider, which we never offer.
        Some(
            "insufficient_system_resource"
            | "error"
            | "abort"
            | "network_error"
            | "malformed_function_call"
            | "function_call_filter: malformed_function_call"
            | "malformed_model_output"
            | "malformed_tool_use"
            | "pause_turn",
        ) => StopReason::Broken,
        _ => StopReason::Stop,
    }
}

/// Whether a block must go back to its provider unchanged and in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    Plain,
    Signed,
}

/// Adds a block to the reply. Blocks of unknown kinds are skipped, such as images, references
/// and tools that run at the provider.
pub(super) fn add_block(block: &RawValue, reply: &mut ModelReply) -> Result<BlockKind, ReplyError> {
    if !block.get().starts_with('{') {
        reply.text.push_str(&plain_text(Some(block), 0)?);
        return Ok(BlockKind::Plain);
    }
    let names = [
        "type",
        "text",
        "thinking",
        "reasoning",
        "id",
        "name",
        "input",
        "content",
    ];
    let [kind, text, thinking, reasoning, id, name, input, content] =
        optional_fields(Some(block), names);
    let kind = parse_string(kind);
    match kind.as_deref() {
        None | Some("text" | "output_text") => reply.text.push_str(&plain_text(text, 0)?),
        Some("thinking" | "reasoning" | "reasoning_content") => {
            let thought = thinking.or(reasoning).or(text).or(content);
            reply.thought.push_str(&plain_text(thought, 0)?);
            return Ok(BlockKind::Signed);
        }
        Some("redacted_thinking") => return Ok(BlockKind::Signed),
        Some("tool_use") => match parse_string(name) {
            Some(name) => reply.calls.push(ToolCall {
                id: parse_id(id),
                name,
                arguments: parse_arguments(input)?,
            }),
            None => reply.stop = StopReason::Broken,
        },
        Some("refusal") if reply.stop == StopReason::Stop => reply.stop = StopReason::Refused,
        Some(_) => {}
    }
    Ok(BlockKind::Plain)
}

/// A text as a string, as an object that contains it, or as a list of those.
pub(super) fn plain_text(field: Option<&RawValue>, depth: usize) -> Result<String, ReplyError> {
    let Some(field) = field.filter(|_| depth < MAX_DEPTH) else {
        return Ok(String::new());
    };
    Ok(match field.get().as_bytes().first() {
        Some(b'"') => parse_string(Some(field)).unwrap_or_default(),
        Some(b'[') => {
            let mut text = String::new();
            for part in parse_blocks(Some(field))? {
                text.push_str(&plain_text(Some(part), depth + 1)?);
            }
            text
        }
        Some(b'{') => {
            let [text, thinking, value, content, summary] = optional_fields(
                Some(field),
                ["text", "thinking", "value", "content", "summary"],
            );
            let part = text.or(thinking).or(value).or(content).or(summary);
            plain_text(part, depth + 1)?
        }
        Some(b'n') | None => String::new(),
        // A number or a boolean.
        Some(_) => field.get().to_owned(),
    })
}
