//! An agent: its definition as its owner sends it, validated and completed.

mod check;
mod credential;
mod model;
mod prompt;
mod request_part;
mod secret;
pub mod tools;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AgentId, PromptError, SchemaError, WebhookToken};
pub use check::check_model;
use check::{check_limits, check_output, check_secret_owner, check_shape, check_texts};
pub use check::{imported_token_name, is_own_api_key, new_api_key_name};
pub use model::{
    ApiKey, FieldInfo, FieldRule, ModelConfig, Price, Provider, ProviderInfo, SecretName,
};
pub use request_part::{RefusedParts, RequestPart};
pub use secret::{SecretError, check_secret_name, check_secret_value};
use tools::{Tool, ToolError};

/// The definition of an agent. Only `name` is required. [`Agent::new`] checks it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128, pattern = r"\S")]
    pub name: String,
    /// The system prompt: a Jinja template with the variables `payload`, `agent.name`, `task_id` and `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 65536)]
    pub prompt: Option<String>,
    /// The model. If absent, the deployment's default model is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
    /// The tools that the agent may call.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Texts that the agent may answer from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// A JSON schema that the answer must match. The answer is then JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Value>,
    /// The limits of a run.
    #[serde(default)]
    pub limits: Limits,
    /// The webhook of a disabled agent returns 404.
    #[serde(default = "enabled")]
    #[schema(default = enabled)]
    pub enabled: bool,
}

/// The request that creates an agent.
pub struct NewAgent {
    pub definition: Definition,
    /// The token of an existing webhook URL, to import an agent from another system.
    pub webhook_token: Option<WebhookToken>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A text that the agent may answer from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The title. It is returned with the answer.
    pub title: String,
    /// Plain text or Markdown.
    pub text: String,
}

const DEFAULT_TOKENS: u64 = 500_000;

/// The limits of an agent and of each of its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds from the start of a run to its end, including retries. 1 to 840.
    #[schema(minimum = 1, maximum = 840)]
    pub timeout_seconds: u64,
    /// Calls to the model per run. 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    pub max_turns: u32,
    /// Output tokens of one call to the model. 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_output_tokens: u32,
    /// Input and output tokens of all calls to the model in a run. Once a run has used
    /// them, it does not call the model again. 1 to 100,000,000. Not returned while it is
    /// the default.
    #[serde(skip_serializing_if = "is_default_tokens")]
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub max_total_tokens: u64,
    /// Concurrent runs of this agent. Further tasks wait. 1 to 100, unlimited by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_concurrent_runs: Option<u32>,
    /// Triggers accepted per clock minute. Further ones are refused with 429. 1 to 60,000,
    /// unlimited by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 60_000)]
    pub triggers_per_minute: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_seconds: 240,
            max_turns: 12,
            max_output_tokens: 4096,
            max_total_tokens: DEFAULT_TOKENS,
            max_concurrent_runs: None,
            triggers_per_minute: None,
        }
    }
}

impl Limits {
    /// Whether version 0.1.0 can read these limits. It does not know `max_total_tokens`.
    pub const fn has_default_tokens(&self) -> bool {
        is_default_tokens(&self.max_total_tokens)
    }

    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_default_tokens(tokens: &u64) -> bool {
    *tokens == DEFAULT_TOKENS
}

const fn enabled() -> bool {
    true
}

/// Why an agent's definition is not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("The agent is not valid: {0}")]
    Shape(serde_json::Error),
    /// With the path of a field that is unknown or has the wrong type.
    #[error("The agent is not valid: {0}")]
    Field(serde_path_to_error::Error<serde_json::Error>),
    #[error("{0} must be a JSON object")]
    NotAnObject(&'static str),
    #[error("`name` must have 1 to 128 characters")]
    Name,
    #[error("`prompt` is longer than 65536 bytes")]
    PromptTooLong,
    #[error("`prompt` is not a valid template: {0}")]
    Prompt(#[from] PromptError),
    #[error(
        "`sources` contain more than 262144 bytes of text; shorten them or upload documents instead"
    )]
    SourcesTooLarge,
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("`output_schema` is not valid: {0}")]
    OutputSchema(#[from] SchemaError),
    #[error(
        "`output_schema` needs a model; the provider `extractive` quotes the sources unchanged"
    )]
    SchemaWithoutModel,
    #[error("`limits.{field}` must be from 1 to {max}")]
    Limit { field: &'static str, max: u64 },
    #[error("`model.{field}` is required for the provider `{}`", .provider.as_str())]
    ModelField {
        field: &'static str,
        provider: Provider,
    },
    #[error("`model.{field}` is not supported for the provider `{}`; {reason}", .provider.as_str())]
    RefusedModelField {
        field: &'static str,
        provider: Provider,
        reason: &'static str,
    },
    #[error(
        "`model.price` must be {{\"input\": …, \"output\": …}} with numbers from 0 to 1000000, in US dollars per million tokens"
    )]
    Price,
    #[error("`model.name` must have at most 256 characters")]
    ModelName,
    #[error(
        "`model.base_url` must be an absolute http or https URL of at most 2048 characters, without credentials; send a key as `model.api_key`"
    )]
    BaseUrl,
    #[error(
        "`model.base_url` must not contain credentials such as `{0}`; send a key as `model.api_key`"
    )]
    BaseUrlCredential(String),
    #[error(
        "`model.api_key` must be up to 4096 printable ASCII characters, or {{\"secret\": \"name\"}} with letters, digits and - _ . / in the name"
    )]
    ApiKey,
    /// A secret of another agent, or a webhook token.
    #[error("`model.api_key` refers to a secret of another agent; send the key itself")]
    ForeignSecret,
    #[error("`webhook_token` must have 16 to 128 letters, digits, - or _")]
    WebhookToken,
}

/// An agent with a valid definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    id: AgentId,
    definition: Definition,
}

impl Agent {
    /// Checks the definition of a new agent.
    pub fn new(id: AgentId, definition: Definition) -> Result<Self, AgentError> {
        Self::checked(id, definition, None)
    }

    /// Checks a changed definition of this agent. An unchanged model and unchanged tools are
    /// not checked again: a rule that is newer than they are must not prevent renaming or
    /// disabling the agent.
    pub fn changed(&self, definition: Definition) -> Result<Self, AgentError> {
        Self::checked(self.id, definition, Some(&self.definition))
    }

    fn checked(
        id: AgentId,
        mut definition: Definition,
        stored: Option<&Definition>,
    ) -> Result<Self, AgentError> {
        definition.name = definition.name.trim().to_owned();
        check_texts(&definition)?;
        check_output(&definition)?;
        check_limits(&definition.limits)?;
        if stored.is_none_or(|stored| stored.tools != definition.tools) {
            tools::expand(&mut definition.tools)?;
            tools::check_tools(&definition.tools)?;
        }
        if let Some(model) = &definition.model
            && stored.is_none_or(|stored| stored.model.as_ref() != Some(model))
        {
            check_model(model)?;
            check_secret_owner(id, model)?;
        }
        Ok(Self { id, definition })
    }

    /// An agent from the store. It was checked before it was stored.
    pub const fn from_stored(id: AgentId, definition: Definition) -> Self {
        Self { id, definition }
    }

    pub const fn id(&self) -> AgentId {
        self.id
    }

    /// The same agent, with its model's API key stored as this secret.
    #[must_use]
    pub fn with_stored_api_key(mut self, secret: String) -> Self {
        if let Some(model) = &mut self.definition.model {
            model.api_key = Some(ApiKey::Stored(SecretName { secret }));
        }
        self
    }

    pub const fn definition(&self) -> &Definition {
        &self.definition
    }
}

impl Definition {
    /// A definition with this name and these sources. All other fields have their defaults.
    pub fn named(name: &str, sources: Vec<Source>) -> Self {
        Self {
            name: name.to_owned(),
            prompt: None,
            model: None,
            tools: Vec::new(),
            output_schema: None,
            sources,
            limits: Limits::default(),
            enabled: true,
        }
    }

    /// Parses a definition. The error names unknown fields.
    pub fn from_json(json: &[u8]) -> Result<Self, AgentError> {
        Self::from_value(serde_json::from_slice(json).map_err(AgentError::Shape)?)
    }

    fn from_value(value: Value) -> Result<Self, AgentError> {
        check_shape(&value)?;
        serde_path_to_error::deserialize(value).map_err(AgentError::Field)
    }
}

impl NewAgent {
    /// Parses the fields of a definition, and `webhook_token`.
    pub fn from_json(json: &[u8]) -> Result<Self, AgentError> {
        let mut value: Value = serde_json::from_slice(json).map_err(AgentError::Shape)?;
        let token = value
            .as_object_mut()
            .and_then(|fields| fields.shift_remove("webhook_token"));
        let definition = Definition::from_value(value)?;
        let webhook_token = match token {
            None | Some(Value::Null) => None,
            Some(token) => {
                let parsed = token.as_str().and_then(WebhookToken::parse);
                Some(parsed.ok_or(AgentError::WebhookToken)?)
            }
        };
        Ok(Self {
            definition,
            webhook_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Agent, String> {
        let new = NewAgent::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
        Agent::new(AgentId::random([1; 16]), new.definition).map_err(|error| error.to_string())
    }

    fn assert_refused(json: &str, says: &str) {
        let message = check(json).unwrap_err();
        assert!(message.contains(says), "{json}: {message}");
    }

    #[test]
    fn a_name_is_enough() {
        let agent = check(r#"{"name":" triage "}"#).unwrap();
        assert_eq!(agent.definition().name, "triage");
        assert_eq!(agent.definition().limits, Limits::default());
        assert!(agent.definition().enabled);
    }

    #[test]
    fn the_request_for_a_new_agent_can_have_a_webhook_token_and_a_definition_cannot() {
        let token = |json: &str| {
            let new = NewAgent::from_json(json.as_bytes()).unwrap();
            new.webhook_token.map(|token| token.expose().to_owned())
        };
        assert_eq!(token(r#"{"name":"a"}"#), None);
        assert_eq!(token(r#"{"name":"a","webhook_token":null}"#), None);
        let json = r#"{"name":"a","webhook_token":"0123456789abcdef"}"#;
        assert_eq!(token(json).as_deref(), Some("0123456789abcdef"));
        assert!(Definition::from_json(json.as_bytes()).is_err());
    }

    #[test]
    fn an_unknown_field_is_named_with_what_is_allowed() {
        let message = check(r#"{"name":"a","promt":"x"}"#).unwrap_err();
        assert!(message.contains("unknown field `promt`"), "{message}");
        assert!(message.contains("`prompt`"), "{message}");
    }

    #[test]
    fn every_invalid_value_is_refused_with_what_to_change() {
        for (json, says) in [
            ("[]", "The agent must be a JSON object"),
            ("{", "not valid"),
            (r#"{"name":"  "}"#, "`name`"),
        ] {
            assert_refused(json, says);
        }
        for (field, says) in [
            (
                r#""prompt":"{{ payload.""#,
                "`prompt` is not a valid template",
            ),
            (r#""tools":[{}]"#, "tools[0]: missing field `type`"),
            (r#""tools":[{"type":"magic"}]"#, "unknown variant `magic`"),
            (r#""sources":[["t","x"]]"#, "Each of `sources` must be"),
            (r#""webhook_token":"short""#, "`webhook_token`"),
            (r#""webhook_token":1234567890123456"#, "`webhook_token`"),
            (r#""limits":[5]"#, "`limits` must be"),
            (r#""model":["openai"]"#, "`model` must be"),
        ] {
            assert_refused(&format!(r#"{{"name":"a",{field}}}"#), says);
        }
    }

    #[test]
    fn every_invalid_limit_is_refused_with_what_to_change() {
        for (limit, says) in [
            (r#""timeout_seconds":0"#, "`limits.timeout_seconds`"),
            (r#""max_turns":101"#, "from 1 to 100"),
            (r#""max_concurrent_runs":0"#, "`limits.max_concurrent_runs`"),
            (r#""triggers_per_minute":60001"#, "from 1 to 60000"),
            (
                r#""timeout_seconds":"5""#,
                "limits.timeout_seconds: invalid type: string \"5\"",
            ),
        ] {
            let json = format!(r#"{{"name":"a","limits":{{{limit}}}}}"#);
            assert_refused(&json, says);
        }
    }

    #[test]
    fn every_invalid_model_is_refused_with_what_to_change() {
        for (model, says) in [
            (r#""name":"m""#, "`model.base_url` is required"),
            (r#""base_url":"http://h/v1""#, "`model.name` is required"),
            (r#""provider":"magic""#, "unknown variant `magic`"),
            (
                r#""provider":"extractive","api_key":{"secret":"a b"}"#,
                "`model.api_key`",
            ),
            (
                r#""provider":"extractive","api_key":{"secretx":"a"}"#,
                "`model.api_key`",
            ),
        ] {
            let json = format!(r#"{{"name":"a","model":{{{model}}}}}"#);
            assert_refused(&json, says);
        }
    }

    #[test]
    fn every_invalid_base_url_of_a_model_is_refused_with_what_to_change() {
        for (url, says) in [
            ("ftp://h", "http or https"),
            ("http://u:p@h", "credentials"),
            ("http://h/v1?key=1", "credentials such as `key`"),
            ("http://h/v1?v=1&code=1", "credentials such as `code`"),
            ("http://h/v1#key=1", "credentials such as `key`"),
        ] {
            let json = format!(r#"{{"name":"a","model":{{"base_url":"{url}","name":"m"}}}}"#);
            assert_refused(&json, says);
        }
    }

    #[test]
    fn an_agent_that_is_older_than_a_rule_can_be_disabled_but_cannot_break_the_rule_again() {
        let definition = |header: &str, enabled: bool| {
            let tool = serde_json::json!({
                "type": "mcp", "name": "wiki", "url": "https://mcp.example/?code=1", "allow": ["a"],
                "headers": { header: "x" },
            });
            let model = serde_json::json!({ "base_url": "https://h/v1?key=1", "name": "m" });
            let json = serde_json::json!({ "name": "a", "tools": [tool], "model": model, "enabled": enabled });
            Definition::from_json(json.to_string().as_bytes()).unwrap()
        };
        let id = AgentId::random([1; 16]);
        assert!(Agent::new(id, definition("X-Pass", true)).is_err());
        let stored = Agent::from_stored(id, definition("X-Pass", true));
        assert!(
            !stored
                .changed(definition("X-Pass", false))
                .unwrap()
                .definition()
                .enabled
        );
        assert!(stored.changed(definition("X-Pwd", true)).is_err());
    }

    #[test]
    fn an_api_key_cannot_be_a_secret_of_another_agent_or_a_webhook_token() {
        let id = AgentId::random([1; 16]);
        let key = |secret: &str| {
            let model =
                serde_json::json!({ "provider": "extractive", "api_key": { "secret": secret } });
            check(&serde_json::json!({ "name": "a", "model": model }).to_string())
        };
        for own in ["openai", "team/openai", &new_api_key_name(id, 7)] {
            assert!(key(own).is_ok(), "{own}");
        }
        let other = AgentId::random([2; 16]);
        for foreign in [
            &new_api_key_name(other, 7),
            &imported_token_name(other),
            &imported_token_name(id),
            "agents/",
            &format!("agents/{id}/model-api-key-0/../../{other}/webhook-token"),
        ] {
            assert!(
                key(foreign).unwrap_err().contains("another agent"),
                "{foreign}"
            );
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_api_key() {
        let agent = check(
            r#"{"name":"a","model":{"base_url":"http://h/v1","name":"m","api_key":"sk-secret"}}"#,
        );
        assert!(!format!("{agent:?}").contains("sk-secret"));
    }
}
