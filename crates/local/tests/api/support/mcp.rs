//! A fake MCP server of version 2025-11-25, with a handshake: sessions, tools on two
//! pages, responses as JSON or as events.

use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::api::{Call, FakeApi, api_response};

pub(crate) const SESSION: &str = "the-session-of-this-run";

/// `call_tool` returns the results of its tools.
pub(crate) async fn mcp(
    call_tool: impl Fn(&Call) -> BoxFuture<'static, Value> + Send + Sync + 'static,
) -> FakeApi {
    FakeApi::start_slow(move |_, call| match call.body["method"].as_str() {
        Some("tools/call") => {
            let (result, id) = (call_tool(call), call.body["id"].clone());
            Box::pin(async move {
                events(&json!({ "jsonrpc": "2.0", "id": id, "result": result.await }))
            })
        }
        _ => {
            let response = handshake(call);
            Box::pin(async { response })
        }
    })
    .await
}

/// Responds as `special` says, and otherwise like [`mcp`].
pub(crate) async fn mcp_with(
    special: impl Fn(&Call) -> Option<BoxFuture<'static, Response>> + Send + Sync + 'static,
) -> FakeApi {
    FakeApi::start_slow(move |_, call| {
        let response = match call.body["method"].as_str() {
            Some("tools/call") => {
                let result = json!({ "content": [{ "type": "text", "text": "done" }] });
                events(&json!({ "jsonrpc": "2.0", "id": call.body["id"], "result": result }))
            }
            _ => handshake(call),
        };
        special(call).unwrap_or_else(|| Box::pin(async { response }))
    })
    .await
}

fn handshake(call: &Call) -> Response {
    let id = &call.body["id"];
    let result =
        |result: Value| axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    match (call.method.as_str(), call.body["method"].as_str()) {
        ("DELETE", _) => api_response(200, "application/json", "{}"),
        (_, Some("initialize")) => {
            let mut response = result(json!({
                "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                "serverInfo": { "name": "fake", "version": "1" },
            }))
            .into_response();
            response
                .headers_mut()
                .insert("mcp-session-id", SESSION.parse().unwrap());
            response
        }
        (_, Some("notifications/initialized" | "notifications/cancelled")) => {
            api_response(202, "text/plain", "")
        }
        (_, Some("tools/list")) => match call.body["params"]["cursor"].as_str() {
            None => result(
                json!({ "tools": [tool("add"), tool("delete_all")], "nextCursor": "page-2" }),
            )
            .into_response(),
            // There are pages without end.
            Some(_) => {
                result(json!({ "tools": [tool("look.up")], "nextCursor": "more" })).into_response()
            }
        },
        // As a server without support for stateless requests does.
        _ => api_response(
            400,
            "application/json",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Missing session ID"}}"#,
        ),
    }
}

fn tool(name: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    json!({ "name": name, "description": format!("Does {name}"), "inputSchema": schema })
}

fn events(message: &Value) -> Response {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "at it" } });
    api_response(
        200,
        "text/event-stream",
        format!("event: message\ndata: {note}\n\nevent: message\ndata: {message}\n\n"),
    )
}
