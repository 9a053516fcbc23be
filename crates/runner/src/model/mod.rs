//! The clients of model providers.

mod anthropic;
mod bedrock;
mod call;
mod codes;
mod foreign;
mod http;
mod openai;
mod refused;

use domain::agent::{RefusedParts, RequestPart};
use domain::{
    ErrorType, Failure, Fault, MAX_JSON_VALUES, ModelReply, Provider, ToolCall, Usage,
    count_json_values, parse_foreign_json,
};
use reqwest::StatusCode;
use serde_json::Value;
use store::env::{Env, EnvError};
use store::{Bedrock, StoredAgent};
use tokio::task::JoinError;
use url::Url;

use crate::PrivateHosts;
use crate::egress::Egress;
use crate::memory::{MemoryBudget, RunMemory};
pub(crate) use call::ModelCall;
use foreign::ReplyError;
use http::{PostError, Request};
use refused::{RefusedMemory, refused_part};

/// What the protocol of a provider needs, all in one module. What else distinguishes a
/// provider is in the table of [`domain::agent::ProviderInfo`].
struct Protocol {
    request: fn(&Models, &ModelCall<'_>) -> Result<Request, Fault>,
    /// Whether the servers can enforce this schema of answers.
    can_enforce: fn(&Value) -> bool,
    /// Parses the body of a 200 response.
    parse_reply: fn(&[u8]) -> Result<ModelReply, ReplyError>,
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
    refused: RefusedMemory,
}

/// Why the clients could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("failed to create the HTTP client for models")]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Env(#[from] EnvError),
}

impl Models {
    /// Clients that reach public hosts and these private hosts.
    pub fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        let egress = Egress::new(private_hosts)?;
        Ok(Self {
            egress,
            bedrock: None,
            memory: MemoryBudget::local(),
            refused: RefusedMemory::default(),
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

    /// What the server of this agent's model has refused so far.
    pub(crate) fn refused_parts(&self, record: &StoredAgent) -> RefusedParts {
        self.refused.get(record)
    }

    /// Calls the model. If the server refuses a part of the request, this asks once more
    /// without it. The caller limits the time and decides on retries.
    pub(crate) async fn call_model(&self, model_call: &ModelCall<'_>) -> Result<ModelReply, Fault> {
        let (part, fault) = match self.call_once(model_call).await? {
            CallResult::Reply(reply) => return Ok(reply),
            CallResult::Refused(part, fault) => (part, fault),
        };
        if part == RequestPart::Tools {
            return Err(no_tools(fault));
        }
        let mut refused = model_call.refused.clone();
        refused.insert(part);
        let without = ModelCall {
            refused: &refused,
            ..*model_call
        };
        let second = self.call_once(&without).await;
        // After a permanent error, the refusal may have been about something else.
        if !matches!(second, Err(Fault::Permanent(_))) {
            self.learn(model_call, part);
        }
        match second? {
            CallResult::Reply(reply) => Ok(reply),
            CallResult::Refused(RequestPart::Tools, fault) => Err(no_tools(fault)),
            // The next attempt asks without this part too.
            CallResult::Refused(part, fault) => {
                self.learn(model_call, part);
                Err(fault.into_transient())
            }
        }
    }

    fn learn(&self, model_call: &ModelCall<'_>, part: RequestPart) {
        tracing::warn!(
            part = part.as_str(),
            "the model server does not accept a part of the request"
        );
        self.refused.add(model_call.record, part);
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
        let body = match http::post(&self.egress, protocol, request).await {
            Ok(body) => body,
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
        let mut reply = parse_within_budget(provider, body).await?;
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
async fn parse_within_budget(provider: Provider, body: Vec<u8>) -> Result<ModelReply, Fault> {
    let memory = RunMemory::current();
    let bytes = body.len();
    let counted = memory
        .off_workers(bytes, move || (count_json_values(&body), body))
        .await;
    let (values, body) = counted.map_err(not_parsed)?;
    memory.before_storing(bytes, values).await;
    memory
        .off_workers(bytes, move || parse_reply(provider, &body))
        .await
        .map_err(not_parsed)?
}

/// An error in our own code.
fn not_parsed(error: JoinError) -> Fault {
    tracing::error!(%error, "model reply not parsed");
    Fault::permanent(ErrorType::Internal, "The model's reply could not be parsed")
}

/// Parses a model's reply, the body of a 200 response. It may be any bytes. Only known fields
/// are stored, each within its limit.
pub fn parse_reply(provider: Provider, body: &[u8]) -> Result<ModelReply, Fault> {
    let parsed = protocol(provider)
        .ok_or(ReplyError::NotAReply)
        .and_then(|protocol| (protocol.parse_reply)(body));
    parsed.map_err(|error| {
        let message = match error {
            ReplyError::NotAReply => {
                "The model provider returned an unexpected response".to_owned()
            }
            ReplyError::MoreThan(bound) => format!("The model provider returned more than {bound}"),
        };
        Fault::permanent(ErrorType::ModelError, message)
    })
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
    let (base, query) = split_query(base);
    // Azure shows the whole address.
    let base = base.trim_end_matches('/');
    let without_path = base.strip_suffix(path);
    let without_path = without_path.and_then(|base| base.strip_suffix('/'));
    let url = format!("{}/{path}", without_path.unwrap_or(base));
    let mut url = Url::parse(&url).map_err(|_| not_a_url())?;
    url.set_query(query);
    Ok(url)
}

/// A URL without its query, and the query unless it is empty.
fn split_query(url: &str) -> (&str, Option<&str>) {
    match url.split_once('?') {
        Some((url, query)) => (url, Some(query).filter(|query| !query.is_empty())),
        None => (url, None),
    }
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
