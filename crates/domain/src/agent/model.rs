//! Which model answers for an agent, where it is served, and what it costs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model and where it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The protocol it speaks.
    #[serde(default)]
    pub provider: Provider,
    /// The server's base URL, ending before `/chat/completions` or `/v1/messages`.
    /// `anthropic` has one by default, `bedrock` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub base_url: Option<String>,
    /// The model's name on that server; of `bedrock` a model's or an inference
    /// profile's id or ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub name: Option<String>,
    /// The server's API key, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// What its tokens cost, so that the console can add it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of the tokens that the model reads. 0 to 1,000,000.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub input: f64,
    /// Of those it writes. 0 to 1,000,000.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub output: f64,
}

/// JSON has no NaN, and so has no price.
impl Eq for Price {}

impl Price {
    /// What so many tokens cost, in US dollars.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 tokens")]
    pub fn of(self, input_tokens: u64, output_tokens: u64) -> f64 {
        (self.input * input_tokens as f64 + self.output * output_tokens as f64) / 1_000_000.0
    }
}

/// The protocols a model can be asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// OpenAI chat completions.
    #[default]
    Openai,
    /// Anthropic messages.
    Anthropic,
    /// Amazon Bedrock's Converse.
    Bedrock,
    /// No model: the best passages of the agent's sources.
    Extractive,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Openai, Self::Anthropic, Self::Bedrock, Self::Extractive];

    /// As in an agent's definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
            Self::Extractive => "extractive",
        }
    }

    /// Reads a provider's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text)
    }
}

/// A provider's API key: given once in clear, kept as the name of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ApiKey {
    /// The key itself, on its way to the secret store: 1 to 4096 printable ASCII characters.
    Inline(String),
    /// A key in the secret store.
    Stored(SecretName),
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("ApiKey(…)"),
            Self::Stored(name) => name.fmt(f),
        }
    }
}

/// The name of a secret in the deployment's secret store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// Letters, digits, `-`, `_`, `.` and `/`.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
}
