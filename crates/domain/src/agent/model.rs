//! Which model an agent uses, where it is served, and what it costs.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::hex::hex;

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

impl ModelConfig {
    /// Identifies the server, the model and the schema of answers, which together decide what
    /// the server refuses.
    pub fn fingerprint(&self, schema: Option<&Value>) -> String {
        let Self {
            provider,
            base_url,
            name,
            ..
        } = self;
        let identity = json!([provider, base_url, name, schema]).to_string();
        hex(Sha256::digest(identity).get(..16).unwrap_or_default())
    }
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
    pub const ALL: [Self; 4] = [
        Self::Openai,
        Self::Anthropic,
        Self::Bedrock,
        Self::Extractive,
    ];

    /// The row of this provider in the table.
    pub const fn info(self) -> &'static ProviderInfo {
        match self {
            Self::Openai => &OPENAI,
            Self::Anthropic => &ANTHROPIC,
            Self::Bedrock => &BEDROCK,
            Self::Extractive => &EXTRACTIVE,
        }
    }

    /// As in an agent's definition.
    pub const fn as_str(self) -> &'static str {
        self.info().name
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
    }
}

/// Everything that distinguishes a provider, except for its protocol. The serialized fields
/// are those that the console uses (`web/src/definition/providers.json`).
#[derive(Debug, Serialize)]
pub struct ProviderInfo {
    /// As in an agent's definition.
    pub name: &'static str,
    /// The name in the console.
    pub label: &'static str,
    /// One line for the console.
    pub hint: &'static str,
    /// An addition to the name in the help of the command line, or empty.
    #[serde(skip)]
    pub note: &'static str,
    /// The value of `gen_ai.provider.name` in OpenTelemetry's conventions.
    #[serde(skip)]
    pub otel_name: &'static str,
    /// The base URL of agents without `base_url`.
    #[serde(skip)]
    pub default_base_url: Option<&'static str>,
    pub model_name: FieldInfo,
    pub base_url: FieldInfo,
    pub api_key: FieldRule,
}

/// A text field of [`ModelConfig`], with its texts in the console.
#[derive(Debug, Serialize)]
pub struct FieldInfo {
    pub rule: FieldRule,
    pub label: &'static str,
    pub hint: &'static str,
    pub example: &'static str,
}

impl FieldInfo {
    /// A field that the console does not show for this provider.
    const fn hidden(rule: FieldRule) -> Self {
        Self {
            rule,
            label: "",
            hint: "",
            example: "",
        }
    }
}

/// Whether a provider needs a field of [`ModelConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldRule {
    Required,
    Optional,
    /// Refused with this reason.
    Refused(&'static str),
    /// Accepted and not used.
    Ignored,
}

impl Serialize for FieldRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Refused(_) => "refused",
            Self::Ignored => "ignored",
        })
    }
}

const OPENAI: ProviderInfo = ProviderInfo {
    name: "openai",
    label: "OpenAI chat completions",
    hint: "OpenAI, Ollama, vLLM, llama.cpp, LiteLLM, DocsGPT and every other server with this API.",
    note: "any server with an OpenAI-compatible API",
    // The protocol, regardless of the provider.
    otel_name: "openai",
    default_base_url: None,
    model_name: FieldInfo {
        rule: FieldRule::Required,
        label: "Model",
        hint: "Its name on that server.",
        example: "llama3.2",
    },
    base_url: FieldInfo {
        rule: FieldRule::Required,
        label: "Base URL",
        hint: "Without /chat/completions at the end; usually ends with /v1.",
        example: "http://127.0.0.1:11434/v1",
    },
    api_key: FieldRule::Optional,
};

const ANTHROPIC: ProviderInfo = ProviderInfo {
    name: "anthropic",
    label: "Anthropic messages",
    hint: "Claude, at Anthropic or behind a proxy.",
    note: "",
    otel_name: "anthropic",
    default_base_url: Some("https://api.anthropic.com"),
    model_name: FieldInfo {
        rule: FieldRule::Required,
        label: "Model",
        hint: "Its name on that server.",
        example: "claude-sonnet-4-5",
    },
    base_url: FieldInfo {
        rule: FieldRule::Optional,
        label: "Base URL",
        hint: "Without /v1/messages at the end.",
        example: "https://api.anthropic.com",
    },
    api_key: FieldRule::Optional,
};

const SET_BY_DEPLOYMENT: FieldRule =
    FieldRule::Refused("Bedrock uses the deployment's region and role");

const BEDROCK: ProviderInfo = ProviderInfo {
    name: "bedrock",
    label: "Amazon Bedrock",
    hint: "In the deployment’s region, with the IAM role of its function. Needs no key and no URL.",
    note: "",
    otel_name: "aws.bedrock",
    default_base_url: None,
    model_name: FieldInfo {
        rule: FieldRule::Required,
        label: "Model or inference profile",
        hint: "Its id or ARN.",
        example: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    },
    base_url: FieldInfo::hidden(SET_BY_DEPLOYMENT),
    api_key: SET_BY_DEPLOYMENT,
};

const EXTRACTIVE: ProviderInfo = ProviderInfo {
    name: "extractive",
    label: "No model",
    hint: "Returns the best passages of the agent’s sources, unchanged.",
    note: "",
    otel_name: "extractive",
    default_base_url: None,
    model_name: FieldInfo::hidden(FieldRule::Ignored),
    base_url: FieldInfo::hidden(FieldRule::Ignored),
    api_key: FieldRule::Ignored,
};

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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// The name of the secret: letters, digits, `-`, `_`, `.` and `/`.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::super::check_model;
    use super::*;

    #[test]
    fn the_table_has_every_provider_under_the_name_of_the_api() {
        let names = Provider::ALL.map(Provider::as_str);
        assert_eq!(
            serde_json::to_value(Provider::schema()).unwrap()["enum"],
            json!(names)
        );
        assert_eq!(serde_json::to_value(Provider::ALL).unwrap(), json!(names));
    }

    #[test]
    fn every_rule_of_the_table_is_checked() {
        for provider in Provider::ALL {
            let info = provider.info();
            let fields = [
                ("name", "m", info.model_name.rule),
                ("base_url", "http://h/v1", info.base_url.rule),
                ("api_key", "k", info.api_key),
            ];
            let mut complete = json!({ "provider": provider });
            for (field, value, rule) in fields {
                if !matches!(rule, FieldRule::Refused(_)) {
                    complete[field] = value.into();
                }
            }
            assert_eq!(refusal(&complete), None, "{complete}");
            for (field, value, rule) in fields {
                let mut model = complete.clone();
                let is_refused = matches!(rule, FieldRule::Refused(_));
                model[field] = if is_refused {
                    value.into()
                } else {
                    Value::Null
                };
                let expected = match rule {
                    FieldRule::Required => Some(format!(
                        "`model.{field}` is required for the provider `{}`",
                        info.name
                    )),
                    FieldRule::Refused(reason) => {
                        let provider = info.name;
                        Some(format!(
                            "`model.{field}` is not supported for the provider `{provider}`; {reason}"
                        ))
                    }
                    FieldRule::Optional | FieldRule::Ignored => None,
                };
                assert_eq!(refusal(&model), expected, "{model}");
            }
            let has_default = info.default_base_url.is_some();
            assert_eq!(
                has_default,
                info.base_url.rule == FieldRule::Optional,
                "{provider:?}"
            );
        }
    }

    /// Written by hand, so that a wrong row of the table fails.
    #[test]
    fn each_provider_accepts_these_fields() {
        for model in [
            json!({ "provider": "openai", "base_url": "http://h/v1", "name": "m" }),
            json!({ "provider": "openai", "base_url": "http://h/v1", "name": "m", "api_key": "k" }),
            json!({ "provider": "anthropic", "name": "m" }),
            json!({ "provider": "anthropic", "name": "m", "base_url": "http://h", "api_key": "k" }),
            json!({ "provider": "bedrock", "name": "m" }),
            json!({ "provider": "extractive" }),
            json!({ "provider": "extractive", "name": "m", "api_key": "k" }),
        ] {
            assert_eq!(refusal(&model), None, "{model}");
        }
        assert_eq!(
            Provider::Anthropic.info().default_base_url,
            Some("https://api.anthropic.com")
        );
    }

    /// Written by hand for the same reason.
    #[test]
    fn each_provider_refuses_these_fields() {
        let bad_url = "ftp://h";
        let long_name = "m".repeat(257);
        for (model, says) in [
            (
                json!({ "provider": "openai", "name": "m" }),
                "`model.base_url` is required",
            ),
            (
                json!({ "provider": "openai", "base_url": "http://h/v1" }),
                "`model.name` is required",
            ),
            (
                json!({ "provider": "openai", "base_url": "http://h/v1", "name": long_name }),
                "256 characters",
            ),
            (
                json!({ "provider": "anthropic", "name": "m", "base_url": bad_url }),
                "http or https",
            ),
            (
                json!({ "provider": "anthropic" }),
                "`model.name` is required",
            ),
            (json!({ "provider": "bedrock" }), "`model.name` is required"),
            (
                json!({ "provider": "bedrock", "name": "m", "api_key": "k" }),
                "`model.api_key` is not supported",
            ),
            (
                json!({ "provider": "bedrock", "base_url": bad_url, "api_key": "k" }),
                "`model.base_url` is not supported",
            ),
        ] {
            let refusal = refusal(&model).unwrap_or_default();
            assert!(refusal.contains(says), "{model}: {refusal}");
        }
    }

    fn refusal(model: &Value) -> Option<String> {
        let model: ModelConfig = serde_json::from_value(model.clone()).unwrap();
        check_model(&model).err().map(|error| error.to_string())
    }
}
