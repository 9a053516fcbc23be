//! Tools of MCP servers.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::{agent_with, caller, only_result, run_with, shown};
use crate::support::api::{Call, api_response};
use crate::support::mcp::{SESSION, mcp};
use crate::support::{FakeApi, FakeModel, Reply, World, redaction, refused, string};
use crate::turns::wants;

const SECRET: &str = "the-mcp-key-0123456789";

fn tool(server: &FakeApi, allow: &[&str]) -> Value {
    json!({ "type": "mcp", "name": "desk", "url": format!("{}/mcp", server.url()), "allow": allow })
}

fn says(text: &str) -> BoxFuture<'static, Value> {
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    Box::pin(async { result })
}

fn of_method(server: &FakeApi, method: &str) -> Vec<Call> {
    server
        .calls()
        .into_iter()
        .filter(|call| call.body["method"] == method)
        .collect()
}

#[tokio::test]
async fn allowed_tools_are_called_in_one_session_that_ends_with_the_run() {
    redaction::secret("tool secret", SECRET);
    let server = mcp(|_| says("It is done by half past noon.")).await;
    let model = caller(&[("look_up", r#"{"a":7}"#)]).await;
    let world = World::start().await;
    world.store_secret("desk", SECRET).await;
    let mut tool = tool(&server, &["look.up", "add"]);
    tool["headers"] = json!({ "Authorization": { "secret": "desk", "prefix": "Bearer " } });
    let agent = agent_with(&world, &model, tool).await;
    let task = world.trigger(&agent, "{}").await;
    let ended = world.ended(&task).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(only_result(&ended), ("ok", "It is done by half past noon."));

    // Only allowed tools are offered, whichever page they are on.
    let tools = &model.asked()[0].body["tools"];
    let names: Vec<&Value> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["function"]["name"])
        .collect();
    assert_eq!(names, ["look_up", "add"]);
    assert_eq!(tools[0]["function"]["description"], "Does look.up");
    assert_eq!(
        tools[0]["function"]["parameters"]["properties"]["a"]["type"],
        "integer"
    );

    let [call] = of_method(&server, "tools/call").try_into().unwrap();
    let key = format!("{task}:1:1");
    assert_eq!(
        (
            &call.body["params"]["name"],
            &call.body["params"]["arguments"]
        ),
        (&json!("look.up"), &json!({ "a": 7 }))
    );
    assert_eq!(
        (call.key(), &call.body["params"]["_meta"]["idempotency-key"]),
        (&*key, &json!(key))
    );
    assert_eq!(
        (
            call.header("mcp-session-id"),
            call.header("mcp-protocol-version")
        ),
        (SESSION, "2025-11-25")
    );
    let all = server.calls();
    assert!(
        all.iter()
            .all(|call| call.header("authorization") == format!("Bearer {SECRET}"))
    );
    let last = all.last().unwrap();
    assert_eq!(
        (last.method.as_str(), last.header("mcp-session-id")),
        ("DELETE", SESSION)
    );
    assert!(
        all.iter().all(|call| call.method != "GET"),
        "no stream for messages of the server is opened"
    );
    assert!(!redaction::logged_text().contains(SECRET));
}

#[tokio::test]
async fn the_calls_of_one_turn_are_sent_concurrently() {
    let both_there = Arc::new(Barrier::new(2));
    let server = mcp(move |call| {
        let (both_there, a) = (
            Arc::clone(&both_there),
            call.body["params"]["arguments"]["a"].clone(),
        );
        Box::pin(async move {
            both_there.wait().await;
            json!({ "content": [], "structuredContent": { "a": a } })
        })
    })
    .await;
    let model = caller(&[("add", r#"{"a":1}"#), ("add", r#"{"a":2}"#)]).await;
    let world = World::start().await;
    let ended = run_with(&world, &model, tool(&server, &["add"])).await;
    let results: Vec<&Value> = shown(&ended).iter().map(|call| &call["result"]).collect();
    assert_eq!(results, [r#"{"a":1}"#, r#"{"a":2}"#]);
    let keys: Vec<String> = of_method(&server, "tools/call")
        .iter()
        .map(|call| call.key()[36..].to_owned())
        .collect();
    assert!(
        keys.contains(&":1:1".to_owned()) && keys.contains(&":1:2".to_owned()),
        "{keys:?}"
    );
}

#[tokio::test]
async fn errors_of_a_tool_and_refusals_of_its_server_are_returned_to_the_model() {
    redaction::secret("tool secret", SECRET);
    let server = mcp(|call| match call.body["params"]["arguments"]["a"].as_i64() {
        Some(0) => {
            let error = json!({ "content": [{ "type": "text", "text": "no such desk" }], "isError": true });
            Box::pin(async { error })
        }
        Some(1) => says(&"x".repeat(500)),
        _ => Box::pin(std::future::pending()),
    })
    .await;
    let model = caller(&[
        ("add", r#"{"a":0}"#),
        ("add", r#"{"a":1}"#),
        ("add", r#"{"a":2}"#),
    ])
    .await;
    let world = World::start().await;
    let mut tool = tool(&server, &["add"]);
    tool["timeout_seconds"] = json!(1);
    tool["max_response_bytes"] = json!(100);
    let ended = run_with(&world, &model, tool).await;
    let results: Vec<(String, String)> = shown(&ended)
        .iter()
        .map(|call| (string(&call["status"]), string(&call["result"])))
        .collect();
    let cut = format!("{}… [cut at 100 bytes]", "x".repeat(100));
    let expected = [
        ("error", "no such desk"),
        ("ok", &*cut),
        ("error", "The server did not answer within 1 seconds."),
    ];
    assert_eq!(
        results,
        expected.map(|(status, result)| (status.to_owned(), result.to_owned()))
    );
}

#[tokio::test]
async fn a_tool_that_needs_approval_is_not_called() {
    let server = mcp(|_| says("gone")).await;
    let model = caller(&[("delete_all", "{}")]).await;
    let world = World::start().await;
    let mut tool = tool(&server, &["delete_all"]);
    tool["approval"] = json!(["delete_all"]);
    let ended = run_with(&world, &model, tool).await;
    assert_eq!(ended["error"]["type"], "tool_error", "{ended}");
    assert_eq!(shown(&ended)[0]["status"], "refused");
    assert!(of_method(&server, "tools/call").is_empty());
}

#[tokio::test]
async fn a_run_waits_for_an_unreachable_server_and_calls_no_model_meanwhile() {
    let model = FakeModel::saying("It went on all the same.").await;
    let world = World::start().await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let definition = json!({ "type": "mcp", "name": "desk", "url": format!("http://{gone}/mcp"), "allow": ["add"] });
    let agent = world
        .agent(
            &model,
            json!({ "tools": [definition], "limits": { "timeout_seconds": 3 } }),
        )
        .await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(
        (&ended["error"]["type"], &ended["error"]["retryable"]),
        (&json!("tool_error"), &json!(true)),
        "{ended}"
    );
    assert!(
        string(&ended["result"]).contains("MCP server `desk` is not available"),
        "{ended}"
    );
    assert!(ended["attempt"].as_u64().unwrap() > 1, "{ended}");
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn an_unusable_server_ends_the_task_with_what_to_change() {
    let model = FakeModel::saying("It went on all the same.").await;
    let server = mcp(|_| says("x")).await;
    let closed = FakeApi::start(|_, _| {
        let mut response = api_response(401, "text/plain", "who are you");
        response
            .headers_mut()
            .insert("www-authenticate", "Bearer".parse().unwrap());
        response
    })
    .await;
    let shut = FakeApi::start(|_, _| api_response(403, "application/json", "{}")).await;
    let world = World::start().await;
    for (tool, says) in [
        (
            tool(&server, &["add", "magic"]),
            "The MCP server `desk` has no tool `magic`",
        ),
        (
            tool(&closed, &["add"]),
            "refused the agent: check its `headers`",
        ),
        (
            tool(&shut, &["add"]),
            "refused the agent: check its `headers`",
        ),
    ] {
        let ended = run_with(&world, &model, tool).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
        assert!(string(&ended["result"]).contains(says), "{ended}");
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn an_mcp_server_at_a_private_address_is_not_called_and_a_redirect_to_one_not_followed() {
    let model = FakeModel::saying("It went on all the same.").await;
    let inner = mcp(|_| says("x")).await;
    let world = super::safety::strict_world(&model).await;
    let port = inner.host.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "[::1]", "localhost", "169.254.169.254"] {
        let tool = json!({ "type": "mcp", "name": "desk", "url": format!("http://{host}:{port}/mcp"), "allow": ["add"] });
        let ended = run_with(&world, &model, tool).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
        assert!(
            string(&ended["result"]).contains("`desk` is not allowed here"),
            "{host}: {ended}"
        );
    }
    let target = format!("{}/mcp?key=1", inner.url());
    let outer = FakeApi::start(move |_, _| {
        let mut response = api_response(307, "text/plain", "");
        response
            .headers_mut()
            .insert("location", target.parse().unwrap());
        response
    })
    .await;
    let world = World::start().await;
    let definition =
        json!({ "tools": [tool(&outer, &["add"])], "limits": { "timeout_seconds": 1 } });
    let ended = world
        .run(&world.agent(&model, definition).await, "{}")
        .await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    let says = format!("redirects to another server, {}/mcp:", inner.url());
    assert!(string(&ended["result"]).contains(&says), "{ended}");
    assert!(inner.calls().is_empty());
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn messages_of_an_mcp_server_are_in_no_log() {
    let word = format!("tool-result-{:016x}", getrandom::u64().unwrap());
    redaction::secret("tool result", &word);
    let text = word.clone();
    let server = FakeApi::start(move |_, _| {
        api_response(
            200,
            "application/json",
            json!({ "nonsense": text }).to_string(),
        )
    })
    .await;
    let model = FakeModel::start(|_, _| Reply::Text("It went on all the same.")).await;
    let world = World::start().await;
    let definition =
        json!({ "tools": [tool(&server, &["add"])], "limits": { "timeout_seconds": 1 } });
    let ended = world
        .run(&world.agent(&model, definition).await, "{}")
        .await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    let expected = "answered with JSON of another kind instead of an MCP message";
    assert!(string(&ended["result"]).contains(expected), "{ended}");
    assert!(!ended.to_string().contains(&word) && !redaction::logged_text().contains(&word));

    let text = word.clone();
    let server = mcp(move |_| says(&text)).await;
    let model = FakeModel::start(|number, _| match number {
        0 => wants(&[("add", r#"{"a":1}"#)]),
        _ => Reply::Text("It is done."),
    })
    .await;
    let ended = run_with(&world, &model, tool(&server, &["add"])).await;
    assert!(ended.to_string().contains(&word), "{ended}");
    assert!(!redaction::logged_text().contains(&word));
}

#[tokio::test]
async fn two_servers_may_have_tools_of_the_same_name_and_a_tool_given_twice_is_refused() {
    let model = caller(&[("desk_add", r#"{"a":1}"#), ("shelf_add", r#"{"a":2}"#)]).await;
    let (desk, shelf) = (
        mcp(|_| says("of the desk")).await,
        mcp(|_| says("of the shelf")).await,
    );
    let world = World::start().await;
    let mut other = tool(&shelf, &["add"]);
    other["name"] = json!("shelf");
    let agent = world
        .agent(&model, json!({ "tools": [tool(&desk, &["add"]), other] }))
        .await;
    let ended = world.run(&agent, "{}").await;
    let results: Vec<&Value> = shown(&ended).iter().map(|call| &call["result"]).collect();
    assert_eq!(results, ["of the desk", "of the shelf"]);
    let twice = json!({ "name": "a", "tools": [tool(&desk, &["add", "add"])] });
    let create = world
        .manage(reqwest::Method::POST, "/api/agents")
        .json(&twice);
    assert!(
        refused(create.send().await.unwrap(), 400)
            .await
            .0
            .contains("given twice")
    );
}
