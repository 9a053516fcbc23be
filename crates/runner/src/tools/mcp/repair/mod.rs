//! Repairs messages of servers before the SDK parses them, because the SDK refuses a message as a
//! whole: a list of tools because of one tool, a result because of one annotation.
//!
//! Only what the product uses is passed on. What cannot be repaired is left to the SDK, or is
//! skipped if it is one tool of several.

mod content;
mod lenient;
mod tools;

use serde_json::{Map, Value, json};

use content::repair_called;
pub(super) use lenient::parse_lenient;
use tools::repair_tools;

const INTERNAL_ERROR: i32 = -32603;

/// What a message answers. Determines how its result is repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RequestKind {
    Initialize,
    Discover,
    ListTools,
    CallTool,
    /// Also that of a resumed stream.
    #[default]
    Other,
}

/// A tool that cannot be offered to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SkippedTool {
    /// As the server sent it. Must be searched for secrets before it is logged.
    pub(super) name: String,
    pub(super) reason: &'static str,
}

/// Repairs a message, and returns the tools that were left out of it. `None` if it is not a
/// message of the protocol. `id` is that of the request that it answers.
pub(super) fn repair_message(
    message: Value,
    kind: RequestKind,
    id: Option<&Value>,
) -> Option<(Value, Vec<SkippedTool>)> {
    let mut message = match message {
        // A batch (version 2025-03-26) with the answer to one request.
        Value::Array(batch) => batch.into_iter().find_map(|message| match message {
            Value::Object(fields) if !fields.contains_key("method") => Some(fields),
            _ => None,
        })?,
        Value::Object(fields) => fields,
        _ => return None,
    };
    message.insert("jsonrpc".to_owned(), "2.0".into());
    if message.contains_key("method") {
        repair_request(&mut message);
        return Some((message.into(), Vec::new()));
    }
    repair_id(&mut message, id);
    match message.get("error") {
        Some(Value::Null) | None => {}
        Some(error) => {
            let error = repair_error(error);
            let id = message.remove("id").unwrap_or_default();
            return Some((
                json!({ "jsonrpc": "2.0", "id": id, "error": error }),
                Vec::new(),
            ));
        }
    }
    message.remove("error");
    let result = message.remove("result")?;
    let (result, skipped) = repair_result(result, kind);
    message.insert("result".to_owned(), result);
    Some((message.into(), skipped))
}

/// A request of the server with malformed parameters is answered like an unknown one, instead of
/// not at all.
fn repair_request(message: &mut Map<String, Value>) {
    if message.get("id") == Some(&Value::Null) {
        message.remove("id");
    }
    let is_ping = message.get("method").is_some_and(|method| method == "ping");
    if is_ping
        || message
            .get("params")
            .is_some_and(|params| !params.is_object())
    {
        message.remove("params");
    }
}

/// A response has the id of its request: servers return a number as text or as a float, or no id.
fn repair_id(message: &mut Map<String, Value>, id: Option<&Value>) {
    let Some(id) = id else { return };
    let is_same = match message.get("id") {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => id.as_str() == Some(text) || *text.trim() == *id.to_string(),
        Some(number) => number.as_f64().is_some() && number.as_f64() == id.as_f64(),
    };
    if is_same {
        message.insert("id".to_owned(), id.clone());
    }
}

fn repair_error(error: &Value) -> Value {
    let code = error.get("code").and_then(|code| match code {
        Value::String(text) => text.trim().parse().ok(),
        code => code.as_i64().or_else(|| Some(code.as_f64()? as i64)),
    });
    let code = code.and_then(|code| i32::try_from(code).ok());
    let message = match (error, error.get("message")) {
        (Value::String(text), _) | (_, Some(Value::String(text))) => text.clone(),
        (_, None | Some(Value::Null)) => String::new(),
        (_, Some(message)) => message.to_string(),
    };
    let mut repaired = json!({ "code": code.unwrap_or(INTERNAL_ERROR), "message": message });
    if let (Some(data), Some(fields)) = (error.get("data"), repaired.as_object_mut()) {
        fields.insert("data".to_owned(), data.clone());
    }
    repaired
}

fn repair_result(result: Value, kind: RequestKind) -> (Value, Vec<SkippedTool>) {
    let has = |field| result.get(field).is_some();
    match kind {
        RequestKind::Initialize => (repair_initialized(result), Vec::new()),
        RequestKind::ListTools => repair_tools(result),
        RequestKind::CallTool => (repair_called(result), Vec::new()),
        RequestKind::Other if has("tools") => repair_tools(result),
        RequestKind::Other if has("content") || has("structuredContent") => {
            (repair_called(result), Vec::new())
        }
        RequestKind::Discover | RequestKind::Other => (result, Vec::new()),
    }
}

/// The result of `initialize`, of which only the version and the server's name matter. Anything
/// else is unchanged.
fn repair_initialized(result: Value) -> Value {
    let known = ["protocolVersion", "serverInfo", "capabilities"];
    if !known.iter().any(|field| result.get(field).is_some()) {
        return result;
    }
    let version = result.get("protocolVersion").and_then(Value::as_str);
    let about = |field: &str| result.get("serverInfo")?.get(field)?.as_str();
    json!({
        "protocolVersion": version.unwrap_or("2025-03-26"),
        "capabilities": { "tools": {} },
        "serverInfo": {
            "name": about("name").unwrap_or("server"),
            "version": about("version").unwrap_or_default(),
        },
    })
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ServerJsonRpcMessage, ServerResult};

    use super::*;

    fn repair(message: Value, kind: RequestKind) -> Value {
        repair_message(message, kind, Some(&json!(7))).unwrap().0
    }

    /// The result as the SDK parses it.
    fn parsed(result: Value, kind: RequestKind) -> ServerResult {
        let message = repair(json!({ "jsonrpc": "2.0", "id": 7, "result": result }), kind);
        match serde_json::from_value(message).unwrap() {
            ServerJsonRpcMessage::Response(response) => response.result,
            other => panic!("{other:?}"),
        }
    }

    /// A listed tool, and its schema or why it is skipped.
    type ListedTool = (Value, Result<Value, (&'static str, &'static str)>);

    fn listed_tools() -> Vec<ListedTool> {
        let object = json!({ "type": "object", "properties": {} });
        vec![
            (json!({ "name": "a" }), Ok(object.clone())),
            (
                json!({ "name": "a", "inputSchema": null, "description": null }),
                Ok(object.clone()),
            ),
            (
                json!({ "name": "a", "inputSchema": true, "description": 5, "title": {} }),
                Ok(object.clone()),
            ),
            (
                json!({ "name": "a", "input_schema": { "properties": {} } }),
                Ok(json!({ "properties": {} })),
            ),
            (json!({ "name": "a", "inputSchema": {} }), Ok(json!({}))),
            (
                json!({ "name": "a", "inputSchema": object, "annotations": "x", "execution": 1,
                    "outputSchema": [], "icons": {}, "_meta": 3 }),
                Ok(object.clone()),
            ),
            (
                json!({ "name": "a", "inputSchema": { "type": ["object"] } }),
                Ok(json!({ "type": ["object"] })),
            ),
            (
                json!({ "name": "a", "inputSchema": "x" }),
                Err(("a", "its `inputSchema` is not an object")),
            ),
            (
                json!({ "name": "a", "inputSchema": [] }),
                Err(("a", "its `inputSchema` is not an object")),
            ),
            (
                json!({ "name": "a", "inputSchema": { "type": "array" } }),
                Err(("a", "the `type` of its `inputSchema` is not `object`")),
            ),
            (json!({ "name": 5 }), Err(("number 1", "it has no name"))),
            (json!({ "name": "" }), Err(("number 1", "it has no name"))),
            (json!({}), Err(("number 1", "it has no name"))),
            (json!("a"), Err(("number 1", "it is not an object"))),
            (json!(null), Err(("number 1", "it is not an object"))),
        ]
    }

    #[test]
    fn each_tool_of_a_list_is_read_alone() {
        for (tool, expected) in listed_tools() {
            let good = json!({ "name": "good", "inputSchema": { "type": "object" } });
            let list = json!({ "id": 7, "result": { "tools": [tool, good], "nextCursor": null } });
            let (message, skipped) =
                repair_message(list, RequestKind::ListTools, Some(&json!(7))).unwrap();
            let parsed: ServerJsonRpcMessage = serde_json::from_value(message.clone()).unwrap();
            let ServerJsonRpcMessage::Response(response) = parsed else {
                panic!("{message}")
            };
            let ServerResult::ListToolsResult(list) = response.result else {
                panic!("{message}")
            };
            let schemas: Vec<Value> = list
                .tools
                .iter()
                .map(|tool| Value::Object((*tool.input_schema).clone()))
                .collect();
            let mut expected_schemas: Vec<Value> = expected.clone().into_iter().collect();
            expected_schemas.push(json!({ "type": "object" }));
            assert_eq!(schemas, expected_schemas, "{tool}");
            let skipped: Vec<_> = skipped
                .iter()
                .map(|skipped| (&*skipped.name, skipped.reason))
                .collect();
            assert_eq!(
                skipped,
                expected.err().into_iter().collect::<Vec<_>>(),
                "{tool}"
            );
        }
    }

    #[test]
    fn lists_of_other_shapes_and_cursors_are_read() {
        for (result, names, cursor) in [
            (json!([{ "name": "a" }]), vec!["a"], None),
            (json!({ "tools": { "name": "a" } }), vec!["a"], None),
            (json!({ "tools": null }), vec![], None),
            (json!({}), vec![], None),
            (
                json!({ "tools": [{ "name": "a" }], "nextCursor": "" }),
                vec!["a"],
                None,
            ),
            (json!({ "tools": [], "nextCursor": 2 }), vec![], Some("2")),
            (
                json!({ "tools": [], "nextCursor": "x", "ttlMs": "soon" }),
                vec![],
                Some("x"),
            ),
        ] {
            let ServerResult::ListToolsResult(list) =
                parsed(result.clone(), RequestKind::ListTools)
            else {
                panic!("{result}")
            };
            let found: Vec<&str> = list.tools.iter().map(|tool| &*tool.name).collect();
            assert_eq!(
                (found, list.next_cursor.as_deref()),
                (names, cursor),
                "{result}"
            );
        }
    }

    #[test]
    fn results_of_calls_are_read_whatever_their_shape() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        let cases = json!([
            [{ "content": [text("a")] }, [text("a")], null, false],
            [{ "content": text("a"), "isError": true }, [text("a")], null, true],
            [{ "content": "a", "isError": "true" }, [text("a")], null, true],
            [{ "content": ["a", 5], "isError": null }, [text("a"), text("5")], null, false],
            [{ "structuredContent": { "a": 1 } }, [], { "a": 1 }, false],
            [{ "content": null, "structuredContent": [1] }, [], [1], false],
            [{ "content": [text("a")], "structuredContent": null }, [text("a")], null, false],
            [{ "toolResult": 5 }, [], 5, false],
            [{}, [], null, false],
            [{ "_meta": {} }, [], null, false],
            [{ "temperature": 5 }, [text("{\"temperature\":5}")], null, false],
            ["a", [text("a")], null, false],
            [null, [], null, false],
            [{ "content": [
                { "type": "text", "text": "a", "annotations": "x", "_meta": 1 }, { "text": "b" },
                { "type": "text", "text": 5 }, { "type": "text" },
                { "type": "image", "data": "AAAA", "mimeType": "image/png", "annotations": 1 },
                { "type": "audio" },
                { "type": "resource_link", "uri": "u", "size": "1 KB" },
                { "type": "resource", "resource": { "uri": "u", "text": "c", "mimeType": 5 } },
                { "type": "resource", "resource": { "uri": "u", "blob": "AAAA" } },
                { "type": "resource", "resource": { "uri": "u" } }, { "type": "resource" },
                { "type": "video" }, { "x": 1 },
            ] }, [
                text("a"), text("b"), text("5"), text(""),
                { "type": "image", "data": "", "mimeType": "image/png" },
                { "type": "audio", "data": "", "mimeType": "of unknown type" },
                { "type": "resource_link", "uri": "u", "name": "u" },
                { "type": "resource", "resource": { "uri": "u", "text": "c" } },
                { "type": "resource", "resource": { "uri": "u", "blob": "" } },
                { "type": "resource", "resource": { "uri": "u", "text": "[a resource: u]" } },
                text("[a resource]"), text("[content of type video]"), text("{\"x\":1}"),
            ], null, false],
        ]);
        for case in cases.as_array().unwrap() {
            let [result, content, structured, is_error] = &case.as_array().unwrap()[..] else {
                panic!("{case}")
            };
            let ServerResult::CallToolResult(called) =
                parsed(result.clone(), RequestKind::CallTool)
            else {
                panic!("{result}")
            };
            assert_eq!(
                serde_json::to_value(&called.content).unwrap(),
                *content,
                "{result}"
            );
            assert_eq!(
                called.structured_content.unwrap_or_default(),
                *structured,
                "{result}"
            );
            assert_eq!(called.is_error, is_error.as_bool(), "{result}");
        }
        let task = json!({ "resultType": "input_required", "x": 1 });
        let message = json!({ "id": 7, "result": task });
        assert_eq!(repair(message, RequestKind::CallTool)["result"], task);
    }

    #[test]
    fn errors_and_ids_of_any_form_are_read() {
        for (error, code, text) in [
            (json!({ "code": -32601, "message": "no" }), -32601, "no"),
            (json!({ "code": "-32601", "message": "no" }), -32601, "no"),
            (json!({ "code": -32601.0, "message": null }), -32601, ""),
            (
                json!({ "code": 99_999_999_999_i64, "message": "no" }),
                INTERNAL_ERROR,
                "no",
            ),
            (
                json!({ "code": "E_BAD", "message": { "a": 1 } }),
                INTERNAL_ERROR,
                "{\"a\":1}",
            ),
            (json!("no"), INTERNAL_ERROR, "no"),
            (json!({}), INTERNAL_ERROR, ""),
        ] {
            let message = repair(
                json!({ "id": 7, "result": null, "error": error }),
                RequestKind::CallTool,
            );
            let parsed: ServerJsonRpcMessage = serde_json::from_value(message).unwrap();
            let ServerJsonRpcMessage::Error(parsed) = parsed else {
                panic!("{error}")
            };
            assert_eq!(
                (parsed.error.code.0, &*parsed.error.message),
                (code, text),
                "{error}"
            );
        }
        for (id, expected) in [
            (json!(7), json!(7)),
            (json!("7"), json!(7)),
            (json!(7.0), json!(7)),
            (json!(null), json!(7)),
            (json!(8), json!(8)),
            (json!("x"), json!("x")),
        ] {
            let message = json!({ "jsonrpc": "1.0", "id": id, "result": {}, "error": null });
            let repaired = repair(message, RequestKind::Other);
            assert_eq!(
                repaired,
                json!({ "jsonrpc": "2.0", "id": expected, "result": {} })
            );
        }
        assert_eq!(repair(json!({ "result": {} }), RequestKind::Other)["id"], 7);
        let batch = json!([{ "method": "notifications/x" }, { "id": 7, "result": {} }]);
        assert_eq!(repair(batch, RequestKind::Other)["result"], json!({}));
    }

    #[test]
    fn json_of_another_kind_is_refused() {
        for message in [
            json!({ "nonsense": 1 }),
            json!([]),
            json!("x"),
            json!(1),
            json!({ "id": 7 }),
        ] {
            assert_eq!(
                repair_message(message.clone(), RequestKind::Other, None),
                None,
                "{message}"
            );
        }
    }

    #[test]
    fn requests_of_the_server_keep_their_method_and_id() {
        for (request, expected) in [
            (
                json!({ "id": 1, "method": "ping", "params": null }),
                json!({ "id": 1, "method": "ping" }),
            ),
            (
                json!({ "id": "a", "method": "x", "params": [] }),
                json!({ "id": "a", "method": "x" }),
            ),
            (
                json!({ "id": null, "method": "x" }),
                json!({ "method": "x" }),
            ),
        ] {
            let mut repaired = repair(request, RequestKind::Other);
            repaired.as_object_mut().unwrap().remove("jsonrpc");
            assert_eq!(repaired, expected);
        }
    }

    #[test]
    fn a_handshake_needs_only_one_of_its_fields() {
        for result in [
            json!({ "protocolVersion": "2025-06-18" }),
            json!({ "protocolVersion": "2025-06-18", "capabilities": null, "serverInfo": "x" }),
            json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": true, "logging": 1 },
                "serverInfo": { "name": 5 }, "instructions": [] }),
        ] {
            let ServerResult::InitializeResult(parsed) =
                parsed(result.clone(), RequestKind::Initialize)
            else {
                panic!("{result}")
            };
            assert_eq!(parsed.protocol_version.as_str(), "2025-06-18");
        }
    }
}
