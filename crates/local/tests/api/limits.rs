//! What an agent allows at a time: runs, and triggers in a minute.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{Functions, functions, functions_at};
use crate::support::{FakeModel, Reply, Time, World, accepted, client, refused};

#[tokio::test]
async fn an_agent_has_no_more_runs_at_a_time_than_it_allows_and_its_other_tasks_wait_their_turn() {
    let model =
        FakeModel::start(|call, _| if call < 2 { Reply::Never } else { Reply::Text("at last") }).await;
    let world = World::start().await;
    let limits = json!({ "max_concurrent_runs": 2, "timeout_seconds": 3 });
    let busy = world.agent(&model, json!({ "limits": limits })).await;
    let held = [world.trigger(&busy, "1").await, world.trigger(&busy, "2").await];
    for task in &held {
        world.until(task, |status| status == "STARTED").await;
    }
    let waiting = world.trigger(&busy, "3").await;
    let other = world.agent_as(json!({ "sources": [{ "title": "t", "text": "Some words." }] })).await;
    assert_eq!(world.run(&other, r#""words""#).await["status"], "SUCCESS", "other agents are not held up");

    let meanwhile = world.status(&waiting).await;
    assert_eq!(
        (&meanwhile["status"], &meanwhile["attempt"], &meanwhile["started_at"]),
        (&json!("PENDING"), &json!(0), &Value::Null)
    );
    for task in &held {
        assert_eq!(world.ended(task).await["error"]["type"], "timeout");
    }
    let ended = world.ended(&waiting).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("SUCCESS"), &json!(1)), "{ended}");
}

#[tokio::test]
async fn triggers_beyond_the_rate_of_an_agent_are_refused_until_the_next_minute() {
    // 40 s into a minute.
    let time = Time::long_ago();
    let clock = time.clock();
    let world = World::start_with(|settings| settings.clock = clock).await;
    let agent = world.agent_as(json!({ "limits": { "triggers_per_minute": 2 } })).await;
    let send =
        async |key: &str| world.post(&agent, "{}").header("idempotency-key", key).send().await.unwrap();
    let first = accepted(send("first").await).await;
    accepted(send("second").await).await;

    let third = send("third").await;
    assert_eq!(third.headers()["retry-after"], "20");
    let (message, code) = refused(third, 429).await;
    assert_eq!(code, "rate_limited");
    assert!(message.contains("try again in 20 s"), "{message}");
    let repeat = send("first").await;
    assert_eq!(repeat.headers()["idempotent-replayed"], "true", "a repeat is no new task");
    assert_eq!(accepted(repeat).await, first);
    let malformed = world.post(&agent, "{").send().await.unwrap();
    assert_eq!(malformed.status(), 400, "what cannot be a task is not counted");

    time.forward(Duration::from_secs(20));
    accepted(send("third").await).await;
}

async fn limit(functions: &Functions, limits: Value) {
    let url = format!("{}/api/agents/{}", functions.url, functions.agent);
    let patch = client().request(Method::PATCH, url).bearer_auth("t").json(&json!({ "limits": limits }));
    assert_eq!(patch.send().await.unwrap().status(), 200);
    functions.wire.calls();
}

#[tokio::test]
async fn only_agents_with_limits_pay_for_them() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    limit(&functions, json!({ "max_concurrent_runs": 3, "triggers_per_minute": 60 })).await;
    let task = accepted(functions.trigger(None).await).await;
    assert_eq!(functions.wire.calls(), ["GetItem", "UpdateItem", "PutItem", "SendMessage"]);
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let run = functions.wire.calls();
    assert_eq!(run, ["GetItem", "UpdateItem", "UpdateItem", "UpdateItem", "UpdateItem"]);
    println!("AWS calls with both limits: trigger 3, run 4 (slot, claim, finish, slot)");
}

#[tokio::test]
async fn a_task_that_waits_for_a_slot_uses_up_no_receives_and_is_not_held_up_by_a_dead_runner() {
    let model = FakeModel::start(|call, _| if call == 0 { Reply::Never } else { Reply::Text("x") }).await;
    let functions = Arc::new(functions(&model).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    let first = accepted(functions.trigger(None).await).await;
    let second = accepted(functions.trigger(None).await).await;
    let (runner, held) = (Arc::clone(&functions), first.clone());
    let dead = tokio::spawn(async move { runner.deliver(&[&held], false).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    functions.wire.calls();
    assert!(functions.deliver(&[&second], false).await.is_empty(), "its message is done with");
    assert_eq!(functions.wire.calls(), ["UpdateItem", "SendMessage"], "a new one waits in its place");
    assert_eq!(model.asked().len(), 1);

    // The deadline of 60 s, and 10 s for clocks that disagree.
    functions.time.forward(Duration::from_secs(71));
    assert!(functions.deliver(&[&second], false).await.is_empty());
    let status: Value = functions.status(&second).await.json().await.unwrap();
    assert_eq!(status["status"], "SUCCESS");
    dead.abort();
}

#[tokio::test]
async fn a_task_whose_agent_is_busy_for_a_day_ends() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let time = Time::default();
    let functions = Arc::new(functions_at(&model, time.clone()).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    let late = accepted(functions.trigger(None).await).await;
    time.forward(Duration::from_secs(24 * 3600));
    let busy = accepted(functions.trigger(None).await).await;
    let runner = Arc::clone(&functions);
    let run = tokio::spawn(async move { runner.deliver(&[&busy], false).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(functions.deliver(&[&late], false).await.is_empty());
    let status: Value = functions.status(&late).await.json().await.unwrap();
    assert_eq!((&status["status"], &status["error"]["type"]), (&json!("FAILURE"), &json!("timeout")));
    assert_eq!(status["error"]["retryable"], true);
    run.abort();
}

#[tokio::test]
async fn a_run_that_could_not_begin_is_no_attempt() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    // Too large for the task's item, and random, so that it lies in an item of its own.
    let mut noise = 1_u64;
    let payload: String = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{noise:016x}")
    })
    .take(2000)
    .collect();
    let request = client().post(&functions.webhook).body(json!(payload).to_string());
    let task = accepted(request.send().await.unwrap()).await;
    // The agent can be read, the payload cannot.
    functions.wire.refuse("GetItem", 1);
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    functions.wire.mend();
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"], &status["started_at"]),
        (&json!("PENDING"), &json!(0), &Value::Null)
    );
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!((&status["status"], &status["attempt"]), (&json!("SUCCESS"), &json!(1)));
}
