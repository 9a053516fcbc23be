//! `agent tool …`

use std::collections::BTreeSet;
use std::path::Path;

use domain::agent::import;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::agent::path;
use super::{Client, ClientError, text};
use crate::cli::{AddTool, ToolCommand};
use crate::say;

/// Runs one of the tool commands.
pub async fn run(command: ToolCommand) -> Result<(), ClientError> {
    match command {
        ToolCommand::Add(args) => add(&args).await,
        ToolCommand::List { agent, deployment } => {
            let client = Client::new(&deployment)?;
            let found = client.find(&agent).await?;
            list(&client, &found);
            Ok(())
        }
        ToolCommand::Remove { agent, tool, deployment } => {
            remove(&Client::new(&deployment)?, &agent, &tool).await
        }
    }
}

async fn add(args: &AddTool) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let headers = secret_headers(&args.secret_header)?;
    let (tool, wanted) = match (&args.openapi, &args.mcp) {
        (Some(file), _) => from_openapi(args, file)?,
        (None, Some(url)) => (from_mcp(args, url), BTreeSet::new()),
        (None, None) => return Err(ClientError::Usage("name an OpenAPI document or an MCP server")),
    };
    let lacking: Vec<&(String, String)> = wanted
        .iter()
        .filter(|(header, _)| !headers.keys().any(|name| name.eq_ignore_ascii_case(header)))
        .collect();
    if !client.json {
        for (header, prefix) in lacking {
            say(format!("this API may want to know who asks: --secret-header '{header}: {prefix}{{NAME}}'"));
        }
    }
    let mut tool = tool;
    if let (false, Some(fields)) = (headers.is_empty(), tool.as_object_mut()) {
        fields.insert("headers".into(), headers.into());
    }
    let found = client.find(&args.agent).await?;
    let mut tools = tools_of(&found);
    tools.push(tool);
    let changed = client.manage(Method::PATCH, &path(&found), Some(&json!({ "tools": tools }))).await?;
    list(&client, &changed);
    Ok(())
}

async fn remove(client: &Client, agent: &str, tool: &str) -> Result<(), ClientError> {
    let found = client.find(agent).await?;
    let mut tools = tools_of(&found);
    let all = tools.len();
    tools.retain(|other| name(other) != tool);
    if tools.len() == all {
        return Err(ClientError::UnknownTool(tool.to_owned()));
    }
    let changed = client.manage(Method::PATCH, &path(&found), Some(&json!({ "tools": tools }))).await?;
    list(client, &changed);
    Ok(())
}

/// The tool, and the headers by which its API may be told who asks.
fn from_openapi(args: &AddTool, file: &Path) -> Result<(Value, BTreeSet<(String, String)>), ClientError> {
    let document = read(file)?;
    let imported = import(&document, &args.allow)
        .map_err(|source| ClientError::OpenApi { what: file.display().to_string(), source })?;
    let base_url = args.base_url.clone().or(imported.base_url).ok_or(ClientError::Usage(
        "the document names no server with an address of its own: give it with --base-url URL",
    ))?;
    let title = document.pointer("/info/title").and_then(Value::as_str).unwrap_or("api");
    let name = args.name.clone().unwrap_or_else(|| plain(title));
    let tool = json!({
        "type": "http", "name": name, "base_url": base_url, "operations": imported.operations,
    });
    Ok((tool, imported.credentials))
}

fn from_mcp(args: &AddTool, url: &str) -> Value {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(plain));
    let name = args.name.clone().or(host).unwrap_or_else(|| "mcp".to_owned());
    json!({ "type": "mcp", "name": name, "url": url, "allow": args.allow })
}

/// JSON, or YAML, of which JSON is a part that is read much faster.
fn read(file: &Path) -> Result<Value, ClientError> {
    let what = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| ClientError::Read { what: what(), source })?;
    match serde_json::from_str(&text) {
        Ok(document) => Ok(document),
        Err(_) => yaml_serde::from_str(&text).map_err(|source| ClientError::NotYaml { what: what(), source }),
    }
}

/// `HEADER: PREFIX{SECRET}`, each.
fn secret_headers(given: &[String]) -> Result<Map<String, Value>, ClientError> {
    let malformed = ClientError::Usage(
        "a secret header is written HEADER: {SECRET}, such as 'Authorization: Bearer {NAME}'; store the secret with `agent-webhooks secret set NAME`",
    );
    let parsed = given.iter().map(|header| {
        let (name, value) = header.split_once(':')?;
        let (prefix, secret) = value.trim().strip_suffix('}')?.split_once('{')?;
        let mut source = json!({ "secret": secret });
        if let (false, Some(fields)) = (prefix.is_empty(), source.as_object_mut()) {
            fields.insert("prefix".into(), prefix.into());
        }
        Some((name.trim().to_owned(), source))
    });
    parsed.collect::<Option<_>>().ok_or(malformed)
}

fn tools_of(agent: &Value) -> Vec<Value> {
    agent.get("tools").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A set's name; that of a tool which is alone is its type.
fn name(tool: &Value) -> &str {
    match text(tool, "name") {
        "" => text(tool, "type"),
        name => name,
    }
}

fn list(client: &Client, agent: &Value) {
    let tools = tools_of(agent);
    if client.json {
        return say(json!({ "tools": tools }).to_string());
    }
    if tools.is_empty() {
        say("no tools; add some with `agent tool add AGENT --openapi FILE`");
    }
    for tool in &tools {
        let place = [text(tool, "base_url"), text(tool, "url")].concat();
        say(format!("{}  {}  {place}", name(tool), text(tool, "type")));
        let array = |field: &str| tool.get(field).and_then(Value::as_array).into_iter().flatten();
        for operation in array("operations") {
            let field = |field| text(operation, field);
            say(format!("  {}  {} {}", field("name"), field("method"), field("path")));
        }
        for allowed in array("allow").filter_map(Value::as_str) {
            say(format!("  {allowed}"));
        }
    }
}

/// A name as tools may have them.
fn plain(text: &str) -> String {
    let character = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    text.to_lowercase().chars().take(64).map(character).collect()
}
