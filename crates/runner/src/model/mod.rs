//! The providers' protocols.

mod anthropic;
mod bedrock;
mod codes;
mod foreign;
mod http;
mod openai;

use std::borrow::Cow;

use domain::{
    ErrorType, Fault, MAX_JSON_VALUES, Message, ModelConfig, ModelReply, Payload, Provider, ToolCall,
    ToolSpec, Usage, count_json_values, parse_foreign_json,
};
use serde_json::Value;
use store::Bedrock;
use store::env::{Env, EnvError};
use tokio::task::JoinError;
use url::Url;

use crate::PrivateHosts;
use crate::client::OutgoingClient;
use crate::memory::{MemoryBudget, RunMemory};
use foreign::ReplyError;

/// The clients of all providers.
#[derive(Clone, Debug)]
pub struct Models {
    outgoing: OutgoingClient,
    bedrock: Option<Bedrock>,
    memory: MemoryBudget,
}

/// The clients could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The HTTP client.
    #[error("failed to make the HTTP client for models")]
    Client(#[from] reqwest::Error),
    /// A variable of the environment.
    #[error(transparent)]
    Env(#[from] EnvError),
}

/// One call to a model.
pub(crate) struct Question<'a> {
    pub(crate) model: &'a ModelConfig,
    pub(crate) api_key: Option<&'a str>,
    pub(crate) system: &'a str,
    pub(crate) payload: &'a Payload,
    /// What was said after the payload.
    pub(crate) talk: &'a [Message],
    pub(crate) tools: &'a [ToolSpec],
    /// What the answer must fit.
    pub(crate) schema: Option<&'a Value>,
    pub(crate) max_output_tokens: u32,
}

impl Question<'_> {
    /// The system message that also asks for an answer that fits this schema: for
    /// a model whose server cannot be told to see to it.
    fn system_with(&self, schema: Option<&Value>) -> Cow<'_, str> {
        match schema {
            None => Cow::Borrowed(self.system),
            Some(schema) => Cow::Owned(format!(
                "{}\n\nAnswer with JSON alone and no other text. It must fit this JSON schema:\n{schema}",
                self.system
            )),
        }
    }
}

impl Models {
    /// Clients that reach public hosts and these private ones.
    pub fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        let outgoing = OutgoingClient::new(private_hosts)?;
        Ok(Self { outgoing, bedrock: None, memory: MemoryBudget::local() })
    }

    /// With another budget than the local server's.
    #[must_use]
    pub fn with_memory(self, memory: MemoryBudget) -> Self {
        Self { memory, ..self }
    }

    /// With Bedrock, if the process has what it takes to ask it.
    #[must_use]
    pub fn with_bedrock(self, bedrock: Option<Bedrock>) -> Self {
        Self { bedrock, ..self }
    }

    /// For a function: no private host by default.
    pub fn from_env(env: &Env) -> Result<Self, ModelsError> {
        let private_hosts = PrivateHosts::from_env(env, PrivateHosts::none())?;
        let models = Self::new(private_hosts)?.with_memory(MemoryBudget::from_env(env)?);
        Ok(models.with_bedrock(Bedrock::from_env(env)))
    }

    /// What runs may take for replies and results.
    pub(crate) const fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// For calls to other servers, which are bound by the same rules.
    pub(crate) const fn outgoing(&self) -> &OutgoingClient {
        &self.outgoing
    }

    /// The credential that goes to Bedrock as it is, beside the signature of a request.
    pub(crate) fn session_token(&self) -> Option<&str> {
        self.bedrock.as_ref()?.session_token()
    }

    /// Asks once. Whoever calls bounds the time and decides on retries.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<ModelReply, Fault> {
        let provider = question.model.provider;
        let request = match provider {
            Provider::Openai => openai::request(question)?,
            Provider::Anthropic => anthropic::request(question)?,
            Provider::Bedrock => bedrock::request(self.bedrock.as_ref(), question)?,
            Provider::Extractive => {
                return Err(Fault::permanent(ErrorType::InvalidAgent, "The agent has no model to ask"));
            }
        };
        let body = http::post(&self.outgoing, provider, request).await?;
        let mut reply = parse_within_budget(provider, body).await?;
        if reply.model.is_empty() {
            reply.model = question.model.name.clone().unwrap_or_default();
        }
        // It goes into records and lists.
        reply.model.truncate(reply.model.floor_char_boundary(Usage::LONGEST_NAME));
        Ok(reply)
    }
}

/// Counts the values of a body, then parses it once the run may hold that much.
async fn parse_within_budget(provider: Provider, body: Vec<u8>) -> Result<ModelReply, Fault> {
    let memory = RunMemory::of_this_run();
    let bytes = body.len();
    let counted = memory.off_workers(bytes, move || (count_json_values(&body), body)).await;
    let (values, body) = counted.map_err(not_parsed)?;
    memory.before_keeping(bytes, values).await;
    memory.off_workers(bytes, move || parse_reply(provider, &body)).await.map_err(not_parsed)?
}

/// A defect of ours.
fn not_parsed(error: JoinError) -> Fault {
    tracing::error!(%error, "reply of a model not parsed");
    Fault::permanent(ErrorType::Internal, "The reply of the model could not be parsed")
}

/// Parses a model's reply: the body of its server's 200, which may be anything at all.
/// Only named fields are kept, each within its bounds.
pub fn parse_reply(provider: Provider, body: &[u8]) -> Result<ModelReply, Fault> {
    let parsed = match provider {
        Provider::Openai => openai::parse_reply(body),
        Provider::Anthropic => anthropic::parse_reply(body),
        Provider::Bedrock => bedrock::parse_reply(body),
        Provider::Extractive => Err(ReplyError::NotAReply),
    };
    parsed.map_err(|error| {
        let message = match error {
            ReplyError::NotAReply => {
                "The model's server answered something that is no reply of a model".to_owned()
            }
            ReplyError::MoreThan(bound) => format!("The model's server answered more than {bound}"),
        };
        Fault::permanent(ErrorType::ModelError, message)
    })
}

/// `path` below the agent's base URL.
fn endpoint(base: &str, path: &str) -> Result<Url, Fault> {
    Url::parse(&format!("{}/{path}", base.trim_end_matches('/')))
        .map_err(|_| Fault::permanent(ErrorType::InvalidAgent, "The agent's model.base_url is not a URL"))
}

/// The arguments as the object that some protocols insist on; a model that wrote
/// none has been told so.
fn as_object(arguments: &str) -> Value {
    match parse_foreign_json(arguments, MAX_JSON_VALUES) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// A message that was kept whole, for its provider alone, because its server signs
/// parts of it. The ids of its calls are those that the results will have.
fn kept_whole(
    echo: Option<&Value>,
    provider: Provider,
    calls: &[ToolCall],
    id: fn(&mut Value) -> Option<&mut Value>,
) -> Option<Vec<Value>> {
    let mut blocks = echo?.get(provider.as_str())?.as_array()?.clone();
    for (given, call) in blocks.iter_mut().filter_map(id).zip(calls) {
        *given = Value::String(call.id.clone());
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(provider: Provider, body: &str) -> String {
        match parse_reply(provider, body.as_bytes()) {
            Err(Fault::Permanent(failure)) if failure.kind == ErrorType::ModelError => failure.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_over_a_bound_is_refused_by_the_name_of_the_bound() {
        let arrays = format!("[{}0]", "[0],".repeat(MAX_JSON_VALUES / 2));
        let openai = |message: String| format!(r#"{{"choices":[{{"message":{message}}}]}}"#);
        let anthropic = |block: String| format!(r#"{{"content":[{block}]}}"#);
        let bedrock = |block: String| format!(r#"{{"output":{{"message":{{"content":[{block}]}}}}}}"#);
        let arguments = "20000 JSON values in the arguments of a tool call";
        let signed = "20000 JSON values in a message that it signs";
        let blocks = || format!("{}{{}}", "{},".repeat(4096));
        for (provider, body, bound) in [
            (
                Provider::Openai,
                openai(format!(r#"{{"tool_calls":[{{"function":{{"name":"t","arguments":{arrays}}}}}]}}"#)),
                arguments,
            ),
            (Provider::Openai, openai(format!(r#"{{"reasoning_details":{arrays}}}"#)), signed),
            (
                Provider::Anthropic,
                anthropic(format!(r#"{{"type":"tool_use","id":"i","name":"t","input":{arrays}}}"#)),
                arguments,
            ),
            (
                Provider::Anthropic,
                anthropic(format!(r#"{{"type":"redacted_thinking","data":{arrays}}}"#)),
                signed,
            ),
            (Provider::Anthropic, anthropic(blocks()), "4096 content blocks"),
            (
                Provider::Bedrock,
                bedrock(format!(r#"{{"toolUse":{{"toolUseId":"i","name":"t","input":{arrays}}}}}"#)),
                arguments,
            ),
            (Provider::Bedrock, bedrock(format!(r#"{{"reasoningContent":{{"data":{arrays}}}}}"#)), signed),
            (Provider::Bedrock, bedrock(blocks()), "4096 content blocks"),
        ] {
            assert_eq!(refusal(provider, &body), format!("The model's server answered more than {bound}"));
        }
    }

    #[test]
    fn fields_that_are_not_named_may_be_anything() {
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
            assert_eq!((reply.text.as_str(), reply.stop), ("A.", domain::StopReason::Stop), "{provider:?}");
            assert_eq!(reply.echo, None, "{provider:?}");
        }
    }

    #[test]
    fn what_a_provider_signs_is_kept_as_it_came() {
        let thinking = json!({ "type": "thinking", "thinking": "Hm.", "signature": "s", "zz": [1.50] });
        let call = json!({ "type": "tool_use", "id": "i", "name": "t", "input": null });
        let body = json!({ "content": [thinking, call] }).to_string();
        let reply = parse_reply(Provider::Anthropic, body.as_bytes()).unwrap();
        assert_eq!(reply.echo, Some(json!({ "anthropic": [thinking, call] })));
        assert_eq!((reply.thought.as_str(), reply.calls[0].arguments.as_str()), ("Hm.", ""));
    }
}
