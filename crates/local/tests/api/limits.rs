//! Limits of an agent: concurrent runs, and triggers per minute.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{Functions, functions, functions_at};
use crate::support::sqs::DEAD;
use crate::support::{FakeModel, Reply, Time, World, accepted, client, refused};

#[tokio::test]
async fn an_agent_has_no_more_concurrent_runs_than_its_limit_and_its_other_tasks_wait() {
    let model = FakeModel::start(|call, _| {
        if call < 2 {
            Reply::Never
        } else {
            Reply::Text("at last")
        }
    })
    .await;
    let world = World::start().await;
    let limits = json!({ "max_concurrent_runs": 2, "timeout_seconds": 3 });
    let busy = world.agent(&model, json!({ "limits": limits })).await;
    let held = [
        world.trigger(&busy, "1").await,
        world.trigger(&busy, "2").await,
    ];
    for task in &held {
        world.until(task, |status| status == "STARTED").await;
    }
    let waiting = world.trigger(&busy, "3").await;
    let other = world
        .agent_as(json!({ "sources": [{ "title": "t", "text": "Some words." }] }))
        .await;
    assert_eq!(
        world.run(&other, r#""words""#).await["status"],
        "SUCCESS",
        "other agents are not delayed"
    );

    let meanwhile = world.status(&waiting).await;
    assert_eq!(
        (
            &meanwhile["status"],
            &meanwhile["attempt"],
            &meanwhile["started_at"]
        ),
        (&json!("PENDING"), &json!(0), &Value::Null)
    );
    for task in &held {
        assert_eq!(world.ended(task).await["error"]["type"], "timeout");
    }
    let ended = world.ended(&waiting).await;
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(1)),
        "{ended}"
    );
}

#[tokio::test]
async fn triggers_beyond_the_rate_of_an_agent_are_refused_until_the_next_minute() {
    // 40 s into a minute.
    let time = Time::long_ago();
    let clock = time.clock();
    let world = World::start_with(|settings| settings.clock = clock).await;
    let agent = world
        .agent_as(json!({ "limits": { "triggers_per_minute": 2 } }))
        .await;
    let send = async |key: &str| {
        world
            .post(&agent, "{}")
            .header("idempotency-key", key)
            .send()
            .await
            .unwrap()
    };
    let first = accepted(send("first").await).await;
    accepted(send("second").await).await;

    let third = send("third").await;
    assert_eq!(third.headers()["retry-after"], "20");
    let (message, code) = refused(third, 429).await;
    assert_eq!(code, "rate_limited");
    assert!(message.contains("try again in 20 s"), "{message}");
    let repeat = send("first").await;
    assert_eq!(
        repeat.headers()["idempotent-replayed"],
        "true",
        "a repeat does not create a task"
    );
    assert_eq!(accepted(repeat).await, first);
    let malformed = world.post(&agent, "{").send().await.unwrap();
    assert_eq!(
        malformed.status(),
        400,
        "a malformed trigger is not counted"
    );

    time.forward(Duration::from_secs(20));
    accepted(send("third").await).await;
}

async fn limit(functions: &Functions, limits: Value) {
    let url = format!("{}/api/agents/{}", functions.url, functions.agent);
    let patch = client()
        .request(Method::PATCH, url)
        .bearer_auth("t")
        .json(&json!({ "limits": limits }));
    assert_eq!(patch.send().await.unwrap().status(), 200);
    functions.wire.calls();
}

#[tokio::test]
async fn only_agents_with_limits_cost_extra_calls() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    limit(
        &functions,
        json!({ "max_concurrent_runs": 3, "triggers_per_minute": 60 }),
    )
    .await;
    let task = accepted(functions.trigger(None).await).await;
    assert_eq!(
        functions.wire.calls(),
        ["GetItem", "UpdateItem", "PutItem", "SendMessage"]
    );
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let run = functions.wire.calls();
    assert_eq!(
        run,
        [
            "GetItem",
            "UpdateItem",
            "UpdateItem",
            "UpdateItem",
            "UpdateItem"
        ]
    );
    println!("AWS calls with both limits: trigger 3, run 4 (slot, claim, finish, slot)");
}

#[tokio::test]
async fn a_task_that_waits_for_a_slot_has_one_message_and_is_not_delayed_by_a_dead_runner() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Never
        } else {
            Reply::Text("x")
        }
    })
    .await;
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
    assert_eq!(
        functions.deliver(&[&second], false).await,
        ["message-0"],
        "its message comes again"
    );
    assert_eq!(
        functions.wire.calls(),
        ["UpdateItem", "UpdateItem", "ChangeMessageVisibility"]
    );
    assert_eq!(model.asked().len(), 1);

    // The deadline of 60 s, plus 10 s for clock differences.
    functions.time.forward(Duration::from_secs(71));
    assert!(functions.deliver(&[&second], false).await.is_empty());
    let status: Value = functions.status(&second).await.json().await.unwrap();
    assert_eq!(status["status"], "SUCCESS");
    dead.abort();
}

/// A run that holds the agent's only slot and never ends.
async fn held(
    functions: &Arc<Functions>,
    model: &FakeModel,
) -> tokio::task::JoinHandle<Vec<String>> {
    let (task, before) = (
        accepted(functions.trigger(None).await).await,
        model.asked().len(),
    );
    let runner = Arc::clone(functions);
    let run = tokio::spawn(async move { runner.deliver(&[&task], false).await });
    while model.asked().len() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    functions.wire.calls();
    run
}

#[tokio::test]
async fn a_task_that_finds_no_slot_for_a_day_ends_and_one_that_has_not_tried_waits() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let time = Time::default();
    let functions = Arc::new(functions_at(&model, time.clone()).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    let looking = accepted(functions.trigger(None).await).await;
    let queued = accepted(functions.trigger(None).await).await;
    let first = held(&functions, &model).await;
    assert_eq!(functions.deliver(&[&looking], false).await, ["message-0"]);
    time.forward(Duration::from_secs(24 * 3600));
    let second = held(&functions, &model).await;
    assert_eq!(
        functions.deliver(&[&looking, &queued], false).await,
        ["message-1"]
    );
    let status: Value = functions.status(&looking).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["error"]["type"]),
        (&json!("FAILURE"), &json!("timeout"))
    );
    assert_eq!(status["error"]["retryable"], true);
    let status: Value = functions.status(&queued).await.json().await.unwrap();
    assert_eq!(status["status"], "PENDING", "it waited only in the queue");
    first.abort();
    second.abort();
}

/// Attempts to get a slot in five hours, one every 8 s.
const LOOKS: usize = 2250;

/// Lambda stops a chain from a function to its own queue after 16 sends, and a message
/// becomes a dead letter after 1,000 receives.
#[tokio::test]
async fn a_task_may_try_to_get_a_slot_thousands_of_times_without_becoming_a_loop_or_a_dead_letter()
{
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Never
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let time = Time::default();
    let functions = Arc::new(functions_at(&model, time.clone()).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    accepted(functions.trigger(None).await).await;
    let runner = Arc::clone(&functions);
    let busy =
        tokio::spawn(async move { runner.receive_and_run(Duration::from_secs(6 * 3600)).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = accepted(functions.trigger(None).await).await;
    let mut looks = 0;
    while looks < LOOKS {
        looks += functions.receive_and_run(Duration::from_secs(60)).await;
        time.forward(functions.until_next_message());
    }
    assert!(functions.wire.sqs.receive(DEAD, 1).is_empty());
    let hops = functions.wire.sqs.most_hops();
    assert!(
        (2..=3).contains(&hops),
        "{hops} sends in five hours, so at most 15 in a day"
    );
    busy.abort();

    // The lease of the dead run's slot lasts six hours.
    time.forward(Duration::from_secs(2 * 3600));
    while !functions.wire.sqs.is_empty() {
        functions.receive_and_run(Duration::from_secs(60)).await;
        time.forward(functions.until_next_message());
    }
    let status: Value = functions.status(&waiting).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("SUCCESS"), &json!(1)),
        "{status}"
    );
}

#[tokio::test]
async fn a_task_whose_runner_died_is_pending_while_it_waits_for_a_slot() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let functions = Arc::new(functions(&model).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    let task = accepted(functions.trigger(None).await).await;
    let (runner, held_task) = (Arc::clone(&functions), task.clone());
    let dead = tokio::spawn(async move { runner.deliver(&[&held_task], false).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dead.abort();
    functions.time.forward(Duration::from_secs(71));
    let other = held(&functions, &model).await;
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("PENDING"), &json!(1))
    );
    other.abort();
}

#[tokio::test]
async fn messages_of_a_busy_agent_do_not_multiply() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Text("x")
        } else {
            Reply::Never
        }
    })
    .await;
    let functions = Arc::new(functions(&model).await);
    limit(&functions, json!({ "max_concurrent_runs": 1 })).await;
    let ended = accepted(functions.trigger(Some("ended")).await).await;
    assert!(functions.deliver(&[&ended], false).await.is_empty());
    let run = held(&functions, &model).await;
    let waiting = accepted(functions.trigger(Some("waiting")).await).await;
    assert_eq!(functions.deliver(&[&waiting], false).await, ["message-0"]);
    functions.wire.calls();
    assert_eq!(
        accepted(functions.trigger(Some("waiting")).await).await,
        waiting
    );
    assert_eq!(
        functions.wire.calls(),
        ["PutItem"],
        "its message is in the queue"
    );
    assert!(functions.deliver(&[&ended], false).await.is_empty());
    assert_eq!(
        functions.wire.calls(),
        ["UpdateItem", "UpdateItem"],
        "the message of an ended task is not sent again"
    );
    run.abort();
}

#[tokio::test]
async fn a_run_whose_agent_cannot_be_read_does_not_count_as_an_attempt() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    functions.wire.refuse("GetItem", 0);
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    functions.wire.stop_refusing();
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("PENDING"), &json!(0))
    );
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("SUCCESS"), &json!(1))
    );
}
