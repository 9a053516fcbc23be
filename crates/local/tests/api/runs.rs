//! Runs: the requests to the model, and how errors end.

use std::time::Duration;

use domain::Moment;
use reqwest::Method;
use serde_json::{Value, json};
use store::Clock;

use crate::support::model::completion;
use crate::support::{FakeModel, Reply, World};

#[tokio::test]
async fn the_prompt_is_rendered_over_the_payload_and_sent_with_the_limits_and_the_key() {
    let model = FakeModel::saying("ok").await;
    let world = World::start().await;
    let agent = world
        .agent_as(json!({
            "name": "triage",
            "prompt": "{{ agent.name }} {{ payload.order.id }} {{ payload.price }} {{ payload.missing.deep }}|",
            "limits": { "max_output_tokens": 77 },
            "model": { "base_url": format!("{}/", model.url), "name": "m", "api_key": "sk-test" },
        }))
        .await;
    world
        .run(&agent, r#"{"order":{"id":"{{ 7*7 }}"},"price":1.50}"#)
        .await;
    let asked = model.asked().pop().unwrap();
    assert_eq!(asked.path, "/v1/chat/completions");
    assert_eq!(asked.headers["authorization"], "Bearer sk-test");
    assert_eq!(asked.system(), "triage {{ 7*7 }} 1.50 |");
    assert_eq!(
        (&asked.body["model"], &asked.body["max_tokens"]),
        (&json!("m"), &json!(77))
    );
}

#[tokio::test]
async fn transient_errors_are_retried_and_permanent_ones_are_not() {
    for (status, retryable) in [
        (429, true),
        (500, true),
        (503, true),
        (408, true),
        (400, false),
        (401, false),
        (404, false),
        (301, false),
    ] {
        let model = FakeModel::start(move |call, _| match call {
            0 => Reply::Status(
                status,
                vec![("retry-after", "1"), ("location", "http://127.0.0.1:1/")],
            ),
            _ => Reply::Text("second time lucky"),
        })
        .await;
        let world = World::start().await;
        let agent = world.agent(&model, json!({})).await;
        let ended = world.run(&agent, "{}").await;
        if retryable {
            assert_eq!(
                (&ended["status"], &ended["attempt"]),
                (&json!("SUCCESS"), &json!(2)),
                "{status}"
            );
        } else {
            assert_eq!(ended["error"]["type"], "model_error", "{status}");
            assert_eq!(ended["error"]["retryable"], false, "{status}");
            assert_eq!(model.asked().len(), 1, "{status}");
        }
    }
}

#[tokio::test]
async fn retries_end_with_the_attempts() {
    let model = FakeModel::start(|_, _| Reply::Status(500, vec![])).await;
    let world = World::start_with(|settings| settings.runs.max_attempts = 2).await;
    let agent = world.agent(&model, json!({})).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["result"], "The model provider returned HTTP 500");
    assert_eq!(ended["error"]["retryable"], true);
    assert_eq!((&ended["attempt"], model.asked().len()), (&json!(2), 2));
}

#[tokio::test]
async fn a_retry_after_the_time_limit_is_not_awaited() {
    let model = FakeModel::start(|_, _| Reply::Status(429, vec![("retry-after", "60")])).await;
    let world = World::start().await;
    let agent = world
        .agent(&model, json!({ "limits": { "timeout_seconds": 30 } }))
        .await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["result"], "The model provider returned HTTP 429");
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn an_unreachable_server_is_a_transient_error() {
    let world = World::start_with(|settings| settings.runs.max_attempts = 1).await;
    let model = json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m" });
    let agent = world.agent_as(json!({ "model": model })).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["result"], "The model provider could not be reached");
    assert_eq!(ended["error"]["retryable"], true);
}

#[tokio::test]
async fn an_invalid_response_is_a_failure() {
    let tool_call = json!([{ "id": "c", "type": "function", "function": { "name": "refund", "arguments": "{}" } }]);
    for (reply, kind, tokens) in [
        (Reply::Text(" \n"), "empty_answer", 7),
        (
            Reply::Json(completion(json!({ "content": null }), "stop")),
            "empty_answer",
            7,
        ),
        (
            Reply::Json(completion(json!({ "content": "half an" }), "length")),
            "budget_exceeded",
            7,
        ),
        (
            Reply::Json(completion(json!({ "content": "x" }), "content_filter")),
            "model_error",
            7,
        ),
        (
            Reply::Json(completion(
                json!({ "content": null, "tool_calls": tool_call }),
                "tool_calls",
            )),
            "tool_error",
            7,
        ),
        (Reply::Json(json!({ "choices": [] })), "model_error", 0),
        (Reply::Json(json!({ "hello": 1 })), "model_error", 0),
        (Reply::Bytes(b"not json".to_vec()), "model_error", 0),
        (Reply::Bytes(vec![b' '; 9 * 1024 * 1024]), "model_error", 0),
    ] {
        let reply = std::sync::Mutex::new(Some(reply));
        let model = FakeModel::start(move |_, _| reply.lock().unwrap().take().unwrap()).await;
        let world = World::start().await;
        let agent = world.agent(&model, json!({})).await;
        let ended = world.run(&agent, "{}").await;
        assert_eq!(ended["status"], "FAILURE", "{ended}");
        assert_eq!(ended["error"]["type"], kind, "{ended}");
        assert_eq!(
            ended["usage"]["output_tokens"].as_u64().unwrap_or(0),
            tokens,
            "{ended}"
        );
    }
}

#[tokio::test]
async fn reasoning_is_separate_from_the_answer() {
    let message = json!({ "content": "42", "reasoning_content": "Let me think." });
    let reply = completion(message, "stop");
    let model = FakeModel::start(move |_, _| Reply::Json(reply.clone())).await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["result"]["result"]["thought"], "Let me think.");
    assert_eq!(ended["result"]["result"]["answer"], "42");
}

#[tokio::test]
async fn without_a_model_the_answer_is_the_best_passages_with_their_sources() {
    let world = World::start().await;
    let sources = json!([
        { "title": "Returns", "text": "Goods can be returned within 30 days." },
        { "title": "Shipping", "text": "Orders ship within two days." },
    ]);
    let agent = world.agent_as(json!({ "sources": sources })).await;
    let ended = world
        .run(&agent, r#"{"question":"When can goods be returned?"}"#)
        .await;
    assert_eq!(
        ended["result"]["result"]["answer"],
        "Goods can be returned within 30 days.\n— Returns"
    );
    let passage = json!({ "title": "Returns", "text": "Goods can be returned within 30 days.", "source": "Returns" });
    assert_eq!(ended["result"]["result"]["sources"], json!([passage]));
    assert_eq!(ended["usage"], Value::Null);
    let odd = r#"{"question":"When can goods be returned?","n":1e999,"lone":"\ud800"}"#;
    assert_eq!(world.run(&agent, odd).await["status"], "SUCCESS");
    let ended = world.run(&agent, r#"{"question":"zebra"}"#).await;
    assert_eq!(ended["error"]["type"], "empty_answer");
}

#[tokio::test]
async fn a_model_gets_the_passages_that_may_help_and_the_result_lists_them() {
    let model = FakeModel::saying("30 days.").await;
    let world = World::start().await;
    let sources = json!([{ "title": "Returns", "text": "Goods can be returned within 30 days." }]);
    let agent = world
        .agent(&model, json!({ "prompt": "Help.", "sources": sources }))
        .await;
    let ended = world.run(&agent, r#"{"question":"returned goods?"}"#).await;
    assert!(
        model.asked()[0]
            .system()
            .contains("## Returns\nGoods can be returned within 30 days.")
    );
    assert_eq!(ended["result"]["result"]["sources"][0]["title"], "Returns");
}

#[tokio::test]
async fn a_task_whose_agent_is_deleted_before_it_runs_fails() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let world = World::start_with(|settings| settings.concurrency = 1).await;
    let blocker = world
        .agent(&model, json!({ "limits": { "timeout_seconds": 1 } }))
        .await;
    let agent = world.agent(&model, json!({})).await;
    world.trigger(&blocker, "{}").await;
    let task = world.trigger(&agent, "{}").await;
    world
        .manage(Method::DELETE, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    assert_eq!(world.ended(&task).await["error"]["type"], "invalid_agent");
}

#[tokio::test]
async fn a_prompt_that_fails_on_a_payload_fails_the_task_by_name() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world
        .agent(
            &model,
            json!({ "prompt": "{{ payload.n / payload.zero }}" }),
        )
        .await;
    let ended = world.run(&agent, r#"{"n":1,"zero":"x"}"#).await;
    assert_eq!(ended["error"]["type"], "invalid_agent");
    assert_eq!(
        ended["result"],
        "The agent's prompt cannot be rendered over this payload"
    );
}

#[tokio::test]
async fn a_private_address_is_refused_unless_the_operator_allows_it() {
    let model = FakeModel::saying("x").await;
    for base_url in [
        model.url.clone(),
        model.url.replace("127.0.0.1", "localhost"),
    ] {
        let world =
            World::start_with(|settings| settings.private_hosts = runner::PrivateHosts::none())
                .await;
        let agent = world
            .agent_as(json!({ "model": { "base_url": base_url, "name": "m" } }))
            .await;
        let ended = world.run(&agent, "{}").await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
        assert_eq!(
            ended["result"],
            "The address of the agent's model is not allowed here"
        );
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn a_run_that_panics_ends_its_task_and_the_server_continues() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (panics, sprung) = (
        std::sync::Arc::new(AtomicBool::new(false)),
        std::sync::Arc::new(AtomicBool::new(false)),
    );
    let (armed, once) = (
        std::sync::Arc::clone(&panics),
        std::sync::Arc::clone(&sprung),
    );
    // The clock is the only dependency of a test that a run calls in the middle.
    let clock = Clock::new(move || {
        let in_a_run = std::backtrace::Backtrace::force_capture()
            .to_string()
            .contains("runner::drive::attempt");
        if armed.load(Ordering::SeqCst) && in_a_run && !once.swap(true, Ordering::SeqCst) {
            panic!("on purpose");
        }
        Moment::from_millis(Clock::system().now().millis())
    });
    let model = FakeModel::saying("x").await;
    let world = World::start_with(|settings| settings.clock = clock).await;
    let agent = world.agent(&model, json!({})).await;
    panics.store(true, Ordering::SeqCst);
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["error"]["type"], "internal", "{ended}");
    assert_eq!(world.run(&agent, "{}").await["status"], "SUCCESS");
}

#[tokio::test]
async fn a_stopping_server_waits_a_moment_for_runs_and_resumes_the_rest_after_the_restart() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Never
        } else {
            Reply::Text("resumed")
        }
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let task = world.trigger(&agent, "{}").await;
    world.until(&task, |status| status == "STARTED").await;
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let world = world.restart().await;
    let ended = world.ended(&task).await;
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(1)),
        "a clean stop costs no attempt"
    );
}
