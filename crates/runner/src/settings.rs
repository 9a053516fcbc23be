//! The settings of runs.

use std::time::Duration;

use domain::agent::{ApiKey, SecretName};
use domain::{ModelConfig, Provider};
use store::env::{Env, EnvError};

/// Read from the environment.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// `AGENT_WEBHOOKS_MAX_ATTEMPTS`: how often a task may be claimed, 1 to 9, 5 by default.
    /// Below the queue's limit on receives, so that the task ends before its message becomes a
    /// dead letter.
    pub max_attempts: u32,
    /// `AGENT_WEBHOOKS_RESULT_TTL_SECONDS`: how long an ended task can be read,
    /// 60 s to 30 days; 86400 by default.
    pub retention: Duration,
    /// `AGENT_WEBHOOKS_LOG_SERVER_ERRORS`: whether the error texts of models, MCP servers and
    /// tools are logged. They may quote prompts and payloads.
    pub log_server_errors: bool,
    /// `AGENT_WEBHOOKS_MODEL_*`: the model of agents that configure none.
    pub default_model: ModelConfig,
}

impl RunSettings {
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let retention = env.number("AGENT_WEBHOOKS_RESULT_TTL_SECONDS", 86_400, 60, 2_592_000)?;
        Ok(Self {
            max_attempts: env.number("AGENT_WEBHOOKS_MAX_ATTEMPTS", 5, 1, 9)?,
            retention: Duration::from_secs(retention),
            log_server_errors: env.flag("AGENT_WEBHOOKS_LOG_SERVER_ERRORS")?,
            default_model: default_model(env)?,
        })
    }
}

/// `AGENT_WEBHOOKS_MODEL_PROVIDER` (a name of [`Provider`]), `…_BASE_URL`, `…_NAME`, and the
/// API key: `…_API_KEY`, or `…_API_KEY_SECRET`, its name in the secret store. The default provider is `openai` if there is a base URL, otherwise
/// `extractive`.
fn default_model(env: &Env) -> Result<ModelConfig, EnvError> {
    const PROVIDER: &str = "AGENT_WEBHOOKS_MODEL_PROVIDER";
    let base_url = env.optional("AGENT_WEBHOOKS_MODEL_BASE_URL");
    let provider = match env.optional(PROVIDER) {
        None if base_url.is_some() => Provider::Openai,
        None => Provider::Extractive,
        Some(found) => Provider::parse(&found).ok_or_else(|| {
            let expected = format!("one of {}", Provider::ALL.map(Provider::as_str).join(", "));
            EnvError::Malformed {
                name: PROVIDER,
                expected,
                found,
            }
        })?,
    };
    let stored = env.optional("AGENT_WEBHOOKS_MODEL_API_KEY_SECRET");
    let inline = env.optional("AGENT_WEBHOOKS_MODEL_API_KEY");
    let model = ModelConfig {
        provider,
        name: env.optional("AGENT_WEBHOOKS_MODEL_NAME"),
        price: None,
        api_key: stored
            .map(|secret| ApiKey::Stored(SecretName { secret }))
            .or(inline.map(ApiKey::Inline)),
        base_url: base_url.clone(),
    };
    domain::agent::check_model(&model).map_err(|error| EnvError::Malformed {
        name: "AGENT_WEBHOOKS_MODEL_BASE_URL",
        expected: format!("a URL that fits AGENT_WEBHOOKS_MODEL_NAME and …_PROVIDER ({error})"),
        // The URL may contain a credential, which would be the reason for the refusal.
        found: "a URL that is not shown".to_owned(),
    })?;
    Ok(model)
}
