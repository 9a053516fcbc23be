//! `agent …`

use domain::Provider;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::secret::typed_secret;
use super::{Client, ClientError, argument, text, tool};
use crate::cli::{AgentCommand, Definition, Deployment};
use crate::say;

/// Runs one of the agent commands.
pub async fn run(command: AgentCommand) -> Result<(), ClientError> {
    match command {
        AgentCommand::Create { definition, deployment } => create(&definition, &deployment).await,
        AgentCommand::List { deployment } => list(&deployment).await,
        AgentCommand::Show { agent, deployment } => show(&agent, &deployment).await,
        AgentCommand::Update { agent, definition, enable, disable, deployment } => {
            let enabled = (enable || disable).then_some(enable);
            update(&agent, &definition, enabled, &deployment).await
        }
        AgentCommand::Tool(command) => tool::run(command).await,
        AgentCommand::Rotate { agent, overlap, deployment } => rotate(&agent, overlap, &deployment).await,
        AgentCommand::Source(command) => super::source::run(command).await,
        AgentCommand::Delete { agent, deployment } => delete(&agent, &deployment).await,
    }
}

async fn create(definition: &Definition, deployment: &Deployment) -> Result<(), ClientError> {
    let body = fields(definition)?;
    if body.get("name").is_none() {
        return Err(ClientError::Usage(
            "an agent needs a name: --name NAME, or \"name\" in the file of --from",
        ));
    }
    let client = Client::new(deployment)?;
    let agent = client.manage(Method::POST, "/api/agents", Some(&body)).await?;
    print(&client, &agent);
    Ok(())
}

async fn list(deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let all = client.manage(Method::GET, "/api/agents", None).await?;
    if client.json {
        say(all.to_string());
        return Ok(());
    }
    let agents = all.get("agents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if agents.is_empty() {
        say("no agents yet; make one with `agent create --name NAME`");
    }
    for agent in agents {
        let enabled = agent.get("enabled") == Some(&Value::Bool(true));
        let state = if enabled { "" } else { "  (disabled)" };
        say(format!("{}  {}{state}", text(agent, "agent_id"), text(agent, "name")));
    }
    Ok(())
}

async fn show(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find(agent).await?;
    print(&client, &agent);
    Ok(())
}

async fn update(
    agent: &str,
    definition: &Definition,
    enabled: Option<bool>,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let mut patch = fields(definition)?;
    if let (Some(enabled), Some(fields)) = (enabled, patch.as_object_mut()) {
        fields.insert("enabled".into(), enabled.into());
    }
    let found = client.find(agent).await?;
    let agent = client.manage(Method::PATCH, &path(&found), Some(&patch)).await?;
    print(&client, &agent);
    Ok(())
}

async fn rotate(agent: &str, overlap: u64, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let found = client.find(agent).await?;
    let path = format!("{}/webhook/rotate", path(&found));
    let rotated = client.manage(Method::POST, &path, Some(&json!({ "overlap_seconds": overlap }))).await?;
    match client.json {
        true => say(rotated.to_string()),
        false => say(text(&rotated, "webhook_url")),
    }
    Ok(())
}

async fn delete(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let found = client.find(agent).await?;
    client.manage(Method::DELETE, &path(&found), None).await?;
    match client.json {
        true => say(json!({ "deleted": text(&found, "agent_id") }).to_string()),
        false => say(format!("deleted {} {}", text(&found, "agent_id"), text(&found, "name"))),
    }
    Ok(())
}

pub(super) fn path(agent: &Value) -> String {
    format!("/api/agents/{}", text(agent, "agent_id"))
}

fn print(client: &Client, agent: &Value) {
    if client.json {
        say(agent.to_string());
        return;
    }
    say(format!("agent    {}  {}", text(agent, "agent_id"), text(agent, "name")));
    say(format!("webhook  {}", text(agent, "webhook_url")));
    if let Some(model) = agent.get("model") {
        let fields = ["provider", "name", "base_url"].map(|field| text(model, field));
        say(format!("model    {}", fields.join(" ").trim_end()));
    }
    if agent.get("enabled") == Some(&Value::Bool(false)) {
        say("disabled: its webhook answers 404");
    }
}

/// The definition's fields as JSON, flags over the file.
fn fields(definition: &Definition) -> Result<Value, ClientError> {
    let mut fields = match &definition.from {
        Some(path) => {
            let what = path.display().to_string();
            let json = argument(&format!("@{what}"))?;
            serde_json::from_str(&json).map_err(|_| ClientError::NotJson { what })?
        }
        None => Map::new(),
    };
    if let Some(name) = &definition.name {
        fields.insert("name".into(), name.as_str().into());
    }
    if let Some(prompt) = &definition.prompt {
        fields.insert("prompt".into(), argument_text(prompt)?.into());
    }
    let mut model = Map::new();
    if let Some(url) = &definition.model_url {
        model.insert("base_url".into(), url.as_str().into());
    }
    if let Some(name) = &definition.model {
        model.insert("name".into(), name.as_str().into());
    }
    // An address alone is that of a server that speaks OpenAI's protocol.
    let provider = definition.model_provider.or(definition.model_url.as_ref().map(|_| Provider::Openai));
    if let Some(provider) = provider {
        model.insert("provider".into(), provider.as_str().into());
    }
    if definition.api_key_stdin {
        model.insert("api_key".into(), typed_secret("API key")?.into());
    }
    if !model.is_empty() {
        let merged = fields.entry("model").or_insert_with(|| json!({}));
        if let Some(merged) = merged.as_object_mut() {
            merged.extend(model);
        }
    }
    Ok(Value::Object(fields))
}

/// `@FILE`, or the text itself: a prompt may be a lone dash.
fn argument_text(text: &str) -> Result<String, ClientError> {
    if text.starts_with('@') { argument(text) } else { Ok(text.to_owned()) }
}
