//! The clients of model providers.

mod anthropic;
mod bedrock;
mod call;
mod codes;
mod content;
mod endpoint;
mod foreign;
mod http;
mod openai;
mod provider_error;
mod refusal;
mod refused;
#[cfg(test)]
mod reply_tests;
mod retry_after;

use std::borrow::Cow;

use domain::agent::RequestPart;
use domain::{
    ErrorType, Failure, Fault, MAX_JSON_VALUES, ModelReply, Provider, ToolCall, Usage,
    count_json_values, parse_foreign_json,
};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use store::Bedrock;
use store::env::{Env, EnvError};
use tokio::task::JoinError;

use crate::PrivateHosts;
use crate::egress::Egress;
use crate::memory::{MemoryBudget, RunMemory};
pub(crate) use call::ModelCall;
use foreign::{ReplyError, decode, replace_non_numbers};
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
            CallResult::Reply(reply) => {
                // The server may accept tools since its settings were changed.
                if !model_call.tools.is_empty() {
                    model_call.refused.remove(&RequestPart::Tools);
                }
                return Ok(reply);
            }
            CallResult::Refused(part, fault) => (part, fault),
        };
        model_call.add_refused(part);
        if part == RequestPart::Tools {
            return Err(no_tools(fault));
        }
        let second = self.call_once(model_call).await;
        // Then the refusal may have been about something else. A wrong guess must not be stored.
        if second.is_err() {
            model_call.refused.remove(&part);
        }
        match second? {
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
    // Replaces the advice on the status, which is not the reason.
    let with_advice = |message: &str| {
        let message = message.split(": check ").next().unwrap_or(message);
        format!("{message}: {advice}")
    };
    let logged = with_advice(refusal.log_message());
    Fault::Permanent(Failure {
        message: with_advice(&refusal.message),
        log_message: Some(logged.into()),
        retryable: false,
        ..refusal
    })
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
    let text = decode(body);
    let parsed = match (protocol.parse_reply)(&text) {
        Err(ReplyError::NotAReply) => match replace_non_numbers(&text) {
            Some(repaired) => (protocol.parse_reply)(&repaired),
            None => Err(ReplyError::NotAReply),
        },
        parsed => parsed,
    };
    let mut reply = parsed.map_err(|error| match error {
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
