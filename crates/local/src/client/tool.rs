//! `agent tool …`

use std::collections::BTreeSet;
use std::path::Path;

use domain::agent::tools::import_openapi;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Client, ClientError, agent_path, read_object, text_field};
use crate::cli::{AddTool, ToolCommand};
use crate::print_line;

pub async fn run(command: ToolCommand) -> Result<(), ClientError> {
    match command {
        ToolCommand::Add(args) => add_tool(&args).await,
        ToolCommand::List { agent, deployment } => {
            let client = Client::new(&deployment)?;
            let found = client.find_agent(&agent).await?;
            print_tools(&client, &found);
            Ok(())
        }
        ToolCommand::Remove {
            agent,
            tool,
            deployment,
        } => remove_tool(&Client::new(&deployment)?, &agent, &tool).await,
    }
}

async fn add_tool(args: &AddTool) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let headers = parse_secret_headers(&args.secret_header)?;
    let (tool, credentials) = match (&args.openapi, &args.mcp, &args.from) {
        (Some(file), _, _) => from_openapi(args, file)?,
        (None, Some(url), _) => (from_mcp(args, url), BTreeSet::new()),
        // Only the server checks it.
        (None, None, Some(file)) => (Value::Object(read_object(file)?), BTreeSet::new()),
        (None, None, None) => {
            return Err(ClientError::Usage(
                "pass an OpenAPI document with --openapi, an MCP server with --mcp or a tool with --from",
            ));
        }
    };
    let missing: Vec<&(String, String)> = credentials
        .iter()
        .filter(|(header, _)| !headers.keys().any(|name| name.eq_ignore_ascii_case(header)))
        .collect();
    if !client.json {
        for (header, prefix) in missing {
            print_line(format!(
                "this API may require authentication: --secret-header '{header}: {prefix}{{NAME}}'"
            ));
        }
    }
    let mut tool = tool;
    if let (false, Some(fields)) = (headers.is_empty(), tool.as_object_mut()) {
        fields.insert("headers".into(), headers.into());
    }
    let found = client.find_agent(&args.agent).await?;
    let mut tools = tools_of_agent(&found);
    tools.push(tool);
    let changed = client
        .manage(
            Method::PATCH,
            &agent_path(&found),
            Some(&json!({ "tools": tools })),
        )
        .await?;
    print_tools(&client, &changed);
    Ok(())
}

async fn remove_tool(client: &Client, agent: &str, tool: &str) -> Result<(), ClientError> {
    let found = client.find_agent(agent).await?;
    let mut tools = tools_of_agent(&found);
    let all = tools.len();
    tools.retain(|other| name_of_tool(other) != tool);
    if tools.len() == all {
        return Err(ClientError::UnknownTool(tool.to_owned()));
    }
    let changed = client
        .manage(
            Method::PATCH,
            &agent_path(&found),
            Some(&json!({ "tools": tools })),
        )
        .await?;
    print_tools(client, &changed);
    Ok(())
}

/// Returns the tool, and the headers with credentials that its API may require.
fn from_openapi(
    args: &AddTool,
    file: &Path,
) -> Result<(Value, BTreeSet<(String, String)>), ClientError> {
    let document = read_document(file)?;
    let imported =
        import_openapi(&document, &args.allow).map_err(|source| ClientError::OpenApi {
            what: file.display().to_string(),
            source,
        })?;
    let base_url = args
        .base_url
        .clone()
        .or(imported.base_url)
        .ok_or(ClientError::Usage(
            "the document has no server with an absolute URL; pass it with --base-url URL",
        ))?;
    let title = document
        .pointer("/info/title")
        .and_then(Value::as_str)
        .unwrap_or("api");
    let name = args.name.clone().unwrap_or_else(|| to_tool_name(title));
    let tool = json!({
        "type": "http", "name": name, "base_url": base_url, "operations": imported.operations,
    });
    Ok((tool, imported.credentials))
}

fn from_mcp(args: &AddTool, url: &str) -> Value {
    let host = url::Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(to_tool_name));
    let name = args
        .name
        .clone()
        .or(host)
        .unwrap_or_else(|| "mcp".to_owned());
    json!({ "type": "mcp", "name": name, "url": url, "allow": args.allow })
}

/// Reads JSON or YAML. YAML includes JSON, but the JSON parser is much faster.
fn read_document(file: &Path) -> Result<Value, ClientError> {
    let what = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| ClientError::Read {
        what: what(),
        source,
    })?;
    match serde_json::from_str(&text) {
        Ok(document) => Ok(document),
        Err(_) => yaml_serde::from_str(&text).map_err(|source| ClientError::NotYaml {
            what: what(),
            source,
        }),
    }
}

/// Parses `HEADER: PREFIX{SECRET}`.
fn parse_secret_headers(given: &[String]) -> Result<Map<String, Value>, ClientError> {
    let malformed = ClientError::Usage(
        "--secret-header must be HEADER: {SECRET}, such as 'Authorization: Bearer {NAME}'; store the secret \
         with `agent-webhooks secret set NAME`",
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

fn tools_of_agent(agent: &Value) -> Vec<Value> {
    agent
        .get("tools")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// The name of an API or server. Other tools have no name, so theirs is the type.
fn name_of_tool(tool: &Value) -> &str {
    match text_field(tool, "name") {
        "" => text_field(tool, "type"),
        name => name,
    }
}

fn print_tools(client: &Client, agent: &Value) {
    let tools = tools_of_agent(agent);
    if client.json {
        return print_line(json!({ "tools": tools }).to_string());
    }
    if tools.is_empty() {
        print_line(
            "no tools yet; add some with `agent-webhooks agent tool add AGENT --openapi FILE`",
        );
    }
    for tool in &tools {
        let place = [text_field(tool, "base_url"), text_field(tool, "url")].concat();
        print_line(format!(
            "{}  {}  {place}",
            name_of_tool(tool),
            text_field(tool, "type")
        ));
        let array = |field: &str| {
            tool.get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        for operation in array("operations") {
            let field = |field| text_field(operation, field);
            print_line(format!(
                "  {}  {} {}",
                field("name"),
                field("method"),
                field("path")
            ));
        }
        for allowed in array("allow").filter_map(Value::as_str) {
            print_line(format!("  {allowed}"));
        }
    }
}

/// Replaces the characters that a tool's name cannot have.
fn to_tool_name(text: &str) -> String {
    let character = |character: char| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '-'
        }
    };
    text.to_lowercase()
        .chars()
        .take(64)
        .map(character)
        .collect()
}
