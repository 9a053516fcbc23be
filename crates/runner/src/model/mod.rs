//! The providers' protocols.

mod extractive;
mod openai;

use domain::{Fault, ModelConfig, ModelReply, Passage, Payload, Provider};
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
    pub(crate) api_key: Option<String>,
    pub(crate) system: String,
    pub(crate) payload: &'a Payload,
    pub(crate) passages: &'a [Passage],
    pub(crate) max_output_tokens: u32,
}

impl Models {
    /// Clients that reach public hosts and these private ones.
    pub fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        Ok(Self { http: openai::http_client(private_hosts.clone())?, private_hosts })
    }

    /// Asks once. Whoever calls bounds the time and decides on retries.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<ModelReply, Fault> {
        match question.model.provider {
            Provider::Openai => openai::ask(&self.http, &self.private_hosts, question).await,
            Provider::Extractive => extractive::ask(question),
        }
    }
}
