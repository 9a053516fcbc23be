//! The clients of model providers.

mod anthropic;
mod bedrock;
mod codes;
mod content;
mod foreign;
mod http;
mod openai;
mod provider_error;
mod refusal;
mod refused;
#[cfg(test)]
mod reply_forms;
mod retry_after;

use std::borrow::Cow;

use domain::agent::{RefusedParts, RequestPart};
use domain::{
    ChatMessage, ErrorType, Failure, Fault, MAX_JSON_VALUES, ModelConfig, ModelReply, Payload,
    Provider, ToolCall, ToolSpec, Usage, count_json_values, parse_foreign_json,
};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use store::Bedrock;
use store::env::{Env, EnvError};
use tokio::task::JoinError;
use url::Url;

use crate::PrivateHosts;
use crate::egress::Egress;
use crate::memory::{MemoryBudget, RunMemory};
use foreign::{ReplyError, decode};
use http::{PostError, Received, Request};
use provider_error::ProviderError;
use refusal::Refusal;
use refused::refused_part;
pub(crate) use retry_after::retry_after;

/// A repaired text takes up to three times as much memory as the body, beside it.
const REPAIRED_SIZE: usize = 4;

/// What the protocol of a provider needs, all in one module. What else distinguishes a
/// provider is in the table of [`domain::agent::ProviderInfo`].
struct Protocol {
    request: fn(&Models, &ModelCall<'_>) -> Result<Request, Fault>,
    /// Whether the servers can enforce this schema of answers.
    can_enforce: fn(&Value) -> bool,
    /// Parses the body of a 200 response.
    parse_reply: fn(&str) -> Result<ModelReply, ReplyError>,
    /// The documented error codes. Only those of the protocols are logged.
    error_codes: &'static [&'static str],
    /// What the agent's owner can do about an error with this status and this code. Follows
    /// the error message, or is empty.
    advice: fn(StatusCode, &str) -> &'static str,
}

/// Returns `None` for the provider that calls no model.
const fn protocol(provider: Provider) -> Option<&'static Protocol> {
    match provider {
        Provider::Openai => Some(&openai::PROTOCOL),
        Provider::Anthropic => Some(&anthropic::PROTOCOL),
        Provider::Bedrock => Some(&bedrock::PROTOCOL),
        Provider::Extractive => None,
    }
}

#[derive(Clone, Debug)]
pub struct Models {
    egress: Egress,
    bedrock: Option<Bedrock>,
    memory: MemoryBudget,
}

/// Why the clients could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("failed to create the HTTP client for models")]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Env(#[from] EnvError),
}

pub(crate) struct ModelCall<'a> {
    pub(crate) model: &'a ModelConfig,
    pub(crate) api_key: Option<&'a str>,
    pub(crate) system: &'a str,
    pub(crate) payload: &'a Payload,
    /// The messages after the payload.
    pub(crate) messages: &'a [ChatMessage],
    pub(crate) tools: &'a [ToolSpec],
    /// The schema that the answer must match.
    pub(crate) schema: Option<&'a Value>,
    pub(crate) max_output_tokens: u32,
    /// What the server does not accept, as far as it is known.
    pub(crate) refused: RefusedParts,
}

impl ModelCall<'_> {
    fn base_url(&self) -> &str {
        let default = self.model.provider.info().default_base_url;
        self.model
            .base_url
            .as_deref()
            .or(default)
            .unwrap_or_default()
    }

    fn add_refused(&mut self, part: RequestPart) {
        let part_name = part.as_str();
        tracing::warn!(
            part = part_name,
            "the model server does not accept a part of the request"
        );
        self.refused.insert(part);
    }

    fn is_refused(&self, part: RequestPart) -> bool {
        self.refused.contains(&part)
    }

    /// Whether a request has this part.
    fn sends(&self, part: RequestPart) -> bool {
        match part {
            RequestPart::MaxTokens | RequestPart::MaxCompletionTokens => {
                self.limit_part() == Some(part)
            }
            RequestPart::Schema => self.enforced_schema().is_some(),
            RequestPart::SchemaWithTools => {
                self.enforced_schema().is_some() && !self.tools.is_empty()
            }
            RequestPart::SystemMessage => self.system_message().is_some(),
            RequestPart::Tools => !self.tools.is_empty(),
        }
    }

    /// The name of the limit of answers in the chat completions API. Newer models of OpenAI
    /// refuse the name that all other servers use.
    fn limit_part(&self) -> Option<RequestPart> {
        if self.model.provider != Provider::Openai {
            return None;
        }
        let url = Url::parse(self.base_url()).ok();
        let is_openai = url.as_ref().and_then(Url::host_str) == Some("api.openai.com");
        let names = match is_openai {
            true => [RequestPart::MaxCompletionTokens, RequestPart::MaxTokens],
            false => [RequestPart::MaxTokens, RequestPart::MaxCompletionTokens],
        };
        names.into_iter().find(|name| !self.is_refused(*name))
    }

    /// The schema that the server is asked to enforce.
    fn enforced_schema(&self) -> Option<&Value> {
        let can_enforce = protocol(self.model.provider)?.can_enforce;
        let is_refused = self.is_refused(RequestPart::Schema)
            || !self.tools.is_empty() && self.is_refused(RequestPart::SchemaWithTools);
        self.schema
            .filter(|schema| !is_refused && can_enforce(schema))
    }

    /// The text of the system message, which asks for a schema that the server does not
    /// enforce.
    fn system_text(&self) -> Cow<'_, str> {
        match self.schema {
            Some(schema) if self.enforced_schema().is_none() => Cow::Owned(format!(
                "{}\n\nAnswer with JSON only and no other text. It must match this JSON schema:\n{schema}",
                self.system
            )),
            _ => Cow::Borrowed(self.system),
        }
    }

    /// `None` if it would be blank, which some servers refuse, or if it is not accepted.
    fn system_message(&self) -> Option<Cow<'_, str>> {
        let is_refused = self.is_refused(RequestPart::SystemMessage);
        Some(self.system_text()).filter(|text| !is_refused && !text.trim().is_empty())
    }

    /// The payload, after the text of the system message if the server accepts none.
    fn user_message(&self) -> Cow<'_, str> {
        let payload = self.payload.as_json();
        match self.is_refused(RequestPart::SystemMessage) {
            true => Cow::Owned(format!("{}\n\n{payload}", self.system_text())),
            false => Cow::Borrowed(payload),
        }
    }
}

impl Models {
    /// Clients that reach public hosts and these private hosts.
    pub fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        let egress = Egress::new(private_hosts)?;
        Ok(Self {
            egress,
            bedrock: None,
            memory: MemoryBudget::local(),
        })
    }

    /// Replaces the memory budget of the local server.
    #[must_use]
    pub fn with_memory(self, memory: MemoryBudget) -> Self {
        Self { memory, ..self }
    }

    /// Adds Bedrock, if the environment of the process contains its settings.
    #[must_use]
    pub fn with_bedrock(self, bedrock: Option<Bedrock>) -> Self {
        Self { bedrock, ..self }
    }

    /// For a function. No private host is allowed by default.
    pub fn from_env(env: &Env) -> Result<Self, ModelsError> {
        let private_hosts = PrivateHosts::from_env(env, PrivateHosts::none())?;
        let models = Self::new(private_hosts)?.with_memory(MemoryBudget::from_env(env)?);
        Ok(models.with_bedrock(Bedrock::from_env(env)))
    }

    pub(crate) const fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// For calls to tools, to which the same rules apply.
    pub(crate) const fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The credential that is part of requests to Bedrock, in addition to their signature.
    pub(crate) fn session_token(&self) -> Option<&str> {
        self.bedrock.as_ref()?.session_token()
    }

    /// Calls the model. If the server refuses a part of the request, this adds the part to
    /// `model_call.refused` and asks once more without it. The caller limits the time and
    /// decides on retries.
    pub(crate) async fn call_model(
        &self,
        model_call: &mut ModelCall<'_>,
    ) -> Result<ModelReply, Fault> {
        let (part, fault) = match self.call_once(model_call).await? {
            CallResult::Reply(reply) => return Ok(reply),
            CallResult::Refused(part, fault) => (part, fault),
        };
        model_call.add_refused(part);
        if part == RequestPart::Tools {
            return Err(no_tools(fault));
        }
        match self.call_once(model_call).await? {
            CallResult::Reply(reply) => Ok(reply),
            CallResult::Refused(part, fault) => {
                model_call.add_refused(part);
                match part {
                    RequestPart::Tools => Err(no_tools(fault)),
                    // The next attempt asks without this part too.
                    _ => Err(fault.into_transient()),
                }
            }
        }
    }

    async fn call_once(&self, model_call: &ModelCall<'_>) -> Result<CallResult, Fault> {
        let provider = model_call.model.provider;
        let Some(protocol) = protocol(provider) else {
            return Err(Fault::permanent(
                ErrorType::InvalidAgent,
                "The agent has no model",
            ));
        };
        let request = (protocol.request)(self, model_call)?;
        let received = match http::post(&self.egress, protocol, request).await {
            Ok(received) => received,
            Err(PostError::Fault(fault)) => return Err(fault),
            Err(PostError::Status {
                fault,
                status,
                body,
            }) => {
                return match refused_part(model_call, status, &body) {
                    Some(part) => Ok(CallResult::Refused(part, fault)),
                    None => Err(fault),
                };
            }
        };
        let Received {
            server,
            headers,
            body,
        } = received;
        let parsed = parse_within_budget(protocol, body).await?;
        let mut reply = parsed.map_err(|error| match error {
            ReplyError::Refused(error) => {
                Refusal::in_success(&headers, *error).into_fault(protocol, &server)
            }
            error => reply_fault(error),
        })?;
        if reply.model.is_empty() {
            reply.model = model_call.model.name.clone().unwrap_or_default();
        }
        // The name is stored in records and shown in lists.
        reply
            .model
            .truncate(reply.model.floor_char_boundary(Usage::LONGEST_NAME));
        Ok(CallResult::Reply(reply))
    }
}

/// The response to one request.
enum CallResult {
    Reply(ModelReply),
    /// The server does not accept this part of the request.
    Refused(RequestPart, Fault),
}

/// Without its tools an agent could not do its work, so they are not left out.
fn no_tools(fault: Fault) -> Fault {
    let advice = "the model does not accept tools: use another model, or remove the agent's tools";
    let (Fault::Permanent(refusal)
    | Fault::Transient {
        failure: refusal, ..
    }) = fault;
    let logged = format!("{}: {advice}", refusal.log_message());
    let failure = Failure::permanent(refusal.kind, format!("{}: {advice}", refusal.message));
    Fault::Permanent(failure.logged_as(logged))
}

/// Counts the values of a body, then parses it when the run has the memory for it.
async fn parse_within_budget(
    protocol: &'static Protocol,
    body: Vec<u8>,
) -> Result<Result<ModelReply, ReplyError>, Fault> {
    let memory = RunMemory::current();
    let bytes = body.len();
    let counted = memory
        .off_workers(bytes, move || {
            let is_repaired = matches!(decode(&body), Cow::Owned(_));
            (count_json_values(&body), is_repaired, body)
        })
        .await;
    let (values, is_repaired, body) = counted.map_err(not_parsed)?;
    let stored = if is_repaired {
        REPAIRED_SIZE * bytes
    } else {
        bytes
    };
    memory.before_storing(stored, values).await;
    memory
        .off_workers(bytes, move || parse_body(protocol, &body))
        .await
        .map_err(not_parsed)
}

/// An error in our own code.
fn not_parsed(error: JoinError) -> Fault {
    tracing::error!(%error, "model reply not parsed");
    Fault::permanent(ErrorType::Internal, "The model's reply could not be parsed")
}

/// Parses a model's reply, the body of a 200 response. It may be any bytes. Only known fields
/// are stored, each within its limit.
pub fn parse_reply(provider: Provider, body: &[u8]) -> Result<ModelReply, Fault> {
    let Some(protocol) = protocol(provider) else {
        return Err(reply_fault(ReplyError::NotAReply));
    };
    parse_body(protocol, body).map_err(|error| match error {
        ReplyError::Refused(error) => {
            Refusal::in_success(&HeaderMap::new(), *error).into_fault(protocol, "")
        }
        error => reply_fault(error),
    })
}

fn parse_body(protocol: &Protocol, body: &[u8]) -> Result<ModelReply, ReplyError> {
    let mut reply = (protocol.parse_reply)(&decode(body)).map_err(|error| match error {
        ReplyError::NotAReply => match ProviderError::of_success(body) {
            Some(error) => ReplyError::Refused(Box::new(error)),
            None => ReplyError::NotAReply,
        },
        error => error,
    })?;
    reply.separate_thinking();
    Ok(reply)
}

fn reply_fault(error: ReplyError) -> Fault {
    let message = match error {
        ReplyError::MoreThan(bound) => format!("The model provider returned more than {bound}"),
        ReplyError::NotAReply | ReplyError::Refused(_) => {
            "The model provider returned an unexpected response".to_owned()
        }
    };
    Fault::permanent(ErrorType::ModelError, message)
}

/// `path` below the agent's base URL. A query of the base URL, such as the `api-version` of
/// Azure, stays behind the path.
fn endpoint(base: &str, path: &str) -> Result<Url, Fault> {
    let not_a_url = || {
        Fault::permanent(
            ErrorType::InvalidAgent,
            "The agent's model.base_url is not a URL",
        )
    };
    let (base, query) = match base.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (base, None),
    };
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let mut url = Url::parse(&url).map_err(|_| not_a_url())?;
    url.set_query(query.filter(|query| !query.is_empty()));
    Ok(url)
}

/// Sent in place of an empty text, which some servers refuse.
fn or_nothing(text: &str) -> &str {
    match text.trim().is_empty() {
        true => "(nothing)",
        false => text,
    }
}

/// The arguments as the object that some protocols require. Invalid arguments become an empty
/// object: the model has already received an error for them.
fn as_object(arguments: &str) -> Value {
    match parse_foreign_json(arguments, MAX_JSON_VALUES) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// The content blocks of a message that was stored unchanged, because its provider signs parts
/// of it. The ids of its calls are replaced by those that the results will have.
fn echoed_blocks(
    echo: Option<&Value>,
    provider: Provider,
    calls: &[ToolCall],
    id: fn(&mut Value) -> Option<&mut Value>,
) -> Option<Vec<Value>> {
    let mut blocks = echo?.get(provider.as_str())?.as_array()?.clone();
    for (sent_id, call) in blocks.iter_mut().filter_map(id).zip(calls) {
        *sent_id = Value::String(call.id.clone());
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(provider: Provider, body: &str) -> String {
        match parse_reply(provider, body.as_bytes()) {
            Err(Fault::Permanent(failure)) if failure.kind == ErrorType::ModelError => {
                failure.message
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_over_a_limit_is_refused_with_the_name_of_the_limit() {
        let arrays = format!("[{}0]", "[0],".repeat(MAX_JSON_VALUES / 2));
        let openai = |message: String| format!(r#"{{"choices":[{{"message":{message}}}]}}"#);
        let anthropic = |block: String| format!(r#"{{"content":[{block}]}}"#);
        let bedrock =
            |block: String| format!(r#"{{"output":{{"message":{{"content":[{block}]}}}}}}"#);
        let arguments = "20000 JSON values in the arguments of a tool call";
        let signed = "20000 JSON values in a message that it signs";
        let blocks = || format!("{}{{}}", "{},".repeat(4096));
        for (provider, body, bound) in [
            (
                Provider::Openai,
                openai(format!(
                    r#"{{"tool_calls":[{{"function":{{"name":"t","arguments":{arrays}}}}}]}}"#
                )),
                arguments,
            ),
            (
                Provider::Openai,
                openai(format!(r#"{{"reasoning_details":{arrays}}}"#)),
                signed,
            ),
            (
                Provider::Anthropic,
                anthropic(format!(
                    r#"{{"type":"tool_use","id":"i","name":"t","input":{arrays}}}"#
                )),
                arguments,
            ),
            (
                Provider::Anthropic,
                anthropic(format!(r#"{{"type":"redacted_thinking","data":{arrays}}}"#)),
                signed,
            ),
            (
                Provider::Anthropic,
                anthropic(blocks()),
                "4096 content blocks",
            ),
            (
                Provider::Bedrock,
                bedrock(format!(
                    r#"{{"toolUse":{{"toolUseId":"i","name":"t","input":{arrays}}}}}"#
                )),
                arguments,
            ),
            (
                Provider::Bedrock,
                bedrock(format!(r#"{{"reasoningContent":{{"data":{arrays}}}}}"#)),
                signed,
            ),
            (Provider::Bedrock, bedrock(blocks()), "4096 content blocks"),
        ] {
            assert_eq!(
                refusal(provider, &body),
                format!("The model provider returned more than {bound}")
            );
        }
    }

    #[test]
    fn unknown_fields_may_be_anything() {
        let zz = "[[0],{\"type\":7}]";
        for (provider, body) in [
            (
                Provider::Openai,
                format!(
                    r#"{{"zz":{zz},"choices":[{{"zz":{zz},"message":{{"zz":{zz},"content":"A."}}}},{zz}]}}"#
                ),
            ),
            (
                Provider::Anthropic,
                format!(r#"{{"zz":{zz},"content":[{{"type":"text","text":"A.","zz":{zz}}}]}}"#),
            ),
            (
                Provider::Bedrock,
                format!(
                    r#"{{"zz":{zz},"output":{{"message":{{"zz":{zz},"content":[{{"text":"A.","zz":{zz}}}]}}}}}}"#
                ),
            ),
        ] {
            let reply = parse_reply(provider, body.as_bytes()).unwrap();
            assert_eq!(
                (reply.text.as_str(), reply.stop),
                ("A.", domain::StopReason::Stop),
                "{provider:?}"
            );
            assert_eq!(reply.echo, None, "{provider:?}");
        }
    }

    #[test]
    fn what_a_provider_signs_is_stored_unchanged() {
        let thinking =
            json!({ "type": "thinking", "thinking": "Hm.", "signature": "s", "zz": [1.50] });
        let call = json!({ "type": "tool_use", "id": "i", "name": "t", "input": null });
        let body = json!({ "content": [thinking, call] }).to_string();
        let reply = parse_reply(Provider::Anthropic, body.as_bytes()).unwrap();
        assert_eq!(reply.echo, Some(json!({ "anthropic": [thinking, call] })));
        assert_eq!(
            (reply.thought.as_str(), reply.calls[0].arguments.as_str()),
            ("Hm.", "")
        );
    }
}
