//! Operations of HTTP APIs.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::{agent_with, caller, get_order, only_result, run_with, shown};
use crate::support::api::api_response;
use crate::support::{FakeApi, FakeModel, Reply, World, refused};
use crate::turns::wants;

#[tokio::test]
async fn a_tool_is_called_as_defined_and_the_model_gets_the_result() {
    let model = caller(&[("get_order", r#"{"id":"7/b","lines":true}"#)]).await;
    let api = FakeApi::saying(json!({ "state": "shipped on Monday" })).await;
    let world = World::start().await;
    let mut tool = api.tool(get_order());
    tool["headers"] = json!({ "X-Shop": "north" });
    let agent = agent_with(&world, &model, tool).await;
    let task = world.trigger(&agent, "{}").await;
    let ended = world.ended(&task).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");

    let calls = api.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str()),
        ("GET", "/the-orders/7%2Fb?lines=true")
    );
    assert_eq!(
        (calls[0].header("x-shop"), calls[0].key()),
        ("north", &*format!("{task}:1:1"))
    );
    assert_eq!(
        only_result(&ended),
        ("ok", r#"{"state":"shipped on Monday"}"#)
    );

    let asked = model.asked();
    let function_sent = &asked[0].body["tools"][0]["function"];
    assert_eq!(
        (&function_sent["name"], &function_sent["description"]),
        (&json!("get_order"), &json!("One order"))
    );
    assert_eq!(function_sent["parameters"]["required"], json!(["id"]));
    assert_eq!(
        asked[1].body["messages"][3]["content"],
        r#"{"state":"shipped on Monday"}"#
    );
}

#[tokio::test]
async fn arguments_of_a_post_are_its_json_body() {
    let model = caller(&[(
        "refund",
        r#"{"order":"the-order-7","amount":12.50,"note":"torn\n"}"#,
    )])
    .await;
    let api = FakeApi::start(|_, _| api_response(204, "", "")).await;
    let world = World::start().await;
    let operations = json!([{
        "name": "refund", "method": "POST", "path": "/refunds", "headers": ["note"],
        "parameters": { "properties": { "order": {}, "amount": { "type": "number" }, "note": {} } },
        "query": ["order"], "wire_names": { "note": "X-Note" },
    }]);
    let ended = run_with(&world, &model, api.tool(operations.clone())).await;
    // A header cannot contain a line break.
    let (status, result) = only_result(&ended);
    assert!(
        status == "error" && result.contains("`note` is sent as a header"),
        "{result}"
    );
    assert!(api.calls().is_empty());

    let model = caller(&[(
        "refund",
        r#"{"order":"the-order-7","amount":12.50,"note":"torn"}"#,
    )])
    .await;
    let ended = run_with(&world, &model, api.tool(operations)).await;
    assert_eq!(
        only_result(&ended),
        ("ok", "The server answered 204 No Content without a body.")
    );
    let calls = api.calls();
    assert_eq!(
        (calls[0].method.as_str(), calls[0].path.as_str()),
        ("POST", "/refunds?order=the-order-7")
    );
    assert_eq!(
        (calls[0].header("x-note"), &calls[0].body),
        ("torn", &json!({ "amount": 12.5 }))
    );
}

#[tokio::test]
async fn the_model_cannot_change_a_header_that_the_owner_sets() {
    let model = caller(&[("get_order", r#"{"tenant":"evil"}"#)]).await;
    let api = FakeApi::saying(json!({})).await;
    let world = World::start().await;
    let operations = json!([{
        "name": "get_order", "path": "/the-order", "headers": ["tenant"],
        "parameters": { "properties": { "tenant": {} } }, "wire_names": { "tenant": "X-Tenant" },
    }]);
    let mut tool = api.tool(operations);
    tool["headers"] = json!({ "x-tenant": "the-owners-own" });
    run_with(&world, &model, tool).await;
    assert_eq!(api.calls()[0].header("x-tenant"), "the-owners-own");
}

#[tokio::test]
async fn the_calls_of_one_turn_are_made_concurrently_each_with_its_own_key() {
    // No call gets a response before all have arrived.
    let all_there = Arc::new(Barrier::new(3));
    let api = FakeApi::start_slow(move |_, call| {
        let (all_there, path) = (Arc::clone(&all_there), call.path.clone());
        Box::pin(async move {
            all_there.wait().await;
            axum::Json(json!({ "asked": path })).into_response()
        })
    })
    .await;
    let calls = [
        ("get_order", r#"{"id":"a"}"#),
        ("get_order", r#"{"id":"b"}"#),
        ("get_order", r#"{"id":"c"}"#),
    ];
    let model = FakeModel::start(move |number, _| match number {
        0 => wants(&calls),
        _ => Reply::Text("All three are on their way."),
    })
    .await;
    let world = World::start().await;
    let agent = agent_with(&world, &model, api.tool(get_order())).await;
    let task = world.trigger(&agent, "{}").await;
    let ended = world.ended(&task).await;
    // The results are in the order of the model's calls, whichever response came first.
    let results: Vec<&Value> = shown(&ended).iter().map(|call| &call["result"]).collect();
    let expected = ["a", "b", "c"].map(|id| format!("{{\"asked\":\"/the-orders/{id}\"}}"));
    assert_eq!(results, expected.iter().collect::<Vec<_>>());
    let mut keys: Vec<String> = api
        .calls()
        .iter()
        .map(|call| call.key().to_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, [1, 2, 3].map(|place| format!("{task}:1:{place}")));
}

#[tokio::test]
async fn arguments_that_violate_the_schema_are_an_error_for_the_model_and_not_sent() {
    let model = caller(&[
        ("get_order", r#"{"id":7}"#),
        ("get_order", r#"{"lines":true}"#),
        ("get_order", r#"{"id":"a","admin":true}"#),
        ("get_order", r#"{"id":"../users"}"#),
        ("get_order", "[]"),
    ])
    .await;
    let api = FakeApi::saying(json!({})).await;
    let world = World::start().await;
    let ended = run_with(&world, &model, api.tool(get_order())).await;
    let says = [
        "not of type",
        "required property",
        "'admin'",
        "part of the path",
        "not a JSON object",
    ];
    assert_eq!(shown(&ended).len(), says.len());
    for (call, says) in shown(&ended).iter().zip(says) {
        assert_eq!(call["status"], "error");
        assert!(call["result"].as_str().unwrap().contains(says), "{call}");
    }
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn every_response_of_a_server_reaches_the_model_in_bounds_and_the_run_continues() {
    let long = "x".repeat(5000);
    for (status, kind, body, outcome, says) in [
        (200, "text/plain; charset=utf-8", "äöü".into(), "ok", "äöü"),
        (200, "application/problem+json", "{}".into(), "ok", "{}"),
        (
            200,
            "image/png",
            "\u{0}PNG".into(),
            "ok",
            "200 OK with image/png of 4 bytes, which is not text",
        ),
        (
            404,
            "application/json",
            r#"{"error":"no such order"}"#.into(),
            "error",
            "404 Not Found: {\"error\"",
        ),
        (
            500,
            "text/html",
            long.clone(),
            "error",
            "… [cut at 2048 bytes]",
        ),
        (
            503,
            "text/html",
            String::new(),
            "error",
            "The server answered 503 Service Unavailable.",
        ),
    ] {
        let model = caller(&[("get_order", r#"{"id":"7"}"#)]).await;
        let api = FakeApi::start(move |_, _| api_response(status, kind, body.clone())).await;
        let world = World::start().await;
        let ended = run_with(&world, &model, api.tool(get_order())).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        let (found, result) = only_result(&ended);
        assert_eq!(found, outcome, "{status} {kind}: {result}");
        assert!(
            result.contains(says) && result.len() < 2200,
            "{status} {kind}: {result}"
        );
    }
}

fn gzipped() -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all("a zipped café".as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn responses_are_decoded_and_numbers_keep_their_digits() {
    for (kind, coding, body, outcome, says) in [
        (
            "text/plain; charset=ISO-8859-1",
            "",
            b"caf\xe9".to_vec(),
            "ok",
            "café",
        ),
        (
            "text/plain; charset=Shift_JIS",
            "",
            b"\x93\xfa\x96{".to_vec(),
            "ok",
            "日本",
        ),
        ("application/json", "", b"\xff\xfe7\0".to_vec(), "ok", "7"),
        ("text/plain", "gzip", gzipped(), "ok", "a zipped café"),
        (
            "text/plain",
            "br",
            b"xx".to_vec(),
            "error",
            "compressed as `br`",
        ),
        (
            "text/plain",
            "gzip",
            b"xx".to_vec(),
            "error",
            "damaged compressed body",
        ),
    ] {
        let api = FakeApi::start(move |_, _| {
            let mut response = api_response(200, kind, body.clone());
            if !coding.is_empty() {
                let coding = coding.parse().unwrap();
                response.headers_mut().insert("content-encoding", coding);
            }
            response
        })
        .await;
        let model = caller(&[("get_order", r#"{"id":12345678901234567890123,"n":126.0}"#)]).await;
        let world = World::start().await;
        let mut operations = get_order();
        operations[0]["parameters"]["properties"] =
            json!({ "id": { "type": "integer" }, "n": { "type": "integer" } });
        let ended = run_with(&world, &model, api.tool(operations)).await;
        let (found, result) = only_result(&ended);
        assert!(
            found == outcome && result.contains(says),
            "{coding} {kind}: {result}"
        );
        let calls = api.calls();
        assert_eq!(calls[0].path, "/the-orders/12345678901234567890123?n=126");
        assert_eq!(calls[0].header("accept-encoding"), "identity");
    }
}

#[tokio::test]
async fn an_endless_response_is_read_to_the_limit_and_marked_as_cut() {
    let api = FakeApi::start(|_, _| {
        let endless = futures::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(b"0123456789"))
        });
        api_response(200, "text/plain", Body::from_stream(endless))
    })
    .await;
    let model = caller(&[("get_order", r#"{"id":"7"}"#)]).await;
    let world = World::start().await;
    let mut tool = api.tool(get_order());
    tool["max_response_bytes"] = json!(25);
    let ended = run_with(&world, &model, tool).await;
    assert_eq!(
        only_result(&ended),
        ("ok", "0123456789012345678901234… [cut at 25 bytes]")
    );
}

#[tokio::test]
async fn a_slow_unreachable_or_broken_server_is_an_error_without_its_address() {
    let never = FakeApi::start_slow(|_, _| Box::pin(std::future::pending())).await;
    let broken = FakeApi::start(|_, _| {
        let parts = [Ok("half an "), Err(std::io::Error::other("gone"))];
        api_response(
            200,
            "text/plain",
            Body::from_stream(futures::stream::iter(parts)),
        )
    })
    .await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for (host, says) in [
        (&never.host, "The server did not answer within 1 seconds."),
        (&broken.host, "The connection to the server broke."),
        (&gone, "The server could not be reached."),
    ] {
        let model = caller(&[("get_order", r#"{"id":"7"}"#)]).await;
        let world = World::start().await;
        let tool = json!({
            "type": "http", "name": "api", "base_url": format!("http://{host}"), "timeout_seconds": 1,
            "operations": get_order(),
        });
        let ended = run_with(&world, &model, tool).await;
        assert_eq!(only_result(&ended), ("error", says));
    }
}

#[tokio::test]
async fn a_tool_that_needs_approval_ends_the_run_and_no_tool_of_its_turn_is_called() {
    let model = caller(&[("get_order", r#"{"id":"7"}"#), ("refund", "{}")]).await;
    let api = FakeApi::saying(json!({})).await;
    let world = World::start().await;
    let mut operations = get_order();
    let refund =
        json!({ "name": "refund", "method": "POST", "path": "/refunds", "approval": true });
    operations.as_array_mut().unwrap().push(refund);
    let ended = run_with(&world, &model, api.tool(operations)).await;
    assert_eq!(ended["error"]["type"], "tool_error", "{ended}");
    assert!(
        ended["result"]
            .as_str()
            .unwrap()
            .contains("`refund`, which needs a person's approval"),
        "{ended}"
    );
    let statuses: Vec<&Value> = shown(&ended).iter().map(|call| &call["status"]).collect();
    assert_eq!(statuses, ["error", "refused"]);
    assert!(api.calls().is_empty());
    let description = &model.asked()[0].body["tools"][1]["function"]["description"];
    assert!(
        description.as_str().unwrap().contains("do not call it"),
        "{description}"
    );
}

#[tokio::test]
async fn an_invalid_tool_is_refused_with_what_to_change() {
    let world = World::start().await;
    let api = FakeApi::saying(json!({})).await;
    let mut twice = get_order();
    twice
        .as_array_mut()
        .unwrap()
        .extend(get_order().as_array().unwrap().clone());
    let mut keyed = api.tool(get_order());
    keyed["headers"] = json!({ "Authorization": "Bearer the-clear-key" });
    let list = json!(["http", "api"]);
    for (tool, says) in [
        (api.tool(twice), "the name `get_order` is given twice"),
        (keyed, "agent-webhooks secret set NAME"),
        (list, "Each of `tools` must be a JSON object"),
        (
            json!({ "type": "http", "name": "x" }),
            "`x` has no operations",
        ),
        (json!({ "type": "http" }), "missing field `name`"),
    ] {
        let create = world
            .manage(Method::POST, "/api/agents")
            .json(&json!({ "name": "a", "tools": [tool] }));
        let (message, code) = refused(create.send().await.unwrap(), 400).await;
        assert!(message.contains(says), "{message}");
        assert!(!message.contains("the-clear-key"), "{message}");
        assert_eq!(code, "invalid_agent");
    }
}

#[tokio::test]
async fn a_tool_is_returned_as_it_was_defined_and_can_be_changed() {
    let world = World::start().await;
    let tool = json!({
        "type": "http", "name": "api", "base_url": "https://shop.example/v1",
        "headers": { "Accept": "application/json", "Authorization": { "secret": "shop", "prefix": "Bearer " } },
        "timeout_seconds": 5, "max_response_bytes": 1000, "operations": get_order(),
    });
    let agent = world.agent_as(json!({ "tools": [tool] })).await;
    let path = format!("/api/agents/{}", agent.id);
    let read = async || {
        world
            .manage(Method::GET, &path)
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()
    };
    let mut returned = read().await["tools"][0].clone();
    assert_eq!(
        returned["operations"][0]
            .as_object_mut()
            .unwrap()
            .remove("method"),
        Some(json!("GET"))
    );
    assert_eq!(returned, tool);
    let patch = world
        .manage(Method::PATCH, &path)
        .json(&json!({ "tools": [] }));
    assert_eq!(patch.send().await.unwrap().status(), 200);
    assert_eq!(read().await["tools"], json!([]));
}
