//! MCP servers that differ from the specification, or are not at the configured URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::response::Response;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{caller, only_result, run_with, shown};
use crate::support::api::{Call, api_response};
use crate::support::mcp::{SESSION, mcp_with};
use crate::support::{FakeApi, FakeModel, World, redaction, string};

fn tool(server: &FakeApi, path: &str, allow: &[&str]) -> Value {
    json!({ "type": "mcp", "name": "desk", "url": format!("{}{path}", server.url()), "allow": allow })
}

fn now(response: Response) -> Option<BoxFuture<'static, Response>> {
    Some(Box::pin(async { response }))
}

fn redirect(status: u16, target: &str) -> Response {
    let mut response = api_response(status, "text/plain", "");
    let target = target.parse().unwrap();
    response.headers_mut().insert("location", target);
    response
}

fn is_method(call: &Call, method: &str) -> bool {
    call.body["method"] == method
}

fn result(call: &Call, result: &Value) -> Response {
    let message = json!({ "jsonrpc": "2.0", "id": call.body["id"], "result": result });
    api_response(200, "application/json", message.to_string())
}

/// One call of `add`.
async fn add() -> FakeModel {
    caller(&[("add", "{}")]).await
}

#[tokio::test]
async fn one_bad_tool_does_not_hide_the_others() {
    let list = json!([
        { "name": "bad", "inputSchema": "none" }, { "name": 5 }, "x", { "description": "no name" },
        { "name": "add", "description": null, "annotations": "odd" },
        { "name": "sub", "inputSchema": { "type": "object" }, "outputSchema": 1 },
    ]);
    let server = mcp_with(move |call| match is_method(call, "tools/list") {
        true => now(result(call, &json!({ "tools": list }))),
        false => None,
    })
    .await;
    let (model, world) = (add().await, World::start().await);
    let ended = run_with(&world, &model, tool(&server, "/mcp", &["add", "sub"])).await;
    assert_eq!(only_result(&ended), ("ok", "done"));
    for offered in model.asked()[0].body["tools"].as_array().unwrap() {
        let schema = &offered["function"]["parameters"];
        assert_eq!(
            schema,
            &json!({ "type": "object", "properties": {} }),
            "{offered}"
        );
    }
    let log = redaction::logged_text();
    assert!(
        log.contains("tool of an MCP server skipped") && log.contains("number 2"),
        "{log}"
    );
    let ended = run_with(&world, &model, tool(&server, "/mcp", &["bad"])).await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    let says = "The tool `bad` of the MCP server `desk` cannot be used: its `inputSchema` is not an object";
    assert!(string(&ended["result"]).contains(says), "{ended}");
}

#[tokio::test]
async fn schemas_that_model_providers_refuse_are_normalized_for_all_tools() {
    let schemas = [
        json!({}),
        json!({ "type": "object" }),
        json!({ "anyOf": [{ "properties": { "a": { "required": true } } }, { "properties": { "b": {} } }] }),
    ];
    let tools: Vec<Value> = ["a", "b", "c"]
        .iter()
        .zip(&schemas)
        .map(|(name, schema)| json!({ "name": name, "inputSchema": schema }))
        .collect();
    let server = mcp_with(move |call| match is_method(call, "tools/list") {
        true => now(result(call, &json!({ "tools": tools }))),
        false => None,
    })
    .await;
    let model = FakeModel::saying("Done.").await;
    let world = World::start().await;
    let api =
        server.tool(json!([{ "name": "get", "path": "/x", "parameters": { "type": "object" } }]));
    let definition = json!({ "tools": [tool(&server, "/mcp", &["a", "b", "c"]), api] });
    let ended = world
        .run(&world.agent(&model, definition).await, "{}")
        .await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    let empty = json!({ "type": "object", "properties": {} });
    let offered: Vec<Value> = model.asked()[0].body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["parameters"].clone())
        .collect();
    let merged = json!({ "type": "object", "properties": { "a": {}, "b": {} } });
    // An operation of an HTTP API accepts no other arguments.
    let http = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    assert_eq!(offered, [empty.clone(), empty, merged, http]);
}

#[tokio::test]
async fn any_answer_to_a_discovery_except_a_refusal_is_followed_by_initialize() {
    let odd: [fn(&Call) -> BoxFuture<'static, Response>; 9] = [
        |_| Box::pin(async { api_response(500, "text/plain", "oops") }),
        |_| Box::pin(async { api_response(501, "text/plain", "") }),
        |_| Box::pin(async { api_response(202, "text/plain", "") }),
        |_| Box::pin(async { api_response(204, "text/plain", "") }),
        |_| Box::pin(async { api_response(200, "application/json", "") }),
        |_| Box::pin(async { api_response(200, "text/event-stream", ": nothing\n\n") }),
        |call| {
            let response = result(call, &json!({}));
            Box::pin(async { response })
        },
        |_| {
            let error = r#"{"jsonrpc":"2.0","id":9,"error":{"code":-32022,"message":"x","data":{"supported":["2025-11-25"]}}}"#;
            Box::pin(async move { api_response(400, "application/json", error) })
        },
        |_| Box::pin(std::future::pending()),
    ];
    let world = World::start().await;
    for (number, answer) in odd.into_iter().enumerate() {
        let server =
            mcp_with(move |call| is_method(call, "server/discover").then(|| answer(call))).await;
        let model = add().await;
        let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
        assert_eq!(ended["status"], "SUCCESS", "{number}: {ended}");
        assert_eq!(ended["attempt"], 1, "{number}: {ended}");
        assert_eq!(only_result(&ended), ("ok", "done"), "{number}");
        let calls = server.calls();
        let [initialize] = calls
            .iter()
            .filter(|call| is_method(call, "initialize"))
            .collect::<Vec<_>>()[..]
        else {
            panic!("{calls:?}")
        };
        // The newest version that has a handshake.
        assert_eq!(initialize.body["params"]["protocolVersion"], "2025-11-25");
    }
}

#[tokio::test]
async fn redirects_on_the_same_origin_are_followed_with_method_and_body() {
    let world = World::start().await;
    for status in [301, 302, 307, 308] {
        let server = mcp_with(move |call| match call.path.as_str() {
            "/mcp/" => None,
            "/mcp" => now(redirect(status, "/mcp/")),
            _ => now(redirect(status, "mcp")),
        })
        .await;
        for path in ["/mcp", "/old"] {
            let model = add().await;
            let ended = run_with(&world, &model, tool(&server, path, &["add"])).await;
            assert_eq!(only_result(&ended), ("ok", "done"), "{status} {path}");
        }
        let calls = server.calls();
        let redirected = calls.iter().filter(|call| call.path != "/mcp/").count();
        assert_eq!(redirected, 3, "the target is remembered: {calls:?}");
        assert_eq!(calls.last().unwrap().method, "DELETE");
    }
    let server = mcp_with(|_| now(redirect(308, "/mcp"))).await;
    let ended = run_with(&world, &add().await, tool(&server, "/mcp", &["add"])).await;
    assert!(
        string(&ended["result"]).contains("endless redirects"),
        "{ended}"
    );
}

const PAGE: &str = "<!doctype html><title>Log in</title>";
/// Responses of servers that are not an MCP endpoint or refuse the agent, and the message.
const WRONG_ANSWERS: [(u16, &str, &str, &str); 15] = [
    (
        404,
        "text/html",
        PAGE,
        "answered 404 Not Found: is this the URL of its MCP endpoint",
    ),
    (
        405,
        "text/plain",
        "",
        "answered 405 Method Not Allowed: is this the URL",
    ),
    (
        406,
        "text/plain",
        "",
        "answered 406 Not Acceptable: is this the URL",
    ),
    (
        415,
        "text/plain",
        "",
        "answered 415 Unsupported Media Type: is this the URL",
    ),
    (
        400,
        "application/json",
        r#"{"detail":"x"}"#,
        "answered 400 Bad Request: is this the URL",
    ),
    (410, "text/plain", "", "answered 410 Gone: is this the URL"),
    (
        303,
        "text/plain",
        "",
        "answered 303 See Other: is this the URL",
    ),
    (
        200,
        "text/html; charset=utf-8",
        PAGE,
        "answered with an HTML page instead of an MCP message",
    ),
    (
        200,
        "application/json",
        r#"{"status":"ok"}"#,
        "answered with JSON of another kind",
    ),
    (
        200,
        "text/plain",
        "hello",
        "answered with content of type text/plain",
    ),
    (
        200,
        "application/json",
        "",
        "answered with 200 OK and an empty body",
    ),
    (
        204,
        "text/plain",
        "",
        "answered with 204 No Content and an empty body",
    ),
    (
        401,
        "text/plain",
        "",
        "check its `headers` or `oauth` (it answered 401 Unauthorized)",
    ),
    (
        403,
        "text/plain",
        "",
        "check its `headers` or `oauth` (it answered 403 Forbidden)",
    ),
    (
        400,
        "application/json",
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":"-32602","message":"Upgrade your client"}}"#,
        "answered 400 Bad Request: error -32602: Upgrade your client",
    ),
];

#[tokio::test]
async fn a_wrong_url_ends_the_task_at_once_and_says_what_answered() {
    let world = World::start().await;
    for (status, kind, body, says) in WRONG_ANSWERS {
        let server = FakeApi::start(move |_, _| api_response(status, kind, body)).await;
        let model = FakeModel::saying("It went on all the same.").await;
        let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{says}: {ended}");
        assert_eq!(ended["attempt"], 1, "{says}: {ended}");
        assert!(string(&ended["result"]).contains(says), "{says}: {ended}");
        assert!(model.asked().is_empty());
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_after_the_pause_that_it_requests() {
    let world = World::start().await;
    for (status, says) in [
        (429, "429 Too Many Requests"),
        (503, "503 Service Unavailable"),
    ] {
        let refusals = Arc::new(AtomicUsize::new(0));
        let refused = Arc::clone(&refusals);
        let server = mcp_with(move |call| {
            let is_first =
                is_method(call, "initialize") && refused.fetch_add(1, Ordering::SeqCst) == 0;
            is_first.then(|| -> BoxFuture<'static, Response> {
                let mut response = api_response(status, "text/plain", "busy");
                response
                    .headers_mut()
                    .insert("retry-after", "3".parse().unwrap());
                Box::pin(async { response })
            })
        })
        .await;
        let (model, started) = (add().await, Instant::now());
        let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(2)),
            "{ended}"
        );
        assert!(
            started.elapsed() >= Duration::from_secs(3),
            "the default pause is 1 s"
        );

        let server = FakeApi::start(move |_, _| api_response(status, "text/plain", "busy")).await;
        let tool = tool(&server, "/mcp", &["add"]);
        let limits = json!({ "tools": [tool], "limits": { "timeout_seconds": 1 } });
        let ended = world.run(&world.agent(&model, limits).await, "{}").await;
        let says = format!("The MCP server `desk` is not available: it answered {says}");
        assert_eq!(ended["error"]["type"], "tool_error", "{ended}");
        assert!(string(&ended["result"]).contains(&says), "{ended}");
    }
}

#[tokio::test]
async fn the_status_of_a_failed_call_is_returned_to_the_model() {
    let server = mcp_with(|call| match call.body["params"]["arguments"]["a"].as_u64()? {
        0 => {
            let mut response = api_response(429, "text/plain", "oops detail");
            response.headers_mut().insert("retry-after", "7".parse().unwrap());
            now(response)
        }
        1 => now(api_response(502, "text/html", "<html>")),
        2 => now(api_response(200, "text/html", "<html>")),
        3 => now(api_response(202, "text/plain", "")),
        4 => {
            let error = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": "E1", "message": "no desk" } });
            now(api_response(500, "application/json", error.to_string()))
        }
        _ => {
            let id = call.body["id"].to_string();
            let message = json!({ "id": id, "result": { "content": { "text": "one block" } } });
            now(api_response(200, "text/plain", message.to_string()))
        }
    })
    .await;
    let model = caller(&[
        ("add", r#"{"a":0}"#),
        ("add", r#"{"a":1}"#),
        ("add", r#"{"a":2}"#),
        ("add", r#"{"a":3}"#),
        ("add", r#"{"a":4}"#),
        ("add", r#"{"a":5}"#),
    ])
    .await;
    let world = World::start().await;
    let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
    let results: Vec<&str> = shown(&ended)
        .iter()
        .map(|call| call["result"].as_str().unwrap())
        .collect();
    assert_eq!(
        results,
        [
            "The server answered 429 Too Many Requests, and asks to wait 7 seconds.",
            "The server answered 502 Bad Gateway.",
            "The server answered with an HTML page instead of an MCP message.",
            "The server answered with 202 Accepted and an empty body instead of an MCP message.",
            "The server returned error -32603: no desk",
            "one block",
        ]
    );
}

#[tokio::test]
async fn requests_of_the_server_before_its_answer_get_one_and_any_event_stream_is_read() {
    let requests = [
        json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 91, "method": "sampling/createMessage", "params": { "odd": 1 } }),
        json!({ "jsonrpc": "2.0", "id": 92, "method": "elicitation/create", "params": {} }),
        json!({ "jsonrpc": "2.0", "id": 93, "method": "roots/list" }),
        json!({ "jsonrpc": "2.0", "id": 94, "method": "x/y", "params": [] }),
        json!({ "jsonrpc": "2.0", "method": "notifications/odd", "params": null }),
    ];
    let server = mcp_with(move |call| {
        if !is_method(call, "tools/call") {
            return (call.body["method"].is_null() && call.method == "POST")
                .then(|| -> BoxFuture<'static, Response> {
                    Box::pin(async { api_response(202, "text/plain", "") })
                });
        }
        let mut stream = "\u{feff}: hello\r\n\r\nunknown: 1\r\nnothing\r\n\r\n".to_owned();
        for request in &requests {
            stream.push_str(&format!("event: message\r\nevent: message\r\ndata: {request}\r\n\r\n"));
        }
        let message = json!({ "jsonrpc": "2.0", "id": call.body["id"], "result": { "structuredContent": { "a": 1 } } });
        stream.push_str(&format!("data: not a message\r\n\r\ndata: {message}"));
        // Waits until the client has answered.
        let body = axum::body::Body::from_stream(futures::stream::once(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, std::convert::Infallible>(stream)
        }));
        now(api_response(200, "text/event-stream", body))
    })
    .await;
    let (model, world) = (add().await, World::start().await);
    let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
    assert_eq!(only_result(&ended), ("ok", r#"{"a":1}"#));
    let answers: Vec<Value> = server
        .calls()
        .into_iter()
        .filter(|call| call.body["method"].is_null() && call.method == "POST")
        .map(|call| call.body)
        .collect();
    let answer = |id: Value| {
        let found = answers.iter().find(|answer| answer["id"] == id);
        found.unwrap_or_else(|| panic!("no answer to {id}: {answers:?}"))
    };
    assert_eq!(answer(json!("p"))["result"], json!({}));
    for id in [91, 92, 93, 94] {
        assert_eq!(
            answer(json!(id))["error"]["code"],
            -32601,
            "{id}: {answers:?}"
        );
    }
}

#[tokio::test]
async fn a_closed_stream_is_resumed_after_the_requested_pause() {
    let asked = Arc::new(std::sync::Mutex::new(Value::Null));
    let id = Arc::clone(&asked);
    let server = mcp_with(move |call| match call.method.as_str() {
        "GET" => {
            let message = json!({ "jsonrpc": "2.0", "id": *id.lock().unwrap(), "result": { "content": { "text": "resumed" } } });
            now(api_response(200, "text/event-stream", format!("id: e2\ndata: {message}\n\n")))
        }
        _ if is_method(call, "tools/call") => {
            *id.lock().unwrap() = call.body["id"].clone();
            now(api_response(200, "text/event-stream", "id: e1\nretry: 300\ndata:\n\n"))
        }
        _ => None,
    })
    .await;
    let (model, world) = (add().await, World::start().await);
    let started = Instant::now();
    let ended = run_with(&world, &model, tool(&server, "/mcp", &["add"])).await;
    assert_eq!(only_result(&ended), ("ok", "resumed"));
    assert!(started.elapsed() >= Duration::from_millis(300));
    let calls = server.calls();
    let resumed = calls.iter().find(|call| call.method == "GET").unwrap();
    assert_eq!(
        (
            resumed.header("last-event-id"),
            resumed.header("mcp-session-id")
        ),
        ("e1", SESSION)
    );
}

#[tokio::test]
async fn a_tool_list_without_end_is_read_up_to_a_limit() {
    let world = World::start().await;
    let model = FakeModel::saying("It went on all the same.").await;
    for (is_same, says) in [
        (
            false,
            "The first 16 pages of the tool list of the MCP server `desk` have no tool `x`",
        ),
        (true, "The MCP server `desk` has no tool `x`"),
    ] {
        let server = mcp_with(move |call| {
            let cursor = call.body["params"]["cursor"].as_str().unwrap_or_default();
            let next = if is_same {
                "same".to_owned()
            } else {
                format!("{cursor}n")
            };
            match is_method(call, "tools/list") {
                true => now(result(call, &json!({ "tools": [], "nextCursor": next }))),
                false => None,
            }
        })
        .await;
        let ended = run_with(&world, &model, tool(&server, "/mcp", &["x"])).await;
        assert!(string(&ended["result"]).contains(says), "{ended}");
        let lists = server
            .calls()
            .iter()
            .filter(|call| is_method(call, "tools/list"))
            .count();
        assert_eq!(lists, if is_same { 2 } else { 16 });
    }
}
