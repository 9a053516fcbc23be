//! A resumed run repeats no call that had a response. It repeats a call without one, with
//! the same key and the same arguments.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{agent_with, get_order, shown};
use crate::support::functions::functions_with;
use crate::support::{FakeApi, FakeModel, Reply, Time, World, accepted};
use crate::turns::wants;

#[tokio::test]
async fn a_run_that_an_error_stopped_calls_no_tool_twice_and_gives_later_calls_their_own_keys() {
    let model = FakeModel::start(|number, _| match number {
        0 => wants(&[("get_order", r#"{"id":"first"}"#)]),
        1 => Reply::Status(503, vec![]),
        2 => wants(&[
            ("get_order", r#"{"id":"second"}"#),
            ("get_order", r#"{"id":"third"}"#),
        ]),
        _ => Reply::Text("All three are on their way."),
    })
    .await;
    let api = FakeApi::saying(json!({})).await;
    let world = World::start().await;
    let agent = agent_with(&world, &model, api.tool(get_order())).await;
    let task = world.trigger(&agent, "{}").await;
    let ended = world.ended(&task).await;
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(2)),
        "{ended}"
    );
    let mut calls: Vec<(String, String)> = api
        .calls()
        .iter()
        .map(|call| (call.key().to_owned(), call.path.clone()))
        .collect();
    calls.sort();
    let expected = [("1:1", "first"), ("2:1", "second"), ("2:2", "third")];
    assert_eq!(
        calls,
        expected.map(|(key, id)| (format!("{task}:{key}"), format!("/the-orders/{id}")))
    );
    let turns: Vec<&Value> = shown(&ended).iter().map(|call| &call["turn"]).collect();
    assert_eq!(turns, [1, 2, 2]);
}

/// The calls of a runner that dies during the first tool calls, and of the runner after it.
#[tokio::test]
async fn after_a_runner_that_dies_during_tool_calls_the_next_one_makes_the_same_calls() {
    let came = Arc::new(Notify::new());
    let arrived = Arc::clone(&came);
    let api = FakeApi::start_slow(move |number, _| {
        arrived.notify_one();
        match number {
            0 | 1 => Box::pin(std::future::pending()),
            _ => Box::pin(async { axum::Json(json!({})).into_response() }),
        }
    })
    .await;
    // A second request would get other calls.
    let model = FakeModel::start(|number, asked| {
        match (number, asked.body["messages"].as_array().unwrap().len()) {
            (0, 2) => wants(&[
                ("get_order", r#"{"id":"a"}"#),
                ("get_order", r#"{"id":"b"}"#),
            ]),
            (_, 2) => wants(&[("get_order", r#"{"id":"other"}"#)]),
            _ => Reply::Text("Both are on their way."),
        }
    })
    .await;
    let functions = functions_with(
        &model,
        Time::default(),
        json!({ "tools": [api.tool(get_order())] }),
    )
    .await;
    let functions = Arc::new(functions);
    let task = accepted(functions.trigger(None).await).await;
    let (dying, held) = (Arc::clone(&functions), task.clone());
    let first = tokio::spawn(async move { dying.deliver(&[&held], false).await });
    while api.calls().len() < 2 {
        came.notified().await;
    }
    first.abort();
    let _ = first.await;
    functions.time.forward(Duration::from_secs(120));
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("SUCCESS"), &json!(2)),
        "{status}"
    );
    assert_eq!(
        model.asked().len(),
        2,
        "the first turn is not requested twice"
    );

    let mut calls: Vec<(String, String)> = api
        .calls()
        .iter()
        .map(|call| (call.key().to_owned(), call.path.clone()))
        .collect();
    calls.sort();
    let expected = [("1:1", "a"), ("1:1", "a"), ("1:2", "b"), ("1:2", "b")];
    assert_eq!(
        calls,
        expected.map(|(key, id)| (format!("{task}:{key}"), format!("/the-orders/{id}")))
    );
}

#[tokio::test]
async fn a_turn_with_tools_costs_one_more_write_and_older_versions_do_not_run_the_agent() {
    let api = FakeApi::saying(json!({})).await;
    let model = FakeModel::start(|number, _| match number {
        0 => wants(&[
            ("get_order", r#"{"id":"a"}"#),
            ("get_order", r#"{"id":"b"}"#),
        ]),
        _ => Reply::Text("Both are on their way."),
    })
    .await;
    let functions = functions_with(
        &model,
        Time::default(),
        json!({ "tools": [api.tool(get_order())] }),
    )
    .await;
    let task = accepted(functions.trigger(None).await).await;
    functions.wire.calls();
    assert!(functions.deliver(&[&task], false).await.is_empty());
    assert_eq!(
        functions.wire.calls(),
        ["GetItem", "UpdateItem", "UpdateItem", "UpdateItem"]
    );

    let id = format!("agent#{}", functions.agent);
    let get = json!({ "TableName": "agents", "Key": { "id": { "S": id } } });
    let item = functions.wire.call_dynamodb("GetItem", get).await;
    assert_eq!(
        item["Item"]["v"]["N"], "2",
        "0.1.0 reads 1, and would run it without its tools"
    );
}
