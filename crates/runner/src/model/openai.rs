//! OpenAI chat completions, as OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and
//! others serve them (<https://platform.openai.com/docs/api-reference/chat>).

use std::time::Duration;

use domain::{ErrorType, Failure, Fault, Message as Said, ModelReply, StopReason, ToolSpec};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::error_chain;
use url::Url;

use super::{ModelsError, Question};
use crate::PrivateHosts;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is gone without a word is noticed after a few of these; one that
/// is only slow has the run's whole time.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Most bytes of a reply; past it the run fails rather than fill the memory.
const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn http_client(private_hosts: PrivateHosts) -> Result<Client, ModelsError> {
    let tls = rustls::crypto::ring::default_provider();
    // Installed once a process; a second time it is there already.
    let _ = tls.install_default();
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(std::sync::Arc::new(private_hosts))
        .user_agent(concat!("agent-webhooks/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

pub(super) async fn ask(
    http: &Client,
    private_hosts: &PrivateHosts,
    question: &Question<'_>,
) -> Result<ModelReply, Fault> {
    let url = endpoint(question)?;
    private_hosts.check(&url).map_err(|refused| refused_address(&refused))?;
    let mut request = http.post(url.clone()).json(&request_body(&url, question));
    if let Some(key) = question.api_key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.map_err(unreachable_server)?;
    if !response.status().is_success() {
        let server = url.origin().ascii_serialization();
        tracing::warn!(server, status = response.status().as_u16(), "the model's server refused");
        return Err(refusal(response.status(), response.headers()));
    }
    read_completion(&read_body(response).await?)
}

/// What a chat completion says: the body of a model server's 200, which may be
/// anything at all.
pub fn read_completion(body: &[u8]) -> Result<ModelReply, Fault> {
    let completion = serde_json::from_slice::<Completion>(body).map_err(|_| {
        Fault::permanent(
            ErrorType::ModelError,
            "The model's server answered something that is no chat completion",
        )
    })?;
    completion.into_reply()
}

fn endpoint(question: &Question<'_>) -> Result<Url, Fault> {
    let base = question.model.base_url.as_deref().unwrap_or_default().trim_end_matches('/');
    Url::parse(&format!("{base}/chat/completions"))
        .map_err(|_| Fault::permanent(ErrorType::InvalidAgent, "The agent's model.base_url is not a URL"))
}

fn request_body(url: &Url, question: &Question<'_>) -> serde_json::Value {
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
            let mut said = json!({ "role": "assistant", "content": text, "tool_calls": calls });
            if let (Some(Value::Object(echo)), Some(said)) = (echo, said.as_object_mut()) {
                said.extend(echo.clone());
            }
            vec![said]
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

async fn read_body(mut response: Response) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_server)? {
        if body.len() + chunk.len() > MAX_REPLY_BYTES {
            return Err(Fault::permanent(
                ErrorType::ModelError,
                "The model's server answered more than 8 MiB",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The log names the address; who may read a task need not learn it.
fn refused_address(refused: &crate::egress::Refused) -> Fault {
    tracing::error!(%refused, "call to a model refused");
    Fault::permanent(ErrorType::InvalidAgent, "The address of the agent's model is not allowed here")
}

/// Connections fail and break: worth another try, unless the address is refused.
fn unreachable_server(error: reqwest::Error) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<crate::egress::Refused>() {
            return refused_address(refused);
        }
        cause = error.source();
    }
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let is_connect = error.is_connect();
    tracing::warn!(server, error = error_chain(&error.without_url()), "call to a model failed");
    let message = match is_connect {
        true => "The model's server could not be reached",
        false => "The connection to the model's server broke",
    };
    Fault::passing(ErrorType::ModelError, message)
}

/// 408, 429 and 5xx may pass (RFC 9110 section 15); anything else will not.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Fault {
    let message = format!("The model's server answered {}", status.as_u16());
    let passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        || status.is_server_error();
    if passing {
        let failure = Failure::passing(ErrorType::ModelError, message);
        return Fault::Passing { failure, retry_after: retry_after(headers) };
    }
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check the agent's model.api_key",
        StatusCode::NOT_FOUND => ": check the agent's model.base_url and model.name",
        _ => "",
    };
    Fault::permanent(ErrorType::ModelError, message + hint)
}

/// Whole seconds (RFC 9110 section 10.2.3); the form with a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    /// What DeepSeek, vLLM and llama.cpp call the reasoning.
    #[serde(default)]
    reasoning_content: Option<String>,
    /// What OpenRouter and Ollama call it.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    /// JSON in a text; some servers send the JSON itself.
    #[serde(default)]
    arguments: Value,
}

impl From<ToolCall> for domain::ToolCall {
    fn from(call: ToolCall) -> Self {
        let arguments = match call.function.arguments {
            Value::String(text) => text,
            Value::Null => String::new(),
            json => json.to_string(),
        };
        Self { id: call.id, name: call.function.name, arguments }
    }
}

#[derive(Default, Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl Completion {
    fn into_reply(self) -> Result<ModelReply, Fault> {
        let counts = self.usage.unwrap_or_default();
        let Some(choice) = self.choices.into_iter().next() else {
            return Err(Fault::permanent(
                ErrorType::ModelError,
                "The model's server answered without a choice",
            ));
        };
        let message = choice.message;
        Ok(ModelReply {
            model: self.model.unwrap_or_default(),
            text: message.content.unwrap_or_default(),
            thought: message.reasoning_content.or(message.reasoning).unwrap_or_default(),
            calls: message.tool_calls.into_iter().flatten().map(Into::into).collect(),
            echo: None,
            stop: match choice.finish_reason.as_deref() {
                Some("length") => StopReason::Length,
                Some("content_filter") => StopReason::Filtered,
                _ => StopReason::Stop,
            },
            input_tokens: counts.prompt_tokens,
            output_tokens: counts.completion_tokens,
        })
    }
}
