//! `agent tool inspect` and `agent tool call`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::agent_tools::{name_of_tool, parse_secret_headers, tools_of_agent};
use super::argument::read_argument;
use super::{Client, ClientError, text_field};
use crate::cli::{CallTool, InspectTool};
use crate::print_line;

/// Bytes of a description in a table.
const MAX_SHOWN: usize = 100;

/// Tries the URL as an MCP server, then as a document. A URL that looks like a file is tried as a
/// document first.
pub(super) async fn inspect_tool(args: &InspectTool) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let headers = parse_secret_headers(&args.secret_header)?;
    let mcp = json!({ "mcp": { "url": args.target, "headers": headers } });
    let openapi = json!({ "openapi": { "url": args.target } });
    let looks_like_file = [".json", ".yaml", ".yml"]
        .iter()
        .any(|end| args.target.ends_with(end));
    let (first, second) = match looks_like_file {
        true => (openapi, mcp),
        false => (mcp, openapi),
    };
    let inspected = match inspect(&client, &first).await {
        Err(error @ ClientError::Refused { .. }) if is_about_server(&error) => {
            // If it is neither, the first error is the likelier reason.
            inspect(&client, &second).await.map_err(|_| error)?
        }
        inspected => inspected?,
    };
    if client.json {
        print_line(inspected.to_string());
        return Ok(());
    }
    match text_field(&inspected, "type") {
        "mcp" => print_mcp(&inspected),
        _ => print_api(&inspected),
    }
    Ok(())
}

async fn inspect(client: &Client, body: &Value) -> Result<Value, ClientError> {
    client
        .manage(Method::POST, "/api/tools/inspect", Some(body))
        .await
}

/// Whether the server answered something else than was expected.
fn is_about_server(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, code, .. } => {
            *status == StatusCode::UNPROCESSABLE_ENTITY || code == "invalid_document"
        }
        _ => false,
    }
}

fn print_mcp(inspected: &Value) {
    let about = ["server_name", "server_version"].map(|field| text_field(inspected, field));
    print_line(format!("MCP server  {}", about.join(" ").trim_end()));
    let tools = items(inspected, "tools");
    print_table(
        tools
            .iter()
            .map(|tool| ["name", "description"].map(|field| text_field(tool, field).to_owned())),
    );
    print_left_out(inspected);
    if !tools.is_empty() {
        print_line("add some with `agent-webhooks agent tool add AGENT --mcp URL --allow NAME,…`");
    }
}

fn print_api(inspected: &Value) {
    let about = ["title", "base_url"].map(|field| text_field(inspected, field));
    print_line(format!("HTTP API  {}", about.join("  ").trim_end()));
    let operations = items(inspected, "operations");
    print_table(operations.iter().map(|operation| {
        let place = format!(
            "{} {}",
            text_field(operation, "method"),
            text_field(operation, "path")
        );
        [
            text_field(operation, "name").to_owned(),
            place,
            text_field(operation, "summary").to_owned(),
        ]
    }));
    print_left_out(inspected);
    for credential in items(inspected, "credentials") {
        let [header, prefix] = ["header", "prefix"].map(|field| text_field(credential, field));
        print_line(format!(
            "this API may require authentication: --secret-header '{header}: {prefix}{{NAME}}'"
        ));
    }
    if !operations.is_empty() {
        print_line(
            "add some with `agent-webhooks agent tool add AGENT --openapi URL --allow NAME,…`",
        );
    }
}

fn print_left_out(inspected: &Value) {
    for left_out in items(inspected, "left_out") {
        let [name, reason] = ["name", "reason"].map(|field| text_field(left_out, field));
        print_line(format!("left out: {name}: {reason}"));
    }
    if inspected.get("is_cut") == Some(&Value::Bool(true)) {
        print_line("there are more, which are not listed");
    }
}

fn items<'a>(value: &'a Value, field: &str) -> Vec<&'a Value> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter().flatten().collect()
}

/// Prints columns that are as wide as their longest text. The last one is cut.
fn print_table<const N: usize>(rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    for row in &rows {
        let columns = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(place, (text, width))| match place + 1 == N {
                true => domain::cut(text.lines().next().unwrap_or_default(), MAX_SHOWN),
                false => format!("{text:width$}"),
            });
        let line = columns.collect::<Vec<_>>().join("  ");
        print_line(format!("  {}", line.trim_end()));
    }
}

pub(super) async fn call_tool(args: &CallTool) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let text = read_argument(&args.arguments)?;
    let arguments: Value = serde_json::from_str(&text).map_err(|_| ClientError::NotJson {
        what: "--arguments".to_owned(),
    })?;
    let found = client.find_agent(&args.agent).await?;
    let mut tools = tools_of_agent(&found).into_iter();
    let tool = tools.find(|tool| name_of_tool(tool) == args.tool);
    let tool = tool.ok_or_else(|| ClientError::UnknownTool(args.tool.clone()))?;
    let body = json!({ "tool": tool, "operation": args.operation, "arguments": arguments });
    let called = client
        .manage(Method::POST, "/api/tools/call", Some(&body))
        .await?;
    let is_ok = called.get("ok") == Some(&Value::Bool(true));
    match (client.json, called.get("error")) {
        (true, _) => print_line(called.to_string()),
        (false, Some(error)) => {
            print_line(format!("the call failed: {}", text_field(error, "message")))
        }
        (false, None) => print_line(text_field(&called, "result")),
    }
    match is_ok {
        true => Ok(()),
        false => Err(ClientError::TestFailed),
    }
}
