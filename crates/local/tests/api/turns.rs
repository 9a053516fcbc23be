//! Runs of several turns: the model calls tools and gets their results.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::functions::functions_of;
use crate::support::model::completion;
use crate::support::{FakeModel, Reply, World, accepted};

const SHOP: &str =
    "Goods can be returned within 30 days.\n\n# Shipping\n\nOrders ship within two days.";

/// A completion that asks for these tool calls.
pub(crate) fn wants(calls: &[(&str, &str)]) -> Reply {
    let call = |(place, (name, arguments)): (usize, &(&str, &str))| {
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "id": format!("c{place}"), "type": "function", "function": function })
    };
    let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
    Reply::Json(completion(
        json!({ "role": "assistant", "content": null, "tool_calls": calls }),
        "tool_calls",
    ))
}

fn searcher() -> Value {
    json!({ "tools": [{ "type": "search_sources" }], "sources": [{ "title": "Shop", "text": SHOP }] })
}

#[tokio::test]
async fn the_model_gets_the_results_of_its_tools_and_the_result_lists_them() {
    let model = FakeModel::start(|call, _| match call {
        0 => wants(&[
            ("search_sources", r#"{"query":"returned"}"#),
            ("search_sources", r#"{"query":"ship"}"#),
        ]),
        _ => Reply::Text("Within 30 days."),
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, searcher()).await;
    let ended = world.run(&agent, r#"{"ask":"zebra"}"#).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(ended["usage"]["turns"], 2);

    let result = &ended["result"]["result"];
    let titles = |of: &Value| {
        of.as_array()
            .unwrap()
            .iter()
            .map(|source| source["title"].clone())
            .collect()
    };
    let sources: Vec<Value> = titles(&result["sources"]);
    assert_eq!(sources, ["Shop", "Shop"]);
    let call = &result["tool_calls"][0];
    assert_eq!(
        (&call["tool_name"], &call["status"]),
        (&json!("search_sources"), &json!("ok"))
    );
    assert_eq!(
        (&call["arguments"], &call["turn"]),
        (&json!({ "query": "returned" }), &json!(1))
    );
    assert!(
        call["result"].as_str().unwrap().contains("30 days"),
        "{call}"
    );
    assert!(call["duration_ms"].is_u64(), "{call}");

    let asked = model.asked();
    assert_eq!(
        asked[0].body["tools"][0]["function"]["name"],
        "search_sources"
    );
    let messages = asked[1].body["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "tool"]);
    assert_eq!(
        (&messages[3]["tool_call_id"], &messages[4]["tool_call_id"]),
        (&json!("c0"), &json!("c1"))
    );
    assert!(
        messages[4]["content"]
            .as_str()
            .unwrap()
            .contains("two days"),
        "{}",
        messages[4]
    );
}

#[tokio::test]
async fn a_run_continues_where_a_transient_error_stopped_it() {
    let model = FakeModel::start(|call, _| match call {
        0 => wants(&[("search_sources", r#"{"query":"returned"}"#)]),
        1 => Reply::Status(503, vec![]),
        _ => Reply::Text("Within 30 days."),
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, searcher()).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(2)),
        "{ended}"
    );
    // The first turn was not repeated, and its tokens are counted once.
    assert_eq!(
        (&ended["usage"]["turns"], &ended["usage"]["input_tokens"]),
        (&json!(2), &json!(22))
    );
    assert_eq!(
        ended["result"]["result"]["tool_calls"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let asked = model.asked();
    assert_eq!(
        (asked.len(), &asked[1].body["messages"]),
        (3, &asked[2].body["messages"])
    );
}

#[tokio::test]
async fn a_task_whose_workers_were_lost_reports_its_usage_and_its_calls() {
    let model = FakeModel::start(|call, _| match call {
        0 => wants(&[("search_sources", r#"{"query":"returned"}"#)]),
        _ => Reply::Status(503, vec![]),
    })
    .await;
    let functions = functions_of(&model, searcher()).await;
    let task = accepted(functions.trigger(None).await).await;
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    let run = functions.wire.calls();
    let run = &run[run.len() - 4..run.len() - 1];
    assert_eq!(
        run,
        ["UpdateItem", "UpdateItem", "UpdateItem"],
        "claim, checkpoint, release"
    );
    functions.time.forward(Duration::from_secs(5));
    assert!(functions.deliver(&[&task], true).await.is_empty());
    let ended: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&ended["error"]["type"], &ended["usage"]["turns"]),
        (&json!("worker_lost"), &json!(1)),
        "{ended}"
    );
    assert_eq!(
        ended["error"]["tool_calls"][0]["tool_name"],
        "search_sources"
    );
}

#[tokio::test]
async fn a_call_that_cannot_be_made_is_an_error_for_the_model_and_in_the_result() {
    let model = FakeModel::start(|call, _| match call {
        0 => wants(&[
            ("refund", "{}"),
            ("search_sources", "{"),
            ("search_sources", r#"{"query":7}"#),
        ]),
        _ => Reply::Text("I could not."),
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, searcher()).await;
    let ended = world.run(&agent, "{}").await;
    let calls = ended["result"]["result"]["tool_calls"].as_array().unwrap();
    for (call, says) in calls.iter().zip([
        "Unknown tool `refund`",
        "not a JSON object",
        "`query` must be",
    ]) {
        assert_eq!(call["status"], "error", "{call}");
        assert!(call["result"].as_str().unwrap().contains(says), "{call}");
    }
    assert_eq!(calls.len(), 3);
}

#[tokio::test]
async fn a_run_whose_tools_all_fail_three_times_ends_as_a_tool_error_with_the_calls() {
    let model = FakeModel::start(|_, _| wants(&[("refund", "{}")])).await;
    let world = World::start().await;
    let agent = world.agent(&model, searcher()).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["error"]["type"], "tool_error", "{ended}");
    assert_eq!(ended["error"]["tool_calls"].as_array().unwrap().len(), 3);
    assert_eq!(ended["usage"]["turns"], 3);
}

#[tokio::test]
async fn a_run_ends_when_its_turns_or_tokens_are_used_up() {
    let model = FakeModel::start(|_, _| wants(&[("search_sources", r#"{"query":"ship"}"#)])).await;
    let world = World::start().await;
    for (limits, says) in [
        (json!({ "max_turns": 2 }), "after 2 calls to the model"),
        (json!({ "max_total_tokens": 20 }), "after 20 tokens"),
    ] {
        let mut definition = searcher();
        definition["limits"] = limits;
        let ended = world
            .run(&world.agent(&model, definition).await, "{}")
            .await;
        assert_eq!(ended["error"]["type"], "budget_exceeded", "{ended}");
        assert!(ended["result"].as_str().unwrap().contains(says), "{ended}");
        assert_eq!(ended["usage"]["turns"], 2);
    }
    // The next turn may only use the tokens that remain.
    assert_eq!(model.asked()[3].body["max_tokens"], 2);
}
