//! An agent: its definition as its owner sends it, checked and completed.

mod check;
mod credential;
mod model;
mod secret;
mod tools;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AgentId, PromptError, SchemaError, WebhookToken};
pub use check::check_model;
use check::{check_limits, check_output, check_secret_owner, check_shape, check_texts};
pub use check::{imported_token_name, is_own_api_key, new_api_key_name};
pub use model::{ApiKey, ModelConfig, Price, Provider, SecretName};
pub use secret::{SecretError, check_kept_name, check_secret_value};
pub use tools::{
    ArgumentError, CheckedOperation, HeaderSource, HttpMethod, HttpTool, Imported, McpNames, McpTool,
    OpenApiError, Operation, SEARCH_SOURCES, StoredHeader, Tool, ToolError, ToolRequest, Unfit, import,
};

/// An agent as its owner describes it. Only `name` is required.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDraft {
    /// 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128, pattern = r"\S")]
    pub name: String,
    /// A Jinja template over `payload`, `agent.name`, `task_id` and `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 65536)]
    pub prompt: Option<String>,
    /// Which model answers; the deployment's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
    /// What the agent may use.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Texts the agent may answer from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// A JSON schema that the answer must fit; then the answer is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Value>,
    /// What one run may take.
    #[serde(default)]
    pub limits: Limits,
    /// A disabled agent's webhook answers 404.
    #[serde(default = "enabled")]
    #[schema(default = enabled)]
    pub enabled: bool,
    /// The token of an existing webhook URL to bring along from another system.
    #[serde(default, skip_serializing)]
    #[schema(min_length = 16, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    pub webhook_token: Option<String>,
}

impl fmt::Debug for AgentDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentDraft").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A text an agent answers from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Shown beside the answer.
    pub title: String,
    /// Plain text or Markdown.
    pub text: String,
}

const DEFAULT_TOKENS: u64 = 500_000;

/// What one run may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds from the claim to the end, retries included. 1 to 840.
    #[schema(minimum = 1, maximum = 840)]
    pub timeout_seconds: u64,
    /// Calls to the model. 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    pub max_turns: u32,
    /// Tokens the model may write in one turn. 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_output_tokens: u32,
    /// Tokens the model may read and write in all turns: no further turn begins
    /// past it. 1 to 100,000,000; not shown while it is the default.
    #[serde(skip_serializing_if = "is_default_tokens")]
    #[schema(minimum = 1, maximum = 100_000_000)]
    pub max_total_tokens: u64,
    /// Runs of this agent at a time; further tasks wait. 1 to 100, none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_concurrent_runs: Option<u32>,
    /// Triggers taken in a minute of the clock; further ones are refused. 1 to
    /// 60,000, none by default.
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
    /// Whether version 0.1.0, which does not know the limit, can read them.
    pub const fn has_default_tokens(&self) -> bool {
        is_default_tokens(&self.max_total_tokens)
    }

    /// The run's time budget.
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_default_tokens(tokens: &u64) -> bool {
    *tokens == DEFAULT_TOKENS
}

const fn enabled() -> bool {
    true
}

/// What is wrong with an agent's definition, in words for its owner.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No JSON.
    #[error("The agent is not valid: {0}")]
    Shape(serde_json::Error),
    /// A field that is unknown or of the wrong type, with its path.
    #[error("The agent is not valid: {0}")]
    Field(serde_path_to_error::Error<serde_json::Error>),
    /// Something else than an object.
    #[error("{0} must be a JSON object")]
    NotAnObject(&'static str),
    /// The name is blank or too long.
    #[error("`name` must have 1 to 128 characters")]
    Name,
    /// The prompt is too long.
    #[error("`prompt` is longer than 65536 bytes")]
    PromptTooLong,
    /// The prompt is no template.
    #[error("`prompt` is not a valid template: {0}")]
    Prompt(#[from] PromptError),
    /// The sources are too large together.
    #[error("`sources` hold more than 262144 bytes of text; shorten them")]
    SourcesTooLarge,
    /// A tool is wrong.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The schema of the answers is none.
    #[error("`output_schema` is not valid: {0}")]
    OutputSchema(#[from] SchemaError),
    /// A schema without a model to follow it.
    #[error("`output_schema` needs a model; the provider `extractive` quotes the sources as they are")]
    SchemaWithoutModel,
    /// A number in `limits` is out of range.
    #[error("`limits.{field}` must be from 1 to {max}")]
    Limit {
        /// Which one.
        field: &'static str,
        /// Its largest value.
        max: u64,
    },
    /// The model lacks what its provider needs.
    #[error("`model.{field}` is required for the provider `{}`", .provider.as_str())]
    ModelField {
        /// What is missing.
        field: &'static str,
        /// Which provider needs it.
        provider: Provider,
    },
    /// The model has what its provider does not use.
    #[error(
        "`model.{0}` is not for the provider `bedrock`, which is asked in the deployment's region, by its role"
    )]
    NotForBedrock(&'static str),
    /// A price that is none.
    #[error(
        "`model.price` must be {{\"input\": …, \"output\": …}} with numbers from 0 to 1000000: US dollars per million tokens"
    )]
    Price,
    /// The model's name is too long.
    #[error("`model.name` must have at most 256 characters")]
    ModelName,
    /// The base URL is none.
    #[error(
        "`model.base_url` must be an absolute http or https URL of at most 2048 characters, without credentials: send a key as `model.api_key`"
    )]
    BaseUrl,
    /// A credential in the base URL.
    #[error(
        "`model.base_url` must be a URL without credentials, but `{0}` in it is one: send a key as `model.api_key`"
    )]
    BaseUrlCredential(String),
    /// The API key or secret name is malformed.
    #[error(
        "`model.api_key` must be up to 4096 printable ASCII characters, or {{\"secret\": \"name\"}} with letters, digits and - _ . / in the name"
    )]
    ApiKey,
    /// A secret that came with another agent, or is no API key.
    #[error("`model.api_key` names a secret of another agent; send the key itself")]
    ForeignSecret,
    /// The imported token is malformed.
    #[error("`webhook_token` must have 16 to 128 letters, digits, - or _")]
    WebhookToken,
}

/// An agent whose definition has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    id: AgentId,
    draft: AgentDraft,
}

impl Agent {
    /// Checks a definition. The imported token, if any, is handed back apart:
    /// an agent never holds one.
    pub fn new(id: AgentId, draft: AgentDraft) -> Result<(Self, Option<WebhookToken>), AgentError> {
        Self::checked(id, draft, None)
    }

    /// Checks a changed definition of this agent. Tools and a model that stay as they are
    /// are not checked again: a rule that is newer than they are must not keep an agent
    /// from being renamed or disabled.
    pub fn changed(&self, draft: AgentDraft) -> Result<Self, AgentError> {
        Self::checked(self.id, draft, Some(&self.draft)).map(|(agent, _)| agent)
    }

    fn checked(
        id: AgentId,
        mut draft: AgentDraft,
        stored: Option<&AgentDraft>,
    ) -> Result<(Self, Option<WebhookToken>), AgentError> {
        draft.name = draft.name.trim().to_owned();
        check_texts(&draft)?;
        check_output(&draft)?;
        check_limits(&draft.limits)?;
        if stored.is_none_or(|stored| stored.tools != draft.tools) {
            tools::expand(&mut draft.tools)?;
            tools::check_tools(&draft.tools)?;
        }
        if let Some(model) = &draft.model
            && stored.is_none_or(|stored| stored.model.as_ref() != Some(model))
        {
            check_model(model)?;
            check_secret_owner(id, model)?;
        }
        let token = match draft.webhook_token.take() {
            Some(text) => Some(WebhookToken::parse(&text).ok_or(AgentError::WebhookToken)?),
            None => None,
        };
        Ok((Self { id, draft }, token))
    }

    /// An agent that was checked before it was stored.
    pub const fn from_stored(id: AgentId, draft: AgentDraft) -> Self {
        Self { id, draft }
    }

    /// Who it is.
    pub const fn id(&self) -> AgentId {
        self.id
    }

    /// The same agent, its model's API key now kept under this name.
    #[must_use]
    pub fn with_stored_api_key(mut self, secret: String) -> Self {
        if let Some(model) = &mut self.draft.model {
            model.api_key = Some(ApiKey::Stored(SecretName { secret }));
        }
        self
    }

    /// Its definition.
    pub const fn draft(&self) -> &AgentDraft {
        &self.draft
    }
}

impl AgentDraft {
    /// An agent with this name and these sources, all else by default.
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
            webhook_token: None,
        }
    }

    /// Reads a definition; unknown fields are named in the error.
    pub fn from_json(json: &[u8]) -> Result<Self, AgentError> {
        let value: Value = serde_json::from_slice(json).map_err(AgentError::Shape)?;
        check_shape(&value)?;
        serde_path_to_error::deserialize(value).map_err(AgentError::Field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Agent, String> {
        let draft = AgentDraft::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
        Agent::new(AgentId::random([1; 16]), draft).map(|(agent, _)| agent).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_enough() {
        let agent = check(r#"{"name":" triage "}"#).unwrap();
        assert_eq!(agent.draft().name, "triage");
        assert_eq!(agent.draft().limits, Limits::default());
        assert!(agent.draft().enabled);
    }

    #[test]
    fn an_unknown_field_is_named_with_what_is_allowed() {
        let message = check(r#"{"name":"a","promt":"x"}"#).unwrap_err();
        assert!(message.contains("unknown field `promt`"), "{message}");
        assert!(message.contains("`prompt`"), "{message}");
    }

    #[test]
    fn every_wrong_value_is_answered_with_what_to_change() {
        for (json, says) in [
            (r#"{"name":"  "}"#, "`name`"),
            (r#"{"name":"a","prompt":"{{ payload."}"#, "`prompt` is not a valid template"),
            (r#"{"name":"a","tools":[{}]}"#, "tools[0]: missing field `type`"),
            (r#"{"name":"a","tools":[{"type":"magic"}]}"#, "unknown variant `magic`"),
            (r#"{"name":"a","limits":{"timeout_seconds":0}}"#, "`limits.timeout_seconds`"),
            (r#"{"name":"a","limits":{"max_turns":101}}"#, "from 1 to 100"),
            (r#"{"name":"a","limits":{"max_concurrent_runs":0}}"#, "`limits.max_concurrent_runs`"),
            (r#"{"name":"a","limits":{"triggers_per_minute":60001}}"#, "from 1 to 60000"),
            (r#"{"name":"a","model":{"name":"m"}}"#, "`model.base_url` is required"),
            (r#"{"name":"a","model":{"base_url":"http://h/v1"}}"#, "`model.name` is required"),
            (r#"{"name":"a","model":{"base_url":"ftp://h","name":"m"}}"#, "http or https"),
            (r#"{"name":"a","model":{"base_url":"http://u:p@h","name":"m"}}"#, "credentials"),
            (r#"{"name":"a","model":{"base_url":"http://h/v1?key=1","name":"m"}}"#, "`key` in it is one"),
            (
                r#"{"name":"a","model":{"base_url":"http://h/v1?v=1&code=1","name":"m"}}"#,
                "`code` in it is one",
            ),
            (r#"{"name":"a","model":{"base_url":"http://h/v1#key=1","name":"m"}}"#, "`key` in it is one"),
            (
                r#"{"name":"a","model":{"provider":"extractive","api_key":{"secret":"a b"}}}"#,
                "`model.api_key`",
            ),
            (r#"{"name":"a","model":{"provider":"magic"}}"#, "unknown variant `magic`"),
            (r#"{"name":"a","webhook_token":"short"}"#, "`webhook_token`"),
            ("[]", "The agent must be a JSON object"),
            ("{", "not valid"),
            (
                r#"{"name":"a","limits":{"timeout_seconds":"5"}}"#,
                "limits.timeout_seconds: invalid type: string \"5\"",
            ),
            (r#"{"name":"a","limits":[5]}"#, "`limits` must be"),
            (r#"{"name":"a","sources":[["t","x"]]}"#, "Each of `sources` must be"),
            (r#"{"name":"a","model":["openai"]}"#, "`model` must be"),
            (
                r#"{"name":"a","model":{"provider":"extractive","api_key":{"secretx":"a"}}}"#,
                "`model.api_key`",
            ),
        ] {
            let message = check(json).unwrap_err();
            assert!(message.contains(says), "{json}: {message}");
        }
    }

    #[test]
    fn an_agent_from_before_a_rule_can_be_disabled_but_not_be_given_more_of_the_kind() {
        let definition = |header: &str, enabled: bool| {
            let tool = serde_json::json!({
                "type": "mcp", "name": "wiki", "url": "https://mcp.example/?code=1", "allow": ["a"],
                "headers": { header: "x" },
            });
            let model = serde_json::json!({ "base_url": "https://h/v1?key=1", "name": "m" });
            let json =
                serde_json::json!({ "name": "a", "tools": [tool], "model": model, "enabled": enabled });
            AgentDraft::from_json(json.to_string().as_bytes()).unwrap()
        };
        let id = AgentId::random([1; 16]);
        assert!(Agent::new(id, definition("X-Pass", true)).is_err());
        let stored = Agent::from_stored(id, definition("X-Pass", true));
        assert!(!stored.changed(definition("X-Pass", false)).unwrap().draft().enabled);
        assert!(stored.changed(definition("X-Pwd", true)).is_err());
    }

    #[test]
    fn an_agent_names_no_secret_of_another_and_no_token_as_its_api_key() {
        let id = AgentId::random([1; 16]);
        let key = |secret: &str| {
            let model = serde_json::json!({ "provider": "extractive", "api_key": { "secret": secret } });
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
            assert!(key(foreign).unwrap_err().contains("another agent"), "{foreign}");
        }
    }

    #[test]
    fn an_api_key_does_not_show_itself_in_a_debug_print() {
        let agent =
            check(r#"{"name":"a","model":{"base_url":"http://h/v1","name":"m","api_key":"sk-secret"}}"#);
        assert!(!format!("{agent:?}").contains("sk-secret"));
    }
}
