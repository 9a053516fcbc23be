//! `agent tool …`

use std::collections::HashSet;

use domain::agent::tools::{ImportSource, ImportedApi, import_openapi};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::agent_tools::{name_of_tool, parse_secret_headers, tools_of_agent};
use super::argument::read_object;
use super::document::read_document;
use super::{Client, ClientError, agent_path, text_field, trial};
use crate::cli::{AddTool, ToolCommand};
use crate::print_line;

pub async fn run(command: ToolCommand) -> Result<(), ClientError> {
    match command {
        ToolCommand::Add(args) => add_tool(&args).await,
        ToolCommand::Inspect(args) => trial::inspect_tool(&args).await,
        ToolCommand::Call(args) => trial::call_tool(&args).await,
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
    let (mut tool, imported) = match (&args.openapi, &args.mcp, &args.from) {
        (Some(source), _, _) => from_openapi(args, source).await?,
        (None, Some(url), _) => (from_mcp(args, url), ImportedApi::default()),
        // Only the server checks it.
        (None, None, Some(file)) => (Value::Object(read_object(file)?), ImportedApi::default()),
        (None, None, None) => {
            return Err(ClientError::Usage(
                "pass an OpenAPI document with --openapi, an MCP server with --mcp or a tool with --from",
            ));
        }
    };
    let found = client.find_agent(&args.agent).await?;
    let mut tools = tools_of_agent(&found);
    if args.from.is_none() {
        let notes = choose_free_names(&mut tool, &tools, args.name.is_some());
        if !client.json {
            notes.into_iter().for_each(print_line);
        }
    }
    if !client.json {
        print_import(&imported, &headers);
    }
    if let (false, Some(fields)) = (headers.is_empty(), tool.as_object_mut()) {
        fields.insert("headers".into(), headers.into());
    }
    tools.push(tool);
    let changed = client
        .manage(
            Method::PATCH,
            &agent_path(&found),
            Some(&json!({ "tools": tools })),
        )
        .await?;
    match (client.json, &args.openapi) {
        (true, Some(_)) => print_line(
            json!({ "tools": tools_of_agent(&changed), "left_out": left_out_of(&imported) })
                .to_string(),
        ),
        _ => print_tools(&client, &changed),
    }
    Ok(())
}

/// Prints what was left out of an import, and the headers that its API may require.
fn print_import(imported: &ImportedApi, headers: &Map<String, Value>) {
    for left_out in &imported.left_out {
        print_line(format!("left out: {}: {}", left_out.path, left_out.why));
    }
    if !imported.operations.is_empty() {
        print_line(format!(
            "imported {}, left out {}",
            imported.operations.len(),
            imported.left_out.len()
        ));
    }
    let is_given = |header: &str| headers.keys().any(|name| name.eq_ignore_ascii_case(header));
    for (header, prefix) in &imported.credentials {
        if !is_given(header) {
            print_line(format!(
                "this API may require authentication: --secret-header '{header}: {prefix}{{NAME}}'"
            ));
        }
    }
}

fn left_out_of(imported: &ImportedApi) -> Value {
    let left_out = imported.left_out.iter().map(|left_out| {
        json!({
            "operation": left_out.operation,
            "path": left_out.path,
            "reason": left_out.why.to_string(),
        })
    });
    left_out.collect()
}

/// Adds a number to names that the agent's tools have already. Returns what has changed.
fn choose_free_names(tool: &mut Value, others: &[Value], is_named: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let names = |field: &'static str| {
        let operations = others
            .iter()
            .filter_map(move |tool| tool.get(field)?.as_array());
        operations
            .flatten()
            .map(|operation| text_field(operation, "name").to_owned())
    };
    let sets: HashSet<String> = others
        .iter()
        .map(|tool| name_of_tool(tool).to_owned())
        .collect();
    let mut taken: HashSet<String> = names("operations").collect();
    let name = text_field(tool, "name").to_owned();
    // The server refuses a name that the owner has chosen twice, and says so.
    if !is_named && sets.contains(&name) {
        let free = free_name(&name, '-', &sets);
        notes.push(format!(
            "named {free}, because the agent has a tool {name}; choose another name with --name, or \
             replace that tool: remove it with `agent-webhooks agent tool remove` first"
        ));
        if let Some(fields) = tool.as_object_mut() {
            fields.insert("name".to_owned(), free.into());
        }
    }
    let operations = tool.get_mut("operations").and_then(Value::as_array_mut);
    for operation in operations.into_iter().flatten() {
        let name = text_field(operation, "name").to_owned();
        if taken.contains(&name) {
            let free = free_name(&name, '_', &taken);
            notes.push(format!(
                "named {free}, because the agent has an operation {name}"
            ));
            if let Some(fields) = operation.as_object_mut() {
                fields.insert("name".to_owned(), free.clone().into());
            }
            taken.insert(free);
        } else {
            taken.insert(name);
        }
    }
    notes
}

/// The name with the first number that makes it unique, in at most 64 characters.
fn free_name(name: &str, separator: char, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number| {
        let end = format!("{separator}{number}");
        let beginning: String = name.chars().take(64 - end.len()).collect();
        format!("{beginning}{end}")
    });
    let mut free = numbered.filter(|name| !taken.contains(name));
    free.next().unwrap_or_default()
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

/// Returns the tool, and what was imported.
async fn from_openapi(args: &AddTool, source: &str) -> Result<(Value, ImportedApi), ClientError> {
    let document = read_document(source).await?;
    let urls = ImportSource {
        base_url: args.base_url.as_deref(),
        document_url: document.url.as_deref(),
    };
    let imported = import_openapi(&document.value, &args.allow, urls).map_err(|error| {
        ClientError::OpenApi {
            what: match source {
                "-" => "standard input".to_owned(),
                source => source.to_owned(),
            },
            source: error,
        }
    })?;
    let base_url = imported.base_url.clone().ok_or(ClientError::Usage(
        "the document has no server with an absolute URL; pass it with --base-url URL",
    ))?;
    let title = document
        .value
        .pointer("/info/title")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = args.name.clone().unwrap_or_else(|| match title.trim() {
        "" => "api".to_owned(),
        title => to_tool_name(title),
    });
    let tool = json!({
        "type": "http", "name": name, "base_url": base_url, "operations": imported.operations,
    });
    Ok((tool, imported))
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
