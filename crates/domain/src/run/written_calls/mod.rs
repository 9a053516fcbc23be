//! Finds tool calls that a model wrote as text. A server that has no parser for the model's
//! format sends them as the answer.
//!
//! | form | models |
//! | --- | --- |
//! | `<tool_call>{"name":…,"arguments":…}</tool_call>` | Qwen, Hermes, Granite |
//! | `<function=name>{…}</function>`, also with `<parameter=key>` | Llama, Qwen Coder |
//! | `<invoke name="…"><parameter name="…">` | Claude, MiniMax |
//! | `<tool_call>name<arg_key>…</arg_key><arg_value>…</arg_value>` | GLM |
//! | `[TOOL_CALLS][{…}]`, `[TOOL_CALLS]name[ARGS]{…}` | Mistral |
//! | `<\|python_tag\|>{…}` | Llama |
//! | `<\|tool_call_begin\|>name:0<\|tool_call_argument_begin\|>{…}` | Kimi |
//! | `[name(key=value)]`, which is not parsed | Llama, Gemma, Gemini |
//! | the JSON alone, `{"name":…,"arguments":…}` or `"parameters"` | all |

mod json;
mod markup;

use super::{ModelReply, StopReason, ToolCall, ToolSpec};
use crate::prose::unfenced;
use markup::Block;

/// One more than a turn may have, so that the loop reports the excess.
const MAX_FOUND: usize = super::MAX_CALLS + 1;
/// Markers that are looked at. A text with more of them is about calls.
const MAX_MARKERS: usize = 64;
/// A longer text is an answer.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

impl ModelReply {
    /// Whether [`Self::read_written_calls`] could find a call. Fast, and may be wrong.
    pub fn may_have_written_calls(&self) -> bool {
        self.calls.is_empty()
            && self.stop == StopReason::Stop
            && self.text.len() <= MAX_TEXT_BYTES
            && (json::may_be_calls(&self.text)
                || unfenced(&self.text).ends_with(')')
                || markup::find_marker(&self.text, 0).is_some())
    }

    /// Turns calls of these tools that the model wrote as text into calls. If a text is meant to
    /// be a call and cannot be parsed, the reply becomes [`StopReason::BrokenCall`].
    pub fn read_written_calls(&mut self, tools: &[ToolSpec]) {
        if tools.is_empty() || !self.may_have_written_calls() {
            return;
        }
        if let Some(calls) = json::whole_text_calls(&self.text, tools) {
            self.calls = calls;
            self.text.clear();
            return;
        }
        match markup_calls(&self.text, tools) {
            WrittenCalls::Absent if is_python_call(&self.text, tools) => {
                self.stop = StopReason::BrokenCall;
            }
            WrittenCalls::Absent => {}
            WrittenCalls::Broken => self.stop = StopReason::BrokenCall,
            WrittenCalls::Parsed { calls, text_end } => {
                self.calls = calls;
                self.text.truncate(text_end);
                self.text.truncate(self.text.trim_end().len());
                // The opening line of a fence around the calls.
                if self.text.starts_with("```") && !self.text.contains('\n') {
                    self.text.clear();
                }
            }
        }
    }
}

enum WrittenCalls {
    Absent,
    Broken,
    Parsed {
        calls: Vec<ToolCall>,
        /// Where the text before the calls ends.
        text_end: usize,
    },
}

fn markup_calls(text: &str, tools: &[ToolSpec]) -> WrittenCalls {
    let mut calls = Vec::new();
    let (mut text_end, mut at) = (None, 0);
    for _ in 0..MAX_MARKERS {
        let Some(start) = markup::find_marker(text, at) else {
            break;
        };
        match markup::read_block(text, start, tools) {
            Block::Mention { end } => at = end,
            Block::Broken if calls.is_empty() => return WrittenCalls::Broken,
            // What follows calls is often an invented result.
            Block::Broken => break,
            Block::Calls { found, end } => {
                calls.extend(found);
                text_end.get_or_insert(start);
                at = end;
            }
        }
    }
    calls.truncate(MAX_FOUND);
    match text_end {
        Some(text_end) => WrittenCalls::Parsed { calls, text_end },
        None => WrittenCalls::Absent,
    }
}

/// Whether the text is a call in Python's form, and nothing else.
fn is_python_call(text: &str, tools: &[ToolSpec]) -> bool {
    let text = unfenced(text);
    let text = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let text = text.strip_prefix("print(").unwrap_or(text);
    let text = text.strip_prefix("default_api.").unwrap_or(text);
    let Some((name, arguments)) = text.split_once('(') else {
        return false;
    };
    let are_arguments = arguments.starts_with([')', '{', '"', '\'']) || arguments.contains('=');
    text.ends_with(')')
        && are_arguments
        && !name.ends_with(char::is_whitespace)
        && known_name(name, tools).is_some()
}

/// The name of one of the tools. gpt-oss puts a namespace before it.
fn known_name<'t>(name: &str, tools: &'t [ToolSpec]) -> Option<&'t ToolSpec> {
    let name = name.trim();
    let bare = name.strip_prefix("functions.").unwrap_or(name);
    tools
        .iter()
        .find(|tool| tool.name == name || tool.name == bare)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> [ToolSpec; 2] {
        let tool = |name: &str| ToolSpec {
            name: name.to_owned(),
            description: String::new(),
            parameters: json!({ "type": "object", "properties": { "id": { "type": "string" }, "n": { "type": "integer" } } }),
        };
        [tool("ping"), tool("get_order")]
    }

    fn read(text: &str) -> ModelReply {
        let mut reply = ModelReply {
            text: text.to_owned(),
            ..ModelReply::default()
        };
        reply.read_written_calls(&tools());
        reply
    }

    const ARGUMENTS: &str = r#"{"id":"7","n":1.50}"#;

    /// Asserts that the text has one call, and `rest` before it.
    fn assert_call(text: &str, rest: &str) {
        let reply = read(text);
        let [call] = reply.calls.as_slice() else {
            panic!("{text}: {reply:?}")
        };
        assert_eq!(
            (call.name.as_str(), call.arguments.as_str()),
            ("get_order", ARGUMENTS),
            "{text}"
        );
        assert_eq!(
            (reply.text.as_str(), reply.stop),
            (rest, StopReason::Stop),
            "{text}"
        );
    }

    #[test]
    fn a_call_written_as_text_is_a_call() {
        let call = r#"{"name":"get_order","arguments":{"id":"7","n":1.50}}"#;
        let arguments = ARGUMENTS;
        for (text, rest) in [
            (format!("<tool_call>\n{call}\n</tool_call>"), ""),
            (format!("<tool_call>{call}"), ""),
            (
                format!("I check.\n\n<tool_call>{call}</tool_call>\n"),
                "I check.",
            ),
            (
                format!("I check: <tool_call>{call}</tool_call>"),
                "I check:",
            ),
            (
                format!("<tool_call>{call}</tool_call>\n<tool_response>7</tool_response>"),
                "",
            ),
            (format!("<function_call>{call}</function_call>"), ""),
            (format!("<tool_calls>[{call}]</tool_calls>"), ""),
            (format!("[TOOL_CALLS][{call}]"), ""),
            (format!("[TOOL_CALLS]get_order[ARGS]{arguments}"), ""),
            (format!("<|python_tag|>{call}<|eom_id|>"), ""),
            (format!("<function=get_order>{arguments}</function>"), ""),
            (format!("<tool_call>get_order\n{arguments}</tool_call>"), ""),
            (format!("```xml\n<tool_call>{call}</tool_call>\n```"), ""),
            (call.to_owned(), ""),
            (format!("```json\n{call}\n```"), ""),
            (format!("[{call}]"), ""),
            (
                format!(r#"{{"type":"function","name":"get_order","parameters":{arguments}}}"#),
                "",
            ),
            (format!(r#"{{"type":"function","function":{call}}}"#), ""),
            (
                format!(r#"{{"tool_calls":[{{"id":"x","function":{call}}}]}}"#),
                "",
            ),
            (call.replace("\"get_order\"", "\"functions.get_order\""), ""),
        ] {
            assert_call(&text, rest);
        }
    }

    #[test]
    fn a_call_in_a_rare_form_is_a_call() {
        let call = r#"{"name":"get_order","arguments":{"id":"7","n":1.50}}"#;
        let arguments = ARGUMENTS;
        for (text, rest) in [
            (format!("<TOOLCALL>[{call}]</TOOLCALL>"), ""),
            (
                format!(
                    "I check.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_order:0<|tool_call_argument_begin|>{arguments}<|tool_call_end|><|tool_calls_section_end|>"
                ),
                "I check.",
            ),
            (
                format!("[{{\"tool_name\":\"get_order\",\"parameters\":{arguments}}}]"),
                "",
            ),
            (
                format!("{{\"function\":\"get_order\",\"args\":{arguments}}}"),
                "",
            ),
            (
                format!("[TOOL_CALLS]functions.get_order[ARGS]{arguments}"),
                "",
            ),
        ] {
            assert_call(&text, rest);
        }
    }

    #[test]
    fn arguments_in_tags_follow_the_schema_of_the_tool() {
        let expected = json!({ "id": "7", "n": 2, "zz": [1] }).to_string();
        for text in [
            "<tool_call>\n<function=get_order>\n<parameter=id>\n7\n</parameter>\n<parameter=n>2</parameter><parameter=zz>[1]</parameter></function>\n</tool_call>",
            "<function_calls>\n<invoke name=\"get_order\"><parameter name=\"id\">7</parameter>\n<parameter name=\"n\">2</parameter><parameter name=\"zz\">[1]</parameter></invoke></function_calls>",
            "<tool_call>get_order\n<arg_key>id</arg_key>\n<arg_value>7</arg_value><arg_key>n</arg_key><arg_value>2</arg_value><arg_key>zz</arg_key><arg_value>[1]</arg_value></tool_call>",
        ] {
            let reply = read(text);
            let [call] = reply.calls.as_slice() else {
                panic!("{text}: {reply:?}")
            };
            assert_eq!(
                (call.name.as_str(), &call.arguments),
                ("get_order", &expected),
                "{text}"
            );
        }
    }

    #[test]
    fn several_calls_are_all_calls() {
        let call = r#"{"name":"ping","arguments":"{\"a\":1}"}"#;
        for text in [
            format!("<tool_call>{call}</tool_call>\n<tool_call>{call}</tool_call>"),
            format!("<tool_call>{call}\n{call}</tool_call>"),
            format!("[{call},{call}]"),
            format!("{call}\n{call}"),
            "<function=ping></function><function=ping>{}</function>".to_owned(),
        ] {
            assert_eq!(read(&text).calls.len(), 2, "{text}");
        }
        let many = format!("<tool_call>{call}</tool_call>\n").repeat(100);
        assert_eq!(read(&many).calls.len(), MAX_FOUND);
    }

    #[test]
    fn a_call_that_cannot_be_parsed_is_not_an_answer() {
        for text in [
            "<tool_call>{\"name\":\"ping\",\"arguments\":{</tool_call>",
            "<tool_call>{\"name\": \"ping\"",
            "<tool_call>\nping(1)\n</tool_call>",
            "I check.\n<tool_call>{'name': 'ping'}</tool_call>",
            "<function=ping>{\"a\":</function>",
            "<|python_tag|>ping.call(a=1)",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ping",
            "I check.<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"ping\">",
            "[ping(a=1), get_order(id=\"7\")]",
            "```tool_code\nprint(default_api.ping(a=1))\n```",
            "get_order(id='7')",
        ] {
            let reply = read(text);
            assert_eq!(reply.stop, StopReason::BrokenCall, "{text}");
            assert!(reply.calls.is_empty(), "{text}");
        }
    }

    #[test]
    fn an_answer_about_calls_stays_an_answer() {
        let call = r#"{"name":"ping","arguments":{}}"#;
        let unknown = r#"{"name":"pong","arguments":{}}"#;
        for text in [
            format!("Models write <tool_call>{call}</tool_call> to call a tool."),
            "The tag <tool_call> begins a call.".to_owned(),
            "<tool_call> is the tag that begins a call.".to_owned(),
            "Write `<tool_call>{...}</tool_call>`.".to_owned(),
            format!("For example:\n```\n<tool_call>{call}</tool_call>\n```\nThat is all."),
            format!("For example:\n<tool_call>{unknown}</tool_call>\nThat is all."),
            unknown.to_owned(),
            format!("The call is {call}"),
            "The token <|python_tag|> begins a call.".to_owned(),
            "ping (the tool) is fine (mostly)".to_owned(),
            "pong(a=1)".to_owned(),
            r#"{"name":"ping"}"#.to_owned(),
            r#"{"name":"ping","price":7}"#.to_owned(),
            r#"{"name":"ping","arguments":{},"price":7}"#.to_owned(),
            r#"{"name":"ping","parameters":[1]}"#.to_owned(),
            format!("[{call},{unknown}]"),
            format!("[{call},1]"),
            "[]".to_owned(),
            "{}".to_owned(),
        ] {
            let reply = read(&text);
            assert!(
                reply.calls.is_empty() && reply.stop == StopReason::Stop,
                "{text}"
            );
            assert_eq!(reply.text, text);
        }
    }

    #[test]
    fn a_call_of_an_unknown_tool_that_ends_the_text_is_reported_to_the_model() {
        let reply = read("<tool_call>{\"name\":\"pong\",\"arguments\":{}}</tool_call>");
        assert_eq!(
            reply.calls.first().map(|call| call.name.as_str()),
            Some("pong")
        );
    }

    #[test]
    fn many_markers_take_linear_time() {
        for piece in [
            "<tool_call>",
            "x <tool_call>{ ",
            "\n<tool_call> x",
            "[",
            "{\"name\":\n",
            "<function=ping>",
            "<function=ping>{}</function>",
            "`<tool_call>[[[[`",
        ] {
            let text = piece.repeat(MAX_TEXT_BYTES / piece.len());
            let _ = read(&text);
            let _ = read(&format!("x{text}"));
        }
    }
}
