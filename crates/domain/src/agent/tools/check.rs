//! Checks of an agent's tools.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use url::Url;

use super::request::{pieces, stays_in_its_segment};
use super::{HeaderSource, HttpTool, McpNames, McpTool, Operation, SEARCH_SOURCES, Tool, ToolError};
use crate::agent::credential::{
    credential_in_query, credential_in_url, has_user_info, is_credential_name, is_credential_value,
};
use crate::agent::secret::{AGENTS_SECRETS, is_secret_name};
use crate::schema::bounded_validator;

/// Tools of one agent, as the model sees them. The largest providers accept 128 in a
/// request.
const MAX_TOOLS: usize = 128;
/// Bytes of an agent's tools as JSON. They share an item of 400 KB with its prompt and
/// sources, and are sent to the model in every turn.
const MAX_TOOLS_BYTES: usize = 64 * 1024;
const MAX_TIMEOUT_SECONDS: u64 = 300;
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Headers of one set of tools.
const MAX_HEADERS: usize = 32;

/// Headers that the HTTP client or this product sets.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Requires JSON objects: serde would also read a struct from an array, by position.
pub(in crate::agent) fn check_shape(tools: &Value) -> Result<(), &'static str> {
    for tool in tools.as_array().into_iter().flatten() {
        if !tool.is_object() {
            return Err("Each of `tools`");
        }
        let operations = tool.get("operations").and_then(Value::as_array);
        if !operations.into_iter().flatten().all(Value::is_object) {
            return Err("Each of `operations`");
        }
    }
    Ok(())
}

/// Checks that tools can be offered to a model and called.
pub(in crate::agent) fn check_tools(tools: &[Tool]) -> Result<(), ToolError> {
    let (mut names, mut sets) = (HashSet::new(), HashSet::new());
    let mcp_names = McpNames::new(tools);
    for tool in tools {
        match tool {
            Tool::SearchSources {} => check_name(SEARCH_SOURCES, &mut names)?,
            Tool::Http(tool) => {
                check_name(&tool.name, &mut sets)?;
                check_http(tool)?;
                for operation in &tool.operations {
                    check_name(&operation.name, &mut names)?;
                    check_operation(operation)?;
                }
            }
            Tool::Mcp(tool) => {
                check_name(&tool.name, &mut sets)?;
                check_mcp(tool)?;
                for allowed in &tool.allow {
                    check_name(&mcp_names.exposed_name(tool, allowed), &mut names)?;
                }
            }
        }
    }
    if names.len() > MAX_TOOLS {
        return Err(ToolError::TooMany);
    }
    match serde_json::to_vec(tools).map_or(usize::MAX, |json| json.len()) {
        ..=MAX_TOOLS_BYTES => Ok(()),
        _ => Err(ToolError::TooLarge),
    }
}

fn check_name(name: &str, seen: &mut HashSet<String>) -> Result<(), ToolError> {
    let well_formed = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !well_formed {
        return Err(ToolError::Name(crate::cut(name, 64)));
    }
    if seen.insert(name.to_owned()) { Ok(()) } else { Err(ToolError::Twice(name.to_owned())) }
}

fn check_http(tool: &HttpTool) -> Result<(), ToolError> {
    let name = || tool.name.clone();
    if tool.operations.is_empty() {
        return Err(ToolError::Empty(name()));
    }
    if !is_base_url(&tool.base_url) {
        return Err(ToolError::BaseUrl(name()));
    }
    check_limits(&tool.name, tool.timeout_seconds, tool.max_response_bytes)?;
    check_headers(&tool.name, &tool.headers)
}

fn check_mcp(tool: &McpTool) -> Result<(), ToolError> {
    if tool.allow.is_empty() {
        return Err(ToolError::Empty(tool.name.clone()));
    }
    if let Some(name) = tool.allow.iter().find(|name| name.is_empty() || name.len() > 128) {
        return Err(ToolError::Name(crate::cut(name, 64)));
    }
    if let Some(name) = tool.approval.iter().find(|name| !tool.allow.contains(name)) {
        return Err(ToolError::Approval { tool: tool.name.clone(), name: crate::cut(name, 64) });
    }
    check_mcp_url(tool)?;
    check_limits(&tool.name, tool.timeout_seconds, tool.max_response_bytes)?;
    check_headers(&tool.name, &tool.headers)
}

fn check_limits(tool: &str, timeout_seconds: u64, max_response_bytes: usize) -> Result<(), ToolError> {
    for (field, value, max) in [
        ("timeout_seconds", timeout_seconds, MAX_TIMEOUT_SECONDS),
        ("max_response_bytes", max_response_bytes as u64, MAX_RESPONSE_BYTES as u64),
    ] {
        if !(1..=max).contains(&value) {
            return Err(ToolError::Limit { tool: tool.to_owned(), field, max });
        }
    }
    Ok(())
}

fn check_headers(tool: &str, headers: &BTreeMap<String, HeaderSource>) -> Result<(), ToolError> {
    if headers.len() > MAX_HEADERS {
        return Err(ToolError::TooManyHeaders(tool.to_owned()));
    }
    headers.iter().try_for_each(|(header, source)| check_header(tool, header, source))
}

fn is_base_url(text: &str) -> bool {
    plain_url(text).is_some_and(|url| url.query().is_none())
}

/// The query of an endpoint may have parameters except credentials.
fn check_mcp_url(tool: &McpTool) -> Result<(), ToolError> {
    let name = || tool.name.clone();
    let url = plain_url(&tool.url).ok_or_else(|| ToolError::McpUrl(name()))?;
    let credential = credential_in_url(&url);
    credential.map_or(Ok(()), |parameter| Err(ToolError::McpUrlCredential { tool: name(), parameter }))
}

fn plain_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = text.len() <= 2048
        && matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && !has_user_info(&url)
        && url.fragment().is_none();
    plain.then_some(url)
}

fn check_header(tool: &str, header: &str, source: &HeaderSource) -> Result<(), ToolError> {
    let (tool, name) = (tool.to_owned(), crate::cut(header, 64));
    let printable = |text: &str| text.len() <= 2048 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let text = match source {
        HeaderSource::Plain(value) => value,
        HeaderSource::Stored(stored) => &stored.prefix,
    };
    if !is_header_name(header) || !printable(text) {
        return Err(ToolError::Header { tool, header: name });
    }
    match source {
        HeaderSource::Plain(value) if is_credential_name(header) || is_credential_value(value) => {
            Err(ToolError::Credential { tool, header: name })
        }
        HeaderSource::Stored(stored)
            if !is_secret_name(&stored.secret) || stored.secret.starts_with(AGENTS_SECRETS) =>
        {
            Err(ToolError::Secret { tool, secret: crate::cut(&stored.secret, 64) })
        }
        _ => Ok(()),
    }
}

/// A token (RFC 9110 section 5.6.2) that is not reserved.
fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&name.len())
        && name.bytes().all(is_token)
        && !RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

pub(super) fn check_operation(operation: &Operation) -> Result<(), ToolError> {
    check_parameters(operation)?;
    let (path, query) = operation.path.split_once('?').unwrap_or((&operation.path, ""));
    let well_formed = path.starts_with('/')
        && !path.starts_with("//")
        && operation.path.len() <= 2048
        && pieces(path).is_some()
        && stays_in_its_segment(path)
        && !operation.path.contains(['#', '\\'])
        && !query.contains(['{', '}']);
    if !well_formed {
        return Err(ToolError::Path(operation.name.clone()));
    }
    if let Some(parameter) = credential_in_query(query) {
        return Err(ToolError::QueryCredential { operation: operation.name.clone(), parameter });
    }
    check_places(operation)
}

fn check_parameters(operation: &Operation) -> Result<(), ToolError> {
    let wrong = |why: String| ToolError::Parameters { operation: operation.name.clone(), why };
    let Some(schema) = operation.parameters.as_object() else {
        return Err(wrong("it is not an object".into()));
    };
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(wrong("its `type` is not `object`".into()));
    }
    match bounded_validator(&operation.parameters) {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(crate::cut(&error.to_string(), 500))),
    }
}

/// Requires that every argument has exactly one place, and that arguments in the path are
/// required.
fn check_places(operation: &Operation) -> Result<(), ToolError> {
    let names = operation.parameters.get("properties").and_then(Value::as_object);
    let is_parameter = |name: &str| names.is_some_and(|names| names.contains_key(name));
    let required = operation.parameters.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.into_iter().flatten().any(|required| required.as_str() == Some(name));
    let (path, name) = (operation.path_arguments(), || operation.name.clone());
    if let Some(argument) = path.iter().find(|argument| !is_parameter(argument) || !is_required(argument)) {
        return Err(ToolError::PathArgument { operation: name(), argument: (*argument).to_owned() });
    }
    let mut placed: HashSet<&str> = path.into_iter().collect();
    for argument in operation.query.iter().chain(&operation.headers).chain(&operation.body) {
        if !is_parameter(argument) || !placed.insert(argument) {
            return Err(ToolError::Place { operation: name(), argument: argument.clone() });
        }
    }
    if let Some(argument) = operation.wire_names.keys().find(|argument| !is_parameter(argument)) {
        return Err(ToolError::Place { operation: name(), argument: argument.clone() });
    }
    for argument in &operation.headers {
        let header = operation.wire_names.get(argument).unwrap_or(argument);
        // The model writes this value, so it cannot be a credential.
        if !is_header_name(header) || is_credential_name(header) {
            return Err(ToolError::Header { tool: name(), header: crate::cut(header, 64) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(tools: Value) -> Result<(), String> {
        let tools: Vec<Tool> = serde_json::from_value(tools).map_err(|error| error.to_string())?;
        check_tools(&tools).map_err(|error| error.to_string())
    }

    /// A valid tool with these fields replaced.
    fn tool(fields: Value) -> Value {
        let mut tool = json!({
            "type": "http", "name": "shop", "base_url": "https://shop.example",
            "operations": [operation(json!({}))],
        });
        tool.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([tool])
    }

    fn operation(fields: Value) -> Value {
        let mut operation = json!({
            "name": "get_order", "path": "/orders/{id}",
            "parameters": { "properties": { "id": { "type": "string" }, "x": {} }, "required": ["id"] },
        });
        operation.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        operation
    }

    #[test]
    fn a_valid_tool_is_accepted() {
        let headers = json!({
            "Accept": "application/json",
            "Authorization": { "secret": "shop", "prefix": "Bearer " },
        });
        assert_eq!(check(tool(json!({ "headers": headers }))), Ok(()));
    }

    #[test]
    fn every_invalid_set_is_refused_with_what_to_change() {
        for (fields, says) in [
            (json!({ "name": "a b" }), "the name `a b` must have"),
            (json!({ "base_url": "ftp://shop.example" }), "`base_url` of the tool `shop`"),
            (json!({ "base_url": "https://u:p@shop.example" }), "without credentials"),
            (json!({ "base_url": "https://shop.example/?key=1" }), "query"),
            (json!({ "base_url": "https://shop.example/?v=1" }), "query"),
            (json!({ "base_url": "https://:p@shop.example" }), "without credentials"),
            (json!({ "timeout_seconds": 0 }), "`timeout_seconds` of the tool `shop` must be from 1 to 300"),
            (json!({ "max_response_bytes": 2_000_000 }), "from 1 to 1048576"),
            (json!({ "operations": [] }), "`shop` has no operations"),
            (
                json!({ "operations": [operation(json!({})), operation(json!({}))] }),
                "`get_order` is given twice",
            ),
            (json!({ "headers": { "X\r\n": "a" } }), "The header `X"),
            (json!({ "headers": { "Host": "a" } }), "The header `Host`"),
            (json!({ "headers": { "X-A": "a\nb" } }), "The header `X-A`"),
            (json!({ "headers": { "authorization": "Bearer x" } }), "agent-webhooks secret set NAME"),
            (json!({ "headers": { "X-Api-Key": "x" } }), "{\"secret\": \"NAME\"}"),
            (json!({ "headers": { "Cookie": "x" } }), "contains a credential"),
            (json!({ "headers": { "X_AUTH_TOKEN": "x" } }), "contains a credential"),
            (json!({ "headers": { "X-Pass": "x" } }), "contains a credential"),
            (json!({ "headers": { "pwd": "x" } }), "contains a credential"),
            (json!({ "headers": { "X-A": "Bearer x" } }), "contains a credential"),
            (json!({ "headers": { "X-A": { "value": "x" } } }), "text or {\"secret\":\"NAME\"}"),
            (json!({ "headers": { "X-A": 1 } }), "text or {\"secret\":\"NAME\"}"),
            (
                json!({ "headers": { "X-A": { "secret": "agents/1/model-api-key-0" } } }),
                "not start with `agents/`",
            ),
            (json!({ "headers": { "X-A": { "secret": "a b" } } }), "The secret `a b`"),
            (json!({ "verb": 1 }), "unknown field `verb`"),
        ] {
            let message = check(tool(fields.clone())).unwrap_err();
            assert!(message.contains(says), "{fields}: {message}");
        }
    }

    #[test]
    fn every_invalid_mcp_server_is_refused_with_what_to_change() {
        for (fields, says) in [
            (json!({ "allow": [] }), "its `allow` is empty"),
            (json!({ "allow": [""] }), "the name ``"),
            (json!({ "allow": ["a", "a"] }), "`wiki_a` is given twice"),
            (json!({ "approval": ["b"] }), "contains `b`, which is not in its `allow`"),
            (json!({ "url": "stdio:server" }), "`url` of the tool `wiki`"),
            (json!({ "url": "https://u@mcp.example" }), "without credentials"),
            (json!({ "url": "https://mcp.example/?apiKey=1" }), "credentials such as `apiKey`"),
            (json!({ "url": "https://mcp.example/?code=1" }), "credentials such as `code`"),
            (json!({ "url": "https://mcp.example/?a=1;pwd=1" }), "credentials such as `pwd`"),
            (json!({ "headers": { "X-Pass": "x" } }), "agent-webhooks secret set NAME"),
            (json!({ "headers": { "Authorization": "x" } }), "agent-webhooks secret set NAME"),
            (json!({ "timeout_seconds": 301 }), "from 1 to 300"),
        ] {
            let mut tool = json!({
                "type": "mcp", "name": "wiki", "url": "https://mcp.example/mcp?profile=a", "allow": ["a"],
            });
            assert_eq!(check(json!([tool])), Ok(()));
            tool.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let message = check(json!([tool])).unwrap_err();
            assert!(message.contains(says), "{fields}: {message}");
        }
    }

    #[test]
    fn every_invalid_operation_is_refused_with_what_to_change() {
        for (fields, says) in [
            (json!({ "name": "" }), "the name `` must have"),
            (json!({ "name": "search_sources" }), "given twice"),
            (json!({ "path": "orders" }), "must start with `/`"),
            (json!({ "path": "//evil.example/{id}" }), "must start with `/`"),
            (json!({ "path": "/a/../{id}" }), "no `.` or `..`"),
            (json!({ "path": "/a/%2e%2E/{id}" }), "no `.` or `..`"),
            (json!({ "path": "/a/..;x/{id}" }), "no `.` or `..`"),
            (json!({ "path": "/a/..%2f{id}" }), "no `.` or `..`"),
            (json!({ "path": "/{id}?code=1" }), "contains a credential in its query"),
            (json!({ "path": "/{id}?v=1&pwd=1" }), "contains a credential in its query, `pwd`"),
            (json!({ "path": "/{id" }), "`path` of the operation"),
            (json!({ "path": "/a?x={id}" }), "before any `?`"),
            (json!({ "path": "/{other}" }), "`{other}` in `path`"),
            (json!({ "path": "/{x}" }), "and `required`"),
            (json!({ "query": ["y"] }), "`y` of the operation"),
            (json!({ "query": ["id"] }), "has two places"),
            (json!({ "query": ["x"], "body": "x" }), "has two places"),
            (
                json!({ "headers": ["x"], "wire_names": { "x": "Authorization" } }),
                "The header `Authorization`",
            ),
            (json!({ "headers": ["x"], "wire_names": { "x": "X-Pass" } }), "The header `X-Pass`"),
            (json!({ "wire_names": { "y": "z" } }), "`y` of the operation"),
            (json!({ "parameters": [] }), "it is not an object"),
            (json!({ "parameters": { "type": "array" } }), "not `object`"),
            (json!({ "parameters": { "properties": { "id": { "type": "sting" } } } }), "sting"),
            (
                json!({ "parameters": { "properties": { "id": { "$ref": "https://a.example/s" } } } }),
                "a.example",
            ),
            (
                json!({ "parameters": { "properties": { "id": { "$ref": "file:///etc/passwd" } } } }),
                "etc/passwd",
            ),
            (json!({ "method": "TRACE" }), "unknown variant `TRACE`"),
        ] {
            let search = json!({ "type": "search_sources" });
            let mut tools = tool(json!({ "operations": [operation(fields.clone())] }));
            tools.as_array_mut().unwrap().insert(0, search);
            let message = check(tools).unwrap_err();
            assert!(message.contains(says), "{fields}: {message}");
        }
    }

    #[test]
    fn the_number_and_the_size_of_all_tools_are_limited() {
        let many = |number: usize, path: &str| {
            let named = |n| json!({ "name": format!("op{n}"), "path": path });
            tool(json!({ "operations": (0..number).map(named).collect::<Vec<_>>() }))
        };
        assert_eq!(check(many(128, "/")), Ok(()));
        assert!(check(many(129, "/")).unwrap_err().contains("more than 128 tools"));
        assert!(check(many(64, &"/a".repeat(600))).unwrap_err().contains("more than 65536 bytes"));
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_refused() {
        let tree = json!({ "type": "array", "items": { "$ref": "#/$defs/tree" } });
        for parameters in [
            json!({ "properties": { "id": {}, "x": { "$ref": "#/$defs/tree" } }, "required": ["id"],
                "$defs": { "tree": tree } }),
            json!({ "properties": { "id": {} }, "required": ["id"], "allOf": [{ "$ref": "#" }] }),
        ] {
            let recursive = operation(json!({ "parameters": parameters }));
            let refusal = check(tool(json!({ "operations": [recursive] }))).unwrap_err();
            assert!(refusal.contains("refers to itself"), "{refusal}");
        }
    }
}
