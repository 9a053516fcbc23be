//! OpenAI chat completions, as OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and
//! others serve them (<https://platform.openai.com/docs/api-reference/chat>).

use domain::{Fault, Message as Said, ModelReply, Provider, StopReason, ToolSpec};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;

use super::foreign::{AtMost, MAX_CALLS, ReplyError, arguments, echo, string};
use super::http::Request;
use super::{Question, endpoint};

pub(super) fn request(question: &Question<'_>) -> Result<Request, Fault> {
    let url = endpoint(question.model.base_url.as_deref().unwrap_or_default(), "chat/completions")?;
    let request = Request::json(url.clone(), &request_body(&url, question));
    match question.api_key {
        Some(key) => request.with_secret("authorization", &format!("Bearer {key}")),
        None => Ok(request),
    }
}

fn request_body(url: &Url, question: &Question<'_>) -> Value {
    // OpenAI's own newer models refuse the name that all other servers know.
    let limit = match url.host_str() {
        Some("api.openai.com") => "max_completion_tokens",
        _ => "max_tokens",
    };
    let mut messages = vec![
        json!({ "role": "system", "content": question.system }),
        json!({ "role": "user", "content": question.payload.as_json() }),
    ];
    messages.extend(question.talk.iter().flat_map(told));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(question.model.name));
    set("messages", messages.into());
    set(limit, question.max_output_tokens.into());
    set("stream", false.into());
    if !question.tools.is_empty() {
        set("tools", question.tools.iter().map(tool).collect());
    }
    if let Some(schema) = question.schema {
        let schema = json!({ "name": "answer", "schema": schema });
        set("response_format", json!({ "type": "json_schema", "json_schema": schema }));
    }
    body.into()
}

fn tool(spec: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = spec;
    json!({
        "type": "function",
        "function": { "name": name, "description": description, "parameters": parameters },
    })
}

/// A message in this protocol's form; the results of a turn are a message each.
fn told(message: &Said) -> Vec<Value> {
    match message {
        Said::Model { text, calls, echo } => {
            let calls: Vec<Value> = calls.iter().map(call).collect();
            let mut said = Map::from_iter([
                ("role".to_owned(), "assistant".into()),
                ("content".to_owned(), text.as_str().into()),
            ]);
            if !calls.is_empty() {
                said.insert("tool_calls".to_owned(), calls.into());
            }
            let echo = echo.as_ref().and_then(|echo| echo.get(Provider::Openai.as_str()));
            said.extend(
                echo.and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())),
            );
            vec![said.into()]
        }
        Said::Tools(results) => results
            .iter()
            .map(|result| json!({ "role": "tool", "tool_call_id": result.id, "content": result.content }))
            .collect(),
        Said::Correction(text) => vec![json!({ "role": "user", "content": text })],
    }
}

fn call(call: &domain::ToolCall) -> Value {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

pub(super) fn parse_reply(body: &[u8]) -> Result<ModelReply, ReplyError> {
    let completion: Completion<'_> = serde_json::from_slice(body)?;
    let counts = completion.usage.unwrap_or_default();
    let reply = ModelReply {
        model: completion.model.unwrap_or_default(),
        input_tokens: counts.prompt_tokens,
        output_tokens: counts.completion_tokens,
        ..ModelReply::default()
    };
    match completion.choices.items.into_iter().next() {
        Some(choice) => choice.into_reply(reply),
        None => Ok(ModelReply { stop: StopReason::Broken, ..reply }),
    }
}

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(default)]
    model: Option<String>,
    /// One was asked for.
    #[serde(borrow)]
    choices: AtMost<Choice<'a>, 1>,
    #[serde(default)]
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    content: Option<String>,
    /// Why the model would not answer, instead of an answer.
    #[serde(default)]
    refusal: Option<String>,
    /// What OpenRouter and Ollama call the reasoning.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<AtMost<ToolCall<'a>, MAX_CALLS>>,
    /// What DeepSeek, vLLM and llama.cpp call the reasoning.
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl Choice<'_> {
    fn into_reply(self, reply: ModelReply) -> Result<ModelReply, ReplyError> {
        let message = self.message;
        let stop = match self.finish_reason.as_deref() {
            Some("length" | "max_tokens") => StopReason::Length,
            Some("model_length") => StopReason::ContextFull,
            Some("content_filter") => StopReason::Filtered,
            // DeepSeek's, OpenRouter's and vLLM's words for a fault of theirs.
            Some("insufficient_system_resource" | "error" | "abort") => StopReason::Broken,
            _ if message.refusal.is_some() => StopReason::Refused,
            _ => StopReason::Stop,
        };
        let echo = message.echo()?;
        let thought = string(message.reasoning_content).or(message.reasoning).unwrap_or_default();
        let calls = message.tool_calls.unwrap_or_default().items.into_iter().map(ToolCall::into_call);
        let calls = calls.collect::<Result<_, _>>()?;
        Ok(ModelReply { text: message.content.unwrap_or_default(), thought, calls, echo, stop, ..reply })
    }
}

impl Message<'_> {
    /// What a server wants to see again beside the calls of a message: DeepSeek the
    /// reasoning that led to them, OpenRouter the same with signatures.
    fn echo(&self) -> Result<Option<Value>, ReplyError> {
        let fields =
            [("reasoning_content", self.reasoning_content), ("reasoning_details", self.reasoning_details)];
        let (names, values): (Vec<_>, Vec<_>) =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).unzip();
        if names.is_empty() {
            return Ok(None);
        }
        let fields: Map<String, Value> = names.into_iter().zip(echo(&values)?).collect();
        Ok(Some(json!({ Provider::Openai.as_str(): fields })))
    }
}

impl ToolCall<'_> {
    fn into_call(self) -> Result<domain::ToolCall, ReplyError> {
        let Function { name, arguments: written } = self.function;
        Ok(domain::ToolCall { id: self.id.unwrap_or_default(), name, arguments: arguments(written)? })
    }
}
