//! Calls as JSON.

use serde_json::value::RawValue;

use super::{MAX_FOUND, ToolCall, ToolSpec, known_name};
use crate::json_fields;
use crate::prose::unfenced;

/// How deep `function` and `tool_calls` are followed.
const MAX_DEPTH: usize = 3;

/// What is known about a JSON value that may be a call.
pub(super) struct JsonCall {
    pub(super) call: ToolCall,
    has_arguments: bool,
    has_others: bool,
}

pub(super) fn may_be_calls(text: &str) -> bool {
    unfenced(text).starts_with(['{', '['])
}

/// The calls, if the text has nothing but calls of these tools.
pub(super) fn whole_text_calls(text: &str, tools: &[ToolSpec]) -> Option<Vec<ToolCall>> {
    let text = unfenced(text);
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let (found, end) = read_values(text)?;
    let rest = text.get(end..).unwrap_or_default();
    let are_calls = found
        .iter()
        .all(|found| found.has_arguments && !found.has_others);
    if !rest.trim().is_empty() || !are_calls || found.is_empty() {
        return None;
    }
    let calls = found
        .into_iter()
        .map(|found| with_known_name(found.call, tools));
    calls.collect()
}

fn with_known_name(mut call: ToolCall, tools: &[ToolSpec]) -> Option<ToolCall> {
    call.name.clone_from(&known_name(&call.name, tools)?.name);
    Some(call)
}

/// The calls of the JSON values at the beginning of a text, and where the last value ends.
/// Returns `None` if a value is not a call.
pub(super) fn read_values(text: &str) -> Option<(Vec<JsonCall>, usize)> {
    let (mut calls, mut end) = (Vec::new(), 0);
    while calls.len() < MAX_FOUND {
        let rest = text.get(end..)?;
        // Llama separates calls by semicolons.
        let next = rest.trim_start_matches([';', ',', ' ', '\t', '\r', '\n']);
        if !next.starts_with(['{', '[']) {
            break;
        }
        let mut values = serde_json::Deserializer::from_str(next).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        end += rest.len() - next.len() + values.byte_offset();
        add_calls(value, &mut calls, 0)?;
    }
    Some((calls, end))
}

/// One JSON object at the beginning of a text, and where it ends.
pub(super) fn read_object(text: &str) -> Option<(&str, usize)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value.get(), values.byte_offset()))
}

fn add_calls(value: &RawValue, calls: &mut Vec<JsonCall>, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH || calls.len() >= MAX_FOUND {
        return (depth <= MAX_DEPTH).then_some(());
    }
    if value.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        return items
            .into_iter()
            .try_for_each(|item| add_calls(item, calls, depth + 1));
    }
    let names = ["function", "tool_calls", "type", "id"];
    let [function, list, ..] = json_fields(value.get(), names).ok()?.values;
    if let Some(nested) = list.or(function.filter(|nested| nested.get().starts_with('{'))) {
        return add_calls(nested, calls, depth + 1);
    }
    let names = [
        "name",
        "tool_name",
        "tool",
        "function",
        "arguments",
        "parameters",
        "input",
        "args",
        "tool_input",
        "type",
        "id",
    ];
    let fields = json_fields(value.get(), names).ok()?;
    let [
        name,
        tool_name,
        tool,
        function,
        arguments,
        parameters,
        input,
        args,
        tool_input,
        ..,
    ] = fields.values;
    let name = name.or(tool_name).or(tool).or(function)?;
    let name = serde_json::from_str(name.get()).ok()?;
    let arguments = arguments.or(parameters).or(input).or(args).or(tool_input);
    calls.push(JsonCall {
        call: ToolCall {
            id: String::new(),
            name,
            arguments: arguments.and_then(object_text).unwrap_or_default(),
        },
        has_arguments: arguments.and_then(object_text).is_some(),
        has_others: fields.has_others,
    });
    // Arguments that are not an object do not make a call.
    arguments
        .is_none_or(|arguments| object_text(arguments).is_some())
        .then_some(())
}

/// Arguments as an object, or as a string that contains one.
fn object_text(arguments: &RawValue) -> Option<String> {
    let json = match arguments.get().starts_with('"') {
        true => serde_json::from_str(arguments.get()).ok()?,
        false => arguments.get().to_owned(),
    };
    json.trim_start().starts_with('{').then_some(json)
}
