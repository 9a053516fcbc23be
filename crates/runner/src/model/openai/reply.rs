//! Parses replies of the chat completions API, which differ in many fields.

use domain::{ModelReply, Provider, StopReason, ToolCall, json_fields};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::CALL_FIELDS;
use crate::model::content::{add_block, parse_blocks, parse_stop_reason, plain_text};
use crate::model::foreign::{
    AtMost, MAX_CALLS, ReplyError, optional_fields, other_fields, parse_arguments, parse_count,
    parse_echo, parse_id, parse_string,
};
use crate::model::provider_error::ProviderError;

/// Choices that are looked at. We request one.
const MAX_CHOICES: usize = 8;

/// What the product itself reads and writes of a call and its function.
const CALL_FIELD_NAMES: [&str; 6] = ["id", "type", "index", "function", "name", "arguments"];
const FUNCTION_FIELD_NAMES: [&str; 2] = ["name", "arguments"];

pub(super) fn parse_reply(body: &str) -> Result<ModelReply, ReplyError> {
    let names = ["model", "choices", "usage", "error", "base_resp", "id"];
    let [model, choices, usage, error, base_resp, id] = json_fields(body, names)?.values;
    // MiniMax reports its errors in `base_resp`.
    let error = error.or(base_resp);
    let names = [
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
    ];
    let [prompt, completion, input, output] = optional_fields(usage, names);
    let reply = ModelReply {
        model: parse_string(model).unwrap_or_default(),
        input_tokens: parse_count(prompt.or(input)),
        output_tokens: parse_count(completion.or(output)),
        ..ModelReply::default()
    };
    match first_choice(choices) {
        Some(choice) => parse_choice(choice, reply),
        None if error.is_some() || (choices.is_none() && usage.is_none() && id.is_none()) => {
            Err(ReplyError::NotAReply)
        }
        None => Ok(ModelReply {
            stop: StopReason::Broken,
            ..reply
        }),
    }
}

/// We request one choice.
fn first_choice(choices: Option<&RawValue>) -> Option<&RawValue> {
    let choices: AtMost<&RawValue, MAX_CHOICES> = serde_json::from_str(choices?.get()).ok()?;
    choices
        .items
        .into_iter()
        .find(|choice| choice.get().starts_with('{'))
}

fn parse_choice(choice: &RawValue, reply: ModelReply) -> Result<ModelReply, ReplyError> {
    let names = ["message", "delta", "text", "finish_reason", "error"];
    let [message, delta, text, finish_reason, error] = optional_fields(Some(choice), names);
    let finish_reason = parse_string(finish_reason);
    let message = message.or(delta);
    // OpenRouter reports an error that happened after its response began in the choice.
    if error.is_some() && (message.is_none() || finish_reason.as_deref() == Some("error")) {
        let error = ProviderError::of_success(choice.get().as_bytes());
        return Err(error.map_or(ReplyError::NotAReply, |error| {
            ReplyError::Refused(Box::new(error))
        }));
    }
    let stop = match parse_stop_reason(finish_reason.as_deref()) {
        StopReason::Stop if message.or(text).is_none() => StopReason::Broken,
        stop => stop,
    };
    let mut reply = ModelReply { stop, ..reply };
    if message.is_none() {
        reply.text = plain_text(text, 0)?;
    }
    add_message(message, &mut reply)?;
    Ok(reply)
}

fn add_message(message: Option<&RawValue>, reply: &mut ModelReply) -> Result<(), ReplyError> {
    let [content, refusal, tool_calls, function_call] = optional_fields(
        message,
        ["content", "refusal", "tool_calls", "function_call"],
    );
    // The reasoning, as named by DeepSeek, vLLM and llama.cpp, by OpenRouter and Ollama, and with
    // signatures by OpenRouter.
    let [reasoning_content, reasoning, reasoning_details] = optional_fields(
        message,
        ["reasoning_content", "reasoning", "reasoning_details"],
    );
    for block in parse_blocks(content)? {
        add_block(block, reply)?;
    }
    let is_refusal = parse_string(refusal).is_some_and(|refusal| !refusal.trim().is_empty());
    if is_refusal && reply.stop == StopReason::Stop {
        reply.stop = StopReason::Refused;
    }
    let thought = match reasoning_content {
        Some(thought) => plain_text(Some(thought), 0)?,
        None => plain_text(reasoning, 0)?,
    };
    reply.thought.insert_str(0, &thought);
    let mut echo = Echo::default();
    echo.add_message_field("reasoning_content", reasoning_content);
    echo.add_message_field("reasoning_details", reasoning_details);
    let [thinking_blocks, extra_content] =
        optional_fields(message, ["thinking_blocks", "extra_content"]);
    echo.add_message_field("thinking_blocks", thinking_blocks);
    echo.add_message_field("extra_content", extra_content);
    add_calls(tool_calls, reply, &mut echo)?;
    if let (Some(function), true) = (function_call, reply.calls.is_empty()) {
        add_call(None, Some(function), reply)?;
    }
    reply.echo = echo.parse(reply.calls.len())?;
    Ok(())
}

/// A list of calls, or a call.
fn add_calls<'a>(
    tool_calls: Option<&'a RawValue>,
    reply: &mut ModelReply,
    echo: &mut Echo<'a>,
) -> Result<(), ReplyError> {
    let Some(tool_calls) = tool_calls else {
        return Ok(());
    };
    let calls = match tool_calls.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str::<AtMost<&RawValue, MAX_CALLS>>(tool_calls.get())?.items,
        Some(b'{') => vec![tool_calls],
        _ => Vec::new(),
    };
    for call in calls {
        let [id, function] = optional_fields(Some(call), ["id", "function"]);
        let place = reply.calls.len();
        // Some proxies leave out the level of `function`.
        let or_call = function.or(call.get().starts_with('{').then_some(call));
        add_call(id, or_call, reply)?;
        if reply.calls.len() > place {
            echo.add_call(place, call, function);
        }
    }
    Ok(())
}

fn add_call(
    id: Option<&RawValue>,
    function: Option<&RawValue>,
    reply: &mut ModelReply,
) -> Result<(), ReplyError> {
    let [name, arguments] = optional_fields(function, ["name", "arguments"]);
    let name = parse_string(name).unwrap_or_default();
    let arguments = parse_arguments(arguments)?;
    match (name.trim(), arguments.trim()) {
        // A placeholder, as some servers send beside an answer.
        ("", "" | "{}") => {}
        ("", _) => reply.stop = StopReason::Broken,
        _ => reply.calls.push(ToolCall {
            id: parse_id(id),
            name,
            arguments,
        }),
    }
    Ok(())
}

/// The fields that must go back to the server with the tool calls of a message. DeepSeek
/// requires the reasoning, OpenRouter and LiteLLM the reasoning with signatures, Gemini the
/// fields that it added to a call.
#[derive(Default)]
struct Echo<'a>(Vec<(EchoPlace, String, &'a RawValue)>);

#[derive(Clone, Copy)]
enum EchoPlace {
    Message,
    /// The call with this number.
    Call(usize),
    /// The `function` of this call.
    Function(usize),
}

impl<'a> Echo<'a> {
    fn add_message_field(&mut self, name: &str, value: Option<&'a RawValue>) {
        let field = value.map(|value| (EchoPlace::Message, name.to_owned(), value));
        self.0.extend(field);
    }

    fn add_call(&mut self, place: usize, call: &'a RawValue, function: Option<&'a RawValue>) {
        for (name, value) in other_fields(call, &CALL_FIELD_NAMES) {
            self.0.push((EchoPlace::Call(place), name, value));
        }
        let of_function = function.map(|function| other_fields(function, &FUNCTION_FIELD_NAMES));
        for (name, value) in of_function.unwrap_or_default() {
            self.0.push((EchoPlace::Function(place), name, value));
        }
    }

    fn parse(self, calls: usize) -> Result<Option<Value>, ReplyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let raw: Vec<&RawValue> = self.0.iter().map(|(_, _, value)| *value).collect();
        let values = parse_echo(&raw)?;
        let mut fields = Map::new();
        let mut of_calls = vec![Map::new(); calls];
        for ((place, name, _), value) in self.0.into_iter().zip(values) {
            let target = match place {
                EchoPlace::Message => Some(&mut fields),
                EchoPlace::Call(place) => of_calls.get_mut(place),
                EchoPlace::Function(place) => of_calls.get_mut(place).and_then(|of_call| {
                    let function = of_call.entry("function").or_insert_with(|| json!({}));
                    function.as_object_mut()
                }),
            };
            if let Some(target) = target {
                target.insert(name, value);
            }
        }
        if of_calls.iter().any(|of_call| !of_call.is_empty()) {
            fields.insert(
                CALL_FIELDS.to_owned(),
                of_calls.into_iter().map(Value::from).collect(),
            );
        }
        Ok(Some(json!({ Provider::Openai.as_str(): fields })))
    }
}
