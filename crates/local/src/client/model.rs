//! `agent model …`

use domain::Provider;
use reqwest::Method;
use serde_json::{Map, Value};

use super::secret::read_secret_from_stdin;
use super::{Client, ClientError, text_field};
use crate::cli::{ModelArgs, ModelCommand};
use crate::print_line;

pub(super) async fn run(command: ModelCommand) -> Result<(), ClientError> {
    let ModelCommand::Test {
        agent,
        model,
        deployment,
    } = command;
    let client = Client::new(&deployment)?;
    let mut body = Map::new();
    let mut fields = Map::new();
    if let Some(agent) = &agent {
        let found = client.find_agent(agent).await?;
        body.insert("agent_id".into(), text_field(&found, "agent_id").into());
        let of_agent = found.get("model").and_then(Value::as_object);
        fields = of_agent.cloned().unwrap_or_default();
    }
    // Options override the agent's model, as in `agent update`.
    fields.extend(model_fields(&model)?);
    if !fields.is_empty() {
        body.insert("model".into(), fields.into());
    }
    let tested = client
        .manage(Method::POST, "/api/models/test", Some(&Value::Object(body)))
        .await?;
    match client.json {
        true => print_line(tested.to_string()),
        false => print_test(&tested),
    }
    match tested.get("ok") == Some(&Value::Bool(true)) {
        true => Ok(()),
        false => Err(ClientError::TestFailed),
    }
}

/// The fields of a model that the options set.
pub(super) fn model_fields(args: &ModelArgs) -> Result<Map<String, Value>, ClientError> {
    let mut model = Map::new();
    if let Some(url) = &args.model_url {
        model.insert("base_url".into(), url.as_str().into());
    }
    if let Some(name) = &args.model {
        model.insert("name".into(), name.as_str().into());
    }
    // A base URL without a provider is that of an OpenAI-compatible server.
    let provider = args
        .model_provider
        .or(args.model_url.as_ref().map(|_| Provider::Openai));
    if let Some(provider) = provider {
        model.insert("provider".into(), provider.as_str().into());
    }
    if args.api_key_stdin {
        model.insert("api_key".into(), read_secret_from_stdin("API key")?.into());
    }
    Ok(model)
}

fn print_test(tested: &Value) {
    let took = tested
        .get("took_ms")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    match tested.get("error") {
        None => print_line(format!(
            "{} replied in {took} ms",
            text_field(tested, "model")
        )),
        Some(error) => print_line(format!("no reply: {}", text_field(error, "message"))),
    }
    let refused = tested.get("refuses").and_then(Value::as_array);
    for part in refused.into_iter().flatten().filter_map(Value::as_str) {
        print_line(format!("refused: {}", refusal_text(part)));
    }
}

/// What a refused part means for agents.
fn refusal_text(part: &str) -> &str {
    match part {
        "max_tokens" => "the limit of the answer as `max_tokens`; runs send it under another name",
        "max_completion_tokens" => {
            "the limit of the answer as `max_completion_tokens`; runs send it under another name"
        }
        "schema" => "answer schemas; runs ask for the schema in the prompt and check the answer",
        "schema_with_tools" => {
            "answer schemas beside tools; runs with tools ask for the schema in the prompt"
        }
        "system_message" => "system messages; runs send the prompt with the payload",
        "tools" => "tools; an agent with tools needs another model",
        "empty_content" => "messages without text; runs send an empty text",
        other => other,
    }
}
