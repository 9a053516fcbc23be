//! The providers' protocols.

mod anthropic;
mod bedrock;
mod http;
mod openai;

use std::borrow::Cow;

use domain::{
    ErrorType, Fault, Message, ModelConfig, ModelReply, Payload, Provider, ToolCall, ToolSpec, Usage,
};
use serde_json::Value;
use store::Bedrock;
use store::env::Env;
use url::Url;

use crate::PrivateHosts;
use crate::client::OutgoingClient;

/// The clients of all providers.
#[derive(Clone, Debug)]
pub struct Models {
    outgoing: OutgoingClient,
    bedrock: Option<Bedrock>,
}

/// The clients could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make the HTTP client for models")]
pub struct ModelsError(#[from] reqwest::Error);

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
        Ok(Self { outgoing: OutgoingClient::new(private_hosts)?, bedrock: None })
    }

    /// With Bedrock, if the process has what it takes to ask it.
    #[must_use]
    pub fn with_bedrock(self, bedrock: Option<Bedrock>) -> Self {
        Self { bedrock, ..self }
    }

    /// For a function: no private host by default.
    pub fn from_env(env: &Env) -> Result<Self, ModelsError> {
        let private_hosts = PrivateHosts::from_env(env).unwrap_or_else(PrivateHosts::none);
        Ok(Self::new(private_hosts)?.with_bedrock(Bedrock::from_env(env)))
    }

    /// For calls to other servers, which are bound by the same rules.
    pub(crate) const fn outgoing(&self) -> &OutgoingClient {
        &self.outgoing
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
        let mut reply = read_reply(provider, &http::post(&self.outgoing, provider, request).await?)?;
        if reply.model.is_empty() {
            reply.model = question.model.name.clone().unwrap_or_default();
        }
        // It goes into records and lists.
        reply.model.truncate(reply.model.floor_char_boundary(Usage::LONGEST_NAME));
        Ok(reply)
    }
}

/// What a model says: the body of its server's 200, which may be anything at all.
pub fn read_reply(provider: Provider, body: &[u8]) -> Result<ModelReply, Fault> {
    let read = match provider {
        Provider::Openai => openai::read(body),
        Provider::Anthropic => anthropic::read(body),
        Provider::Bedrock => bedrock::read(body),
        Provider::Extractive => None,
    };
    read.ok_or_else(|| {
        Fault::permanent(
            ErrorType::ModelError,
            "The model's server answered something that is no reply of a model",
        )
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
    match serde_json::from_str(arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// What a model wrote of a call as text: arguments that are JSON already, or a text.
fn as_text(arguments: Value) -> String {
    match arguments {
        Value::String(text) => text,
        Value::Null => String::new(),
        json => json.to_string(),
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
