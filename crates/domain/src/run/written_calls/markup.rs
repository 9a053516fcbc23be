//! Calls between tags.

use serde_json::{Map, Value};

use super::{ToolCall, ToolSpec, json, known_name};
use crate::prose::unfenced;

/// What begins a call. Those that no prose contains begin with `<|`, `<｜` or `[`.
const MARKERS: [&str; 18] = [
    "<tool_call>",
    "<tool_calls>",
    "<function_call>",
    "<function_calls>",
    "<toolcall>",
    "<TOOLCALL>",
    "<function=",
    "<invoke name=",
    "<|python_tag|>",
    "<|tool_call|>",
    "<|tool_call_start|>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|action_start|>",
    "[TOOL_CALLS]",
    "<｜DSML｜",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
];
/// What may follow a call and belongs to it.
const CLOSINGS: [&str; 15] = [
    "</function>",
    "</invoke>",
    "</tool_call>",
    "</tool_calls>",
    "</function_call>",
    "</function_calls>",
    "</toolcall>",
    "</TOOLCALL>",
    "</s>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<|/tool_call|>",
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
];

/// Most bytes of `:0` behind the name of a call.
const MAX_CALL_NUMBER: usize = 8;

/// What a marker begins.
pub(super) enum Block {
    /// The text is about the marker.
    Mention {
        end: usize,
    },
    Broken,
    Calls {
        found: Vec<ToolCall>,
        end: usize,
    },
}

/// The next marker of a call.
pub(super) fn find_marker(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(['<', '[']) {
        let start = at + found;
        if marker_at(text, start).is_some() {
            return Some(start);
        }
        at = start + 1;
    }
    None
}

fn marker_at(text: &str, at: usize) -> Option<&'static str> {
    let rest = text.get(at..)?;
    MARKERS.into_iter().find(|marker| rest.starts_with(marker))
}

pub(super) fn read_block(text: &str, start: usize, tools: &[ToolSpec]) -> Block {
    let marker = marker_at(text, start).unwrap_or_default();
    let after_marker = start + marker.len();
    let mention = Block::Mention { end: after_marker };
    let before = text.get(..start).unwrap_or_default();
    if before.ends_with('`') && !before.ends_with("```") || is_in_code(text, start) {
        return mention;
    }
    let line = before.trim_end_matches([' ', '\t']);
    let begins_line = line.is_empty() || line.ends_with('\n') || line.ends_with('>');
    // `<function=` and `<invoke name=` have the name in the marker.
    let is_named = marker.ends_with('=');
    let inner_start = if is_named { start } else { after_marker };
    let inner = text.get(inner_start..).unwrap_or_default();
    // Prose has white space or punctuation after such a marker.
    let is_token = ["<|", "<｜", "["]
        .iter()
        .any(|start| marker.starts_with(start));
    let begins_call = begins_line
        || is_token && inner.starts_with(|next: char| is_name(next) || "<{[".contains(next));
    if !begins_call && !ends_with_call(text) {
        return mention;
    }
    let Some((found, length)) = read_inner(inner, tools) else {
        let is_special = !marker.starts_with("<t") && !marker.starts_with("<f") || is_named;
        let is_meant = is_special || looks_like_call(inner, tools);
        return if begins_call && is_meant {
            Block::Broken
        } else {
            mention
        };
    };
    let end = inner_start + length + closings(inner.get(length..).unwrap_or_default());
    let is_last = text.get(end..).is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with("```") || marker_at(rest, 0).is_some()
    });
    let are_known = found
        .iter()
        .all(|call| known_name(&call.name, tools).is_some());
    match is_last || (begins_line && are_known) {
        true => Block::Calls { found, end },
        false => mention,
    }
}

/// Whether a place is within a code fence, unless the whole text is fenced.
fn is_in_code(text: &str, at: usize) -> bool {
    if text.trim_start().starts_with("```") && unfenced(text).len() < text.trim().len() {
        return false;
    }
    text.get(..at).unwrap_or_default().matches("```").count() % 2 == 1
}

/// Whether the last line could be the end of a call that began in the middle of a line.
fn ends_with_call(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with('}')
        || text.ends_with(']')
        || CLOSINGS.iter().any(|closing| text.ends_with(closing))
}

/// Whether a text that is not a call was meant as one.
fn looks_like_call(inner: &str, tools: &[ToolSpec]) -> bool {
    let content = inner.trim_start();
    let has_own_line = inner
        .trim_start_matches([' ', '\t', '\r'])
        .starts_with('\n');
    let first_word = content
        .split(|next: char| !is_name(next))
        .next()
        .unwrap_or_default();
    has_own_line
        || content.starts_with(['{', '[', '<', '"'])
        || known_name(first_word, tools).is_some()
}

const fn is_name(next: char) -> bool {
    next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.')
}

fn closings(text: &str) -> usize {
    let mut rest = text.trim_start();
    while let Some(after) = CLOSINGS
        .iter()
        .find_map(|closing| rest.strip_prefix(closing))
    {
        rest = after.trim_start();
    }
    text.len() - rest.len()
}

/// The calls at the beginning of a text, and where they end.
fn read_inner(inner: &str, tools: &[ToolSpec]) -> Option<(Vec<ToolCall>, usize)> {
    let content = inner.trim_start();
    let offset = inner.len() - content.len();
    if content.starts_with(['{', '[']) {
        let (found, end) = json::read_values(content)?;
        let calls: Vec<ToolCall> = found.into_iter().map(|found| found.call).collect();
        return (!calls.is_empty()).then_some((calls, offset + end));
    }
    let (name, after) = named(content)?;
    let tool = known_name(name, tools);
    let (arguments, end) = read_arguments(after, tool)?;
    let call = ToolCall {
        id: String::new(),
        name: tool.map_or(name, |tool| tool.name.as_str()).to_owned(),
        arguments,
    };
    Some((vec![call], inner.len() - after.len() + end))
}

/// The name of a call, and the text after it.
fn named(content: &str) -> Option<(&str, &str)> {
    if let Some(rest) = content.strip_prefix("<function=") {
        let (name, after) = rest.split_once('>')?;
        return Some((name.trim_matches(['"', ' ']), after));
    }
    if let Some(rest) = content.strip_prefix("<invoke name=") {
        let (name, after) = rest.split_once('>')?;
        return Some((name.trim_matches(['"', ' ']), after));
    }
    let content = content
        .strip_prefix("<|tool_call_begin|>")
        .unwrap_or(content);
    let end = content.find(|next| !is_name(next))?;
    let (name, after) = content.split_at_checked(end)?;
    // Kimi has the number of the call behind the name.
    let number = after.split_once("<|tool_call_argument_begin|>");
    let number = number.filter(|(number, _)| number.len() < MAX_CALL_NUMBER);
    let after = match number {
        Some((_, after)) => after,
        None => after.strip_prefix("[ARGS]").unwrap_or(after),
    };
    (!name.is_empty()).then_some((name, after))
}

/// An object, arguments in tags, or none before a closing tag.
fn read_arguments(text: &str, tool: Option<&ToolSpec>) -> Option<(String, usize)> {
    let content = text.trim_start();
    let offset = text.len() - content.len();
    if let Some((object, end)) = json::read_object(content) {
        return Some((object.to_owned(), offset + end));
    }
    let mut fields = Map::new();
    let mut rest = content;
    while let Some((key, value, after)) = tagged_argument(rest) {
        fields.insert(key.to_owned(), typed_value(key, value, tool));
        rest = after.trim_start();
    }
    let is_closed = CLOSINGS.iter().any(|closing| rest.starts_with(closing));
    (is_closed || (rest.is_empty() && !fields.is_empty()))
        .then(|| (Value::Object(fields).to_string(), text.len() - rest.len()))
}

fn tagged_argument(text: &str) -> Option<(&str, &str, &str)> {
    if let Some(rest) = text.strip_prefix("<arg_key>") {
        let (key, rest) = rest.split_once("</arg_key>")?;
        let rest = rest.trim_start().strip_prefix("<arg_value>")?;
        let (value, rest) = rest.split_once("</arg_value>")?;
        return Some((key.trim(), value, rest));
    }
    let rest = text.strip_prefix("<parameter")?;
    let rest = rest
        .strip_prefix('=')
        .or_else(|| rest.strip_prefix(" name="))?;
    let (key, rest) = rest.split_once('>')?;
    let (value, rest) = rest.split_once("</parameter>")?;
    Some((key.trim_matches(['"', ' ']), value, rest))
}

/// A string if the tool's schema says so, or if the value is not JSON.
fn typed_value(key: &str, value: &str, tool: Option<&ToolSpec>) -> Value {
    let value = value.strip_prefix('\n').unwrap_or(value);
    let value = value.strip_suffix('\n').unwrap_or(value);
    let kind = tool.and_then(|tool| tool.parameters.get("properties")?.get(key)?.get("type"));
    let text = || Value::String(value.to_owned());
    match kind.and_then(Value::as_str) {
        Some("string") => text(),
        _ => crate::parse_foreign_json(value, crate::MAX_JSON_VALUES).unwrap_or_else(|_| text()),
    }
}
