//! The providers' protocols.

mod openai;

use domain::{ErrorType, Fault, Message, ModelConfig, ModelReply, Payload, Provider, ToolSpec};
use reqwest::Client;

use crate::PrivateHosts;

pub use openai::read_completion;

/// The clients of all providers.
#[derive(Clone, Debug)]
pub struct Models {
    http: Client,
    private_hosts: PrivateHosts,
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
    pub(crate) max_output_tokens: u32,
}

impl Models {
    /// Clients that reach public hosts and these private ones.
    pub fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        Ok(Self { http: openai::http_client(private_hosts.clone())?, private_hosts })
    }

    /// For calls to other servers, which are bound by the same rules.
    pub(crate) const fn outside(&self) -> (&Client, &PrivateHosts) {
        (&self.http, &self.private_hosts)
    }

    /// Asks once. Whoever calls bounds the time and decides on retries.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<ModelReply, Fault> {
        match question.model.provider {
            Provider::Openai => openai::ask(&self.http, &self.private_hosts, question).await,
            Provider::Extractive => {
                Err(Fault::permanent(ErrorType::InvalidAgent, "The agent has no model to ask"))
            }
        }
    }
}
