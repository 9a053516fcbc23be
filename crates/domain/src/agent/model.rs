//! Which model an agent uses, where it is served, and what it costs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A model and its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The provider's protocol.
    #[serde(default)]
    pub provider: Provider,
    /// The provider's base URL, without `/chat/completions` or `/v1/messages`. Required for
    /// `openai`, optional for `anthropic`, not allowed for `bedrock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub base_url: Option<String>,
    /// The name of the model. For `bedrock`, the id or ARN of a model or an inference
    /// profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub name: Option<String>,
    /// The provider's API key, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// The price of its tokens, from which the console calculates costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The price of input tokens. 0 to 1,000,000.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub input: f64,
    /// The price of output tokens. 0 to 1,000,000.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub output: f64,
}

/// Prices come from JSON, which has no NaN, so every price equals itself.
impl Eq for Price {}

impl Price {
    /// The cost of these tokens, in US dollars.
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 tokens")]
    pub fn cost_usd(self, input_tokens: u64, output_tokens: u64) -> f64 {
        (self.input * input_tokens as f64 + self.output * output_tokens as f64) / 1_000_000.0
    }
}

/// The protocol of a model provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// OpenAI Chat Completions, or a compatible server.
    #[default]
    Openai,
    /// Anthropic Messages.
    Anthropic,
    /// Amazon Bedrock Converse.
    Bedrock,
    /// No model: returns the best passages of the agent's sources.
    Extractive,
}

impl Provider {
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

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == text)
    }
}

/// A provider's API key. It is sent once in clear text and stored as a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ApiKey {
    /// The key itself: 1 to 4096 printable ASCII characters. Never returned.
    Inline(String),
    /// The name of a stored secret.
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

/// A reference to a secret in the deployment's secret store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// The name of the secret: letters, digits, `-`, `_`, `.` and `/`.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
}
