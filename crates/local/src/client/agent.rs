//! `agent …`

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::argument::{read_argument, read_object};
use super::{Client, ClientError, agent_path, model, text_field, tool};
use crate::cli::{AgentCommand, DefinitionArgs, Deployment};
use crate::print_line;

pub async fn run(command: AgentCommand) -> Result<(), ClientError> {
    match command {
        AgentCommand::Create {
            definition,
            deployment,
        } => create_agent(&definition, &deployment).await,
        AgentCommand::List { deployment } => list_agents(&deployment).await,
        AgentCommand::Show { agent, deployment } => show_agent(&agent, &deployment).await,
        AgentCommand::Update {
            agent,
            definition,
            enable,
            disable,
            deployment,
        } => {
            let enabled = (enable || disable).then_some(enable);
            update_agent(&agent, &definition, enabled, &deployment).await
        }
        AgentCommand::Tool(command) => tool::run(command).await,
        AgentCommand::Model(command) => model::run(command).await,
        AgentCommand::Rotate {
            agent,
            overlap,
            deployment,
        } => rotate_webhook(&agent, overlap, &deployment).await,
        AgentCommand::Source(command) => super::source::run(command).await,
        AgentCommand::Delete { agent, deployment } => delete_agent(&agent, &deployment).await,
    }
}

async fn create_agent(
    definition: &DefinitionArgs,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    let body = definition_fields(definition)?;
    if body.get("name").is_none() {
        return Err(ClientError::Usage(
            "an agent needs a name: pass --name NAME, or set \"name\" in the file of --from",
        ));
    }
    let client = Client::new(deployment)?;
    let agent = client
        .manage(Method::POST, "/api/agents", Some(&body))
        .await?;
    print_agent(&client, &agent);
    Ok(())
}

async fn list_agents(deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let all = client.manage(Method::GET, "/api/agents", None).await?;
    if client.json {
        print_line(all.to_string());
        return Ok(());
    }
    let agents = all
        .get("agents")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if agents.is_empty() {
        print_line("no agents yet; create one with `agent-webhooks agent create --name NAME`");
    }
    for agent in agents {
        let enabled = agent.get("enabled") == Some(&Value::Bool(true));
        let state = if enabled { "" } else { "  (disabled)" };
        print_line(format!(
            "{}  {}{state}",
            text_field(agent, "agent_id"),
            text_field(agent, "name")
        ));
    }
    Ok(())
}

async fn show_agent(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let agent = client.find_agent(agent).await?;
    print_agent(&client, &agent);
    Ok(())
}

async fn update_agent(
    agent: &str,
    definition: &DefinitionArgs,
    enabled: Option<bool>,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let mut patch = definition_fields(definition)?;
    if let (Some(enabled), Some(fields)) = (enabled, patch.as_object_mut()) {
        fields.insert("enabled".into(), enabled.into());
    }
    let found = client.find_agent(agent).await?;
    let agent = client
        .manage(Method::PATCH, &agent_path(&found), Some(&patch))
        .await?;
    print_agent(&client, &agent);
    Ok(())
}

async fn rotate_webhook(
    agent: &str,
    overlap: u64,
    deployment: &Deployment,
) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let found = client.find_agent(agent).await?;
    let path = format!("{}/webhook/rotate", agent_path(&found));
    let rotated = client
        .manage(
            Method::POST,
            &path,
            Some(&json!({ "overlap_seconds": overlap })),
        )
        .await?;
    match client.json {
        true => print_line(rotated.to_string()),
        false => print_line(text_field(&rotated, "webhook_url")),
    }
    Ok(())
}

async fn delete_agent(agent: &str, deployment: &Deployment) -> Result<(), ClientError> {
    let client = Client::new(deployment)?;
    let found = client.find_agent(agent).await?;
    client
        .manage(Method::DELETE, &agent_path(&found), None)
        .await?;
    match client.json {
        true => print_line(json!({ "deleted": text_field(&found, "agent_id") }).to_string()),
        false => print_line(format!(
            "deleted {} {}",
            text_field(&found, "agent_id"),
            text_field(&found, "name")
        )),
    }
    Ok(())
}

fn print_agent(client: &Client, agent: &Value) {
    if client.json {
        print_line(agent.to_string());
        return;
    }
    print_line(format!(
        "agent    {}  {}",
        text_field(agent, "agent_id"),
        text_field(agent, "name")
    ));
    print_line(format!("webhook  {}", text_field(agent, "webhook_url")));
    if let Some(model) = agent.get("model") {
        let fields = ["provider", "name", "base_url"].map(|field| text_field(model, field));
        print_line(format!("model    {}", fields.join(" ").trim_end()));
    }
    if agent.get("enabled") == Some(&Value::Bool(false)) {
        print_line("disabled: the webhook answers 404");
    }
}

/// The definition as JSON. Options override the file.
fn definition_fields(definition: &DefinitionArgs) -> Result<Value, ClientError> {
    let mut fields = match &definition.from {
        Some(path) => read_object(path)?,
        None => Map::new(),
    };
    if let Some(name) = &definition.name {
        fields.insert("name".into(), name.as_str().into());
    }
    if let Some(prompt) = &definition.prompt {
        fields.insert("prompt".into(), read_prompt(prompt)?.into());
    }
    let model = model::model_fields(&definition.model)?;
    if !model.is_empty() {
        let merged = fields.entry("model").or_insert_with(|| json!({}));
        if let Some(merged) = merged.as_object_mut() {
            merged.extend(model);
        }
    }
    Ok(Value::Object(fields))
}

/// Reads `@FILE`, or returns the text itself. Unlike other arguments, a prompt can be `-`.
fn read_prompt(text: &str) -> Result<String, ClientError> {
    if text.starts_with('@') {
        read_argument(text)
    } else {
        Ok(text.to_owned())
    }
}
