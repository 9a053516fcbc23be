//! Checks of an agent's definition.

use std::ops::RangeInclusive;

use serde_json::Value;
use url::Url;

use super::credential::{credential_in_url, has_user_info};
use super::secret::{AGENTS_SECRETS, is_secret_name};
use super::{
    AgentError, ApiKey, Definition, FieldRule, Limits, ModelConfig, Provider, ProviderInfo, tools,
};
use crate::{AgentId, AnswerSchema, check_template};

/// Maximum size of all inline source texts of one agent, in bytes. It keeps the agent
/// within one DynamoDB item (400 KB).
const MAX_SOURCE_BYTES: usize = 256 * 1024;
/// In bytes.
const MAX_PROMPT_BYTES: usize = 64 * 1024;
/// A Lambda invocation ends after 900 s.
const MAX_TIMEOUT_SECONDS: u64 = 840;
/// Maximum of `max_concurrent_runs`: an agent's run slots share one DynamoDB item.
const MAX_SLOTS: u64 = 100;
/// US dollars per million tokens.
const PRICES: RangeInclusive<f64> = 0.0..=1_000_000.0;
/// Maximum of `triggers_per_minute`: the counter is one DynamoDB item, which takes 1,000
/// writes a second.
const MAX_RATE: u64 = 60_000;

/// Requires JSON objects: serde would also read a struct from an array, by position.
pub(super) fn check_shape(value: &Value) -> Result<(), AgentError> {
    let object = |value: &Value, what| {
        value
            .is_object()
            .then_some(())
            .ok_or(AgentError::NotAnObject(what))
    };
    object(value, "The agent")?;
    if let Some(limits) = value.get("limits") {
        object(limits, "`limits`")?;
    }
    for source in value
        .get("sources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        object(source, "Each of `sources`")?;
    }
    tools::check_shape(value.get("tools").unwrap_or(&Value::Null))
        .map_err(AgentError::NotAnObject)?;
    match value.get("model") {
        None | Some(Value::Null) => Ok(()),
        Some(model) => {
            object(model, "`model`")?;
            if !matches!(
                model.get("price"),
                None | Some(Value::Null | Value::Object(_))
            ) {
                return Err(AgentError::Price);
            }
            check_key_shape(model.get("api_key").unwrap_or(&Value::Null))
        }
    }
}

fn check_key_shape(key: &Value) -> Result<(), AgentError> {
    match key {
        Value::Null | Value::String(_) => Ok(()),
        Value::Object(fields)
            if fields.len() == 1 && fields.get("secret").is_some_and(Value::is_string) =>
        {
            Ok(())
        }
        _ => Err(AgentError::ApiKey),
    }
}

/// Checks that a model configuration is complete for its provider.
pub fn check_model(model: &ModelConfig) -> Result<(), AgentError> {
    check_api_key(model.api_key.as_ref())?;
    if !model.price.is_none_or(|price| {
        [price.input, price.output]
            .iter()
            .all(|part| PRICES.contains(part))
    }) {
        return Err(AgentError::Price);
    }
    let provider = model.provider;
    let ProviderInfo {
        model_name,
        base_url,
        api_key,
        ..
    } = provider.info();
    check_rule(
        "base_url",
        base_url.rule,
        model.base_url.is_some(),
        provider,
    )?;
    if let (FieldRule::Required | FieldRule::Optional, Some(base_url)) =
        (base_url.rule, &model.base_url)
    {
        check_base_url(base_url)?;
    }
    check_rule("api_key", *api_key, model.api_key.is_some(), provider)?;
    let name = model
        .name
        .as_deref()
        .map(str::trim)
        .filter(|name| !name.is_empty());
    check_rule("name", model_name.rule, name.is_some(), provider)?;
    match name {
        Some(name) if model_name.rule != FieldRule::Ignored && name.chars().count() > 256 => {
            Err(AgentError::ModelName)
        }
        _ => Ok(()),
    }
}

fn check_rule(
    field: &'static str,
    rule: FieldRule,
    is_set: bool,
    provider: Provider,
) -> Result<(), AgentError> {
    match rule {
        FieldRule::Required if !is_set => Err(AgentError::ModelField { field, provider }),
        FieldRule::Refused(reason) if is_set => Err(AgentError::RefusedModelField {
            field,
            provider,
            reason,
        }),
        _ => Ok(()),
    }
}

fn check_base_url(base_url: &str) -> Result<(), AgentError> {
    if base_url.len() > 2048 {
        return Err(AgentError::BaseUrl);
    }
    let url = Url::parse(base_url).map_err(|_| AgentError::BaseUrl)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || has_user_info(&url) {
        return Err(AgentError::BaseUrl);
    }
    credential_in_url(&url).map_or(Ok(()), |parameter| {
        Err(AgentError::BaseUrlCredential(parameter))
    })
}

/// A secret name for an API key that was sent in the agent's definition.
pub fn new_api_key_name(id: AgentId, entropy: u64) -> String {
    format!("{}{entropy:016x}", api_key_prefix(id))
}

/// Whether `name` is that of an API key which was sent in this agent's definition.
pub fn is_own_api_key(id: AgentId, name: &str) -> bool {
    let rest = name.strip_prefix(&api_key_prefix(id));
    rest.is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The secret name of the webhook token that was imported with the agent.
pub fn imported_token_name(id: AgentId) -> String {
    format!("{AGENTS_SECRETS}{id}/webhook-token")
}

fn api_key_prefix(id: AgentId) -> String {
    format!("{AGENTS_SECRETS}{id}/model-api-key-")
}

/// Rejects a secret of another agent, and any webhook token: neither may be sent to this
/// agent's model provider.
pub(super) fn check_secret_owner(id: AgentId, model: &ModelConfig) -> Result<(), AgentError> {
    match &model.api_key {
        Some(ApiKey::Stored(name))
            if name.secret.starts_with(AGENTS_SECRETS) && !is_own_api_key(id, &name.secret) =>
        {
            Err(AgentError::ForeignSecret)
        }
        _ => Ok(()),
    }
}

fn check_api_key(key: Option<&ApiKey>) -> Result<(), AgentError> {
    let well_formed = match key {
        None => true,
        Some(ApiKey::Inline(key)) => {
            (1..=4096).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        }
        Some(ApiKey::Stored(name)) => is_secret_name(&name.secret),
    };
    if well_formed {
        Ok(())
    } else {
        Err(AgentError::ApiKey)
    }
}

pub(super) fn check_texts(definition: &Definition) -> Result<(), AgentError> {
    if !(1..=128).contains(&definition.name.chars().count()) {
        return Err(AgentError::Name);
    }
    if let Some(prompt) = &definition.prompt {
        if prompt.len() > MAX_PROMPT_BYTES {
            return Err(AgentError::PromptTooLong);
        }
        check_template(prompt)?;
    }
    let bytes: usize = definition
        .sources
        .iter()
        .map(|source| source.title.len() + source.text.len())
        .sum();
    if bytes > MAX_SOURCE_BYTES {
        return Err(AgentError::SourcesTooLarge);
    }
    Ok(())
}

pub(super) fn check_output(definition: &Definition) -> Result<(), AgentError> {
    let Some(schema) = &definition.output_schema else {
        return Ok(());
    };
    AnswerSchema::parse(schema)?;
    match &definition.model {
        Some(model) if model.provider == Provider::Extractive => {
            Err(AgentError::SchemaWithoutModel)
        }
        _ => Ok(()),
    }
}

pub(super) fn check_limits(limits: &Limits) -> Result<(), AgentError> {
    let ranges = [
        (
            "timeout_seconds",
            limits.timeout_seconds,
            MAX_TIMEOUT_SECONDS,
        ),
        ("max_turns", u64::from(limits.max_turns), 100),
        (
            "max_output_tokens",
            u64::from(limits.max_output_tokens),
            1_000_000,
        ),
        ("max_total_tokens", limits.max_total_tokens, 100_000_000),
        (
            "max_concurrent_runs",
            limits.max_concurrent_runs.map_or(1, u64::from),
            MAX_SLOTS,
        ),
        (
            "triggers_per_minute",
            limits.triggers_per_minute.map_or(1, u64::from),
            MAX_RATE,
        ),
    ];
    match ranges
        .into_iter()
        .find(|(_, value, max)| !(1..=*max).contains(value))
    {
        Some((field, _, max)) => Err(AgentError::Limit { field, max }),
        None => Ok(()),
    }
}
