//! Checks of an HTTP API and its operations.

use std::collections::HashSet;

use serde_json::Value;

use super::body::BodyFormat;
use super::request::{pieces, stays_in_its_segment};
use super::style::Place;
use super::{HttpTool, HttpToolError, Operation, ToolError};
use crate::agent::credential::{credential_in_query, is_credential_name};
use crate::agent::tools::check::plain_url;
use crate::agent::tools::headers::{check_headers, is_header_name};
use crate::agent::tools::limits::check_limits;
use crate::agent::tools::names::ToolNames;
use crate::agent::tools::oauth::{TokenEndpointDiscovery, check_oauth};
use crate::schema::bounded_validator;

impl HttpTool {
    /// Checks the API and its operations, and adds their names.
    pub(in crate::agent::tools) fn check(&self, names: &mut ToolNames) -> Result<(), ToolError> {
        names.add_set(&self.name)?;
        if self.operations.is_empty() {
            return Err(ToolError::Empty(self.name.clone()));
        }
        if !is_base_url(&self.base_url) {
            return Err(HttpToolError::BaseUrl(self.name.clone()).into());
        }
        check_limits(&self.name, self.timeout_seconds, self.max_response_bytes)?;
        check_headers(&self.name, &self.headers)?;
        let discovery = TokenEndpointDiscovery::Unsupported;
        check_oauth(&self.name, self.oauth.as_ref(), &self.headers, discovery)?;
        for operation in &self.operations {
            names.add(&operation.name)?;
            check_operation(operation)?;
        }
        Ok(())
    }
}

fn is_base_url(text: &str) -> bool {
    plain_url(text).is_some_and(|url| url.query().is_none())
}

pub(super) fn check_operation(operation: &Operation) -> Result<(), ToolError> {
    check_parameters(operation)?;
    let (path, query) = operation
        .path
        .split_once('?')
        .unwrap_or((&operation.path, ""));
    let well_formed = path.starts_with('/')
        && !path.starts_with("//")
        && operation.path.len() <= 2048
        && pieces(path).is_some()
        && stays_in_its_segment(path)
        && !operation.path.contains(['#', '\\'])
        && !query.contains(['{', '}']);
    if !well_formed {
        return Err(HttpToolError::Path(operation.name.clone()).into());
    }
    if let Some(parameter) = credential_in_query(query) {
        let operation = operation.name.clone();
        return Err(HttpToolError::QueryCredential {
            operation,
            parameter,
        }
        .into());
    }
    check_places(operation)?;
    check_formats(operation)?;
    Ok(())
}

/// Requires that each argument can be written in its place.
fn check_formats(operation: &Operation) -> Result<(), HttpToolError> {
    let unfit = || HttpToolError::ContentType(operation.name.clone());
    let content_type = operation.content_type.as_deref();
    let format = BodyFormat::of(content_type).ok_or_else(unfit)?;
    let is_printable =
        |text: &str| text.len() <= 128 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if content_type.is_some_and(|kind| !is_printable(kind))
        || (format == BodyFormat::Text && operation.body.is_none())
    {
        return Err(unfit());
    }
    let in_path = operation.path_arguments();
    let names = operation.parameters.get("properties");
    for (argument, style) in &operation.styles {
        let place = if in_path.contains(&argument.as_str()) {
            Place::Path
        } else if operation.headers.contains(argument) {
            Place::Header
        } else if operation.query.contains(argument)
            || !operation.method.has_body()
            || format == BodyFormat::Form
        {
            Place::Pairs
        } else {
            Place::JsonBody
        };
        let is_parameter = names.is_some_and(|names| names.get(argument).is_some());
        if !is_parameter || !style.style.fits(place) || operation.body.as_ref() == Some(argument) {
            return Err(HttpToolError::Style {
                operation: operation.name.clone(),
                argument: crate::cut(argument, 64),
            });
        }
    }
    Ok(())
}

fn check_parameters(operation: &Operation) -> Result<(), HttpToolError> {
    let wrong = |why: String| HttpToolError::Parameters {
        operation: operation.name.clone(),
        why,
    };
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
    let parameters = &operation.parameters;
    let names = parameters.get("properties").and_then(Value::as_object);
    let is_parameter = |name: &str| names.is_some_and(|names| names.contains_key(name));
    let required = parameters.get("required").and_then(Value::as_array);
    let is_required = |name: &str| {
        required.is_some_and(|required| required.iter().any(|argument| argument == name))
    };
    let name = || operation.name.clone();

    let mut placed = HashSet::new();
    for argument in operation.path_arguments() {
        if !is_parameter(argument) || !is_required(argument) {
            let argument = argument.to_owned();
            return Err(HttpToolError::PathArgument {
                operation: name(),
                argument,
            }
            .into());
        }
        placed.insert(argument);
    }
    let elsewhere = operation.query.iter().chain(&operation.headers);
    for argument in elsewhere.chain(&operation.body) {
        if !is_parameter(argument) || !placed.insert(argument) {
            let argument = argument.clone();
            return Err(HttpToolError::Place {
                operation: name(),
                argument,
            }
            .into());
        }
    }
    if let Some(argument) = operation.wire_names.keys().find(|name| !is_parameter(name)) {
        let argument = argument.clone();
        return Err(HttpToolError::Place {
            operation: name(),
            argument,
        }
        .into());
    }
    for argument in &operation.headers {
        let header = operation.wire_names.get(argument).unwrap_or(argument);
        // The model writes this value, so it cannot be a credential.
        if !is_header_name(header) || is_credential_name(header) {
            let header = crate::cut(header, 64);
            return Err(ToolError::Header {
                tool: name(),
                header,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::tools::{Tool, check_tools};

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
        tool.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!([tool])
    }

    fn operation(fields: Value) -> Value {
        let mut operation = json!({
            "name": "get_order", "path": "/orders/{id}",
            "parameters": { "properties": { "id": { "type": "string" }, "x": {} }, "required": ["id"] },
        });
        operation
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        operation
    }

    /// Asserts that a tool with these fields replaced is refused.
    fn assert_tool_refused(fields: Value, says: &str) {
        let message = check(tool(fields.clone())).unwrap_err();
        assert!(message.contains(says), "{fields}: {message}");
    }

    /// Asserts that an operation with these fields replaced is refused.
    fn assert_operation_refused(fields: Value, says: &str) {
        let search = json!({ "type": "search_sources" });
        let mut tools = tool(json!({ "operations": [operation(fields.clone())] }));
        tools.as_array_mut().unwrap().insert(0, search);
        let message = check(tools).unwrap_err();
        assert!(message.contains(says), "{fields}: {message}");
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
            (
                json!({ "timeout_seconds": 0 }),
                "`timeout_seconds` of the tool `shop` must be from 1 to 300",
            ),
            (
                json!({ "max_response_bytes": 2_000_000 }),
                "from 1 to 1048576",
            ),
            (
                json!({ "operations": [operation(json!({ "styles": { "x": { "style": "simple" } } }))] }),
                "its style is not for its place",
            ),
            (
                json!({ "operations": [operation(json!({ "content_type": "image/png" }))] }),
                "must be a JSON type",
            ),
            (json!({ "operations": [] }), "`shop` has no operations"),
            (
                json!({ "operations": [operation(json!({})), operation(json!({}))] }),
                "`get_order` is given twice",
            ),
            (json!({ "verb": 1 }), "unknown field `verb`"),
        ] {
            assert_tool_refused(fields, says);
        }
    }

    #[test]
    fn every_invalid_base_url_is_refused_with_what_to_change() {
        for (url, says) in [
            ("ftp://shop.example", "`base_url` of the tool `shop`"),
            ("https://u:p@shop.example", "without credentials"),
            ("https://:p@shop.example", "without credentials"),
            ("https://shop.example/?key=1", "query"),
            ("https://shop.example/?v=1", "query"),
        ] {
            assert_tool_refused(json!({ "base_url": url }), says);
        }
    }

    #[test]
    fn every_invalid_header_is_refused_with_what_to_change() {
        let credential = "contains a credential";
        let shape = "text or {\"secret\":\"NAME\"}";
        for (header, value, says) in [
            ("X\r\n", json!("a"), "The header `X"),
            ("Host", json!("a"), "The header `Host`"),
            ("X-A", json!("a\nb"), "The header `X-A`"),
            (
                "authorization",
                json!("Bearer x"),
                "agent-webhooks secret set NAME",
            ),
            ("X-Api-Key", json!("x"), "{\"secret\": \"NAME\"}"),
            ("Cookie", json!("x"), credential),
            ("X_AUTH_TOKEN", json!("x"), credential),
            ("X-Pass", json!("x"), credential),
            ("pwd", json!("x"), credential),
            ("X-A", json!("Bearer x"), credential),
            ("X-A", json!({ "value": "x" }), shape),
            ("X-A", json!(1), shape),
            (
                "X-A",
                json!({ "secret": "agents/1/model-api-key-0" }),
                "not start with `agents/`",
            ),
            ("X-A", json!({ "secret": "a b" }), "The secret `a b`"),
        ] {
            assert_tool_refused(json!({ "headers": { header: value } }), says);
        }
    }

    #[test]
    fn every_invalid_path_is_refused_with_what_to_change() {
        for (path, says) in [
            ("orders", "must start with `/`"),
            ("//evil.example/{id}", "must start with `/`"),
            ("/a/../{id}", "no `.` or `..`"),
            ("/a/%2e%2E/{id}", "no `.` or `..`"),
            ("/a/..;x/{id}", "no `.` or `..`"),
            ("/a/..%2f{id}", "no `.` or `..`"),
            ("/{id}?code=1", "contains a credential in its query"),
            (
                "/{id}?v=1&pwd=1",
                "contains a credential in its query, `pwd`",
            ),
            ("/{id", "`path` of the operation"),
            ("/a?x={id}", "before any `?`"),
            ("/{other}", "`{other}` in `path`"),
            ("/{x}", "and `required`"),
        ] {
            assert_operation_refused(json!({ "path": path }), says);
        }
    }

    #[test]
    fn every_invalid_operation_is_refused_with_what_to_change() {
        for (fields, says) in [
            (json!({ "name": "" }), "the name `` must have"),
            (json!({ "name": "search_sources" }), "given twice"),
            (json!({ "query": ["y"] }), "`y` of the operation"),
            (json!({ "query": ["id"] }), "has two places"),
            (json!({ "query": ["x"], "body": "x" }), "has two places"),
            (
                json!({ "headers": ["x"], "wire_names": { "x": "Authorization" } }),
                "The header `Authorization`",
            ),
            (
                json!({ "headers": ["x"], "wire_names": { "x": "X-Pass" } }),
                "The header `X-Pass`",
            ),
            (
                json!({ "wire_names": { "y": "z" } }),
                "`y` of the operation",
            ),
            (json!({ "parameters": [] }), "it is not an object"),
            (json!({ "parameters": { "type": "array" } }), "not `object`"),
            (json!({ "method": "TRACE" }), "unknown variant `TRACE`"),
        ] {
            assert_operation_refused(fields, says);
        }
    }

    #[test]
    fn every_invalid_schema_of_a_parameter_is_refused() {
        for (schema, says) in [
            (json!({ "type": "sting" }), "sting"),
            (json!({ "$ref": "https://a.example/s" }), "a.example"),
            (json!({ "$ref": "file:///etc/passwd" }), "etc/passwd"),
        ] {
            let parameters = json!({ "properties": { "id": schema } });
            assert_operation_refused(json!({ "parameters": parameters }), says);
        }
    }

    #[test]
    fn the_number_and_the_size_of_all_tools_are_limited() {
        let many = |number: usize, path: &str| {
            let named = |n| json!({ "name": format!("op{n}"), "path": path });
            tool(json!({ "operations": (0..number).map(named).collect::<Vec<_>>() }))
        };
        assert_eq!(check(many(128, "/")), Ok(()));
        assert!(
            check(many(129, "/"))
                .unwrap_err()
                .contains("more than 128 tools")
        );
        assert!(
            check(many(64, &"/a".repeat(600)))
                .unwrap_err()
                .contains("more than 65536 bytes")
        );
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
