//! The status of a task.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{FakeModel, Reply, World, refused};

fn assert_times_are_in_order(status: &Value) {
    let times = ["created_at", "started_at", "finished_at"].map(|at| status[at].as_str().unwrap());
    assert!(
        times.is_sorted() && times.iter().all(|at| at.len() == 24 && at.ends_with('Z')),
        "{times:?}"
    );
}

#[tokio::test]
async fn a_status_has_the_state_and_the_times_of_a_task() {
    let model = FakeModel::start(|_, asked| {
        if asked.user() == "1" {
            Reply::Never
        } else {
            Reply::Text("Fine.")
        }
    })
    .await;
    let world = World::start_with(|settings| settings.concurrency = 1).await;
    let agent = world
        .agent(&model, json!({ "limits": { "timeout_seconds": 1 } }))
        .await;
    let first = world.trigger(&agent, "1").await;
    let second = world.trigger(&agent, "2").await;

    let response = world.status_response(&second).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let pending: Value = response.json().await.unwrap();
    assert_eq!(
        (&pending["status"], &pending["result"]),
        (&json!("PENDING"), &Value::Null)
    );
    assert_eq!(
        (&pending["attempt"], &pending["started_at"]),
        (&json!(0), &Value::Null)
    );

    let started = world.until(&first, |status| status == "STARTED").await;
    assert_eq!(
        (&started["attempt"], &started["finished_at"]),
        (&json!(1), &Value::Null)
    );

    let failed = world.ended(&first).await;
    assert_eq!(failed["status"], "FAILURE");
    assert_eq!(failed["result"], "The run exceeded its time limit of 1 s");
    assert_eq!(
        failed["error"],
        json!({ "type": "timeout", "message": "The run exceeded its time limit of 1 s", "retryable": true })
    );

    let done = world.ended(&second).await;
    assert_eq!(
        done["result"],
        json!({ "status": "success", "result": { "answer": "Fine.", "sources": [], "thought": "", "tool_calls": [] } })
    );
    assert_eq!(
        done["usage"],
        json!({ "model": "test-model-2026", "turns": 1, "input_tokens": 11, "output_tokens": 7 })
    );
    assert_eq!(done["error"], Value::Null);
    assert_times_are_in_order(&done);
    assert!(
        world
            .status_response(&second)
            .await
            .headers()
            .get("retry-after")
            .is_none()
    );
}

#[tokio::test]
async fn a_missing_id_is_refused_and_an_unknown_one_is_not_found() {
    let world = World::start().await;
    for path in [
        "/api/task_status",
        "/api/task_status?task_id=",
        "/api/task_status?other=1",
    ] {
        let response = world
            .http
            .get(format!("{}{path}", world.url))
            .send()
            .await
            .unwrap();
        assert_eq!(
            refused(response, 400).await,
            ("Task ID is required".into(), "task_id_required".into())
        );
    }
    for id in [
        "018f3f3e-0000-7abc-8def-0123456789ab",
        "nonsense",
        "%00",
        "deduplicated",
    ] {
        let response = world.status_response(id).await;
        assert_eq!(
            refused(response, 404).await,
            ("Task not found".into(), "task_not_found".into())
        );
    }
}

#[tokio::test]
async fn an_id_is_case_insensitive_and_must_be_complete() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let task = world.trigger(&agent, "{}").await;
    world.ended(&task).await;
    assert_eq!(
        world.status(&task.to_uppercase()).await["status"],
        "SUCCESS"
    );
    // The same key with another time is the id of another task.
    let digit = if task.as_bytes()[5] == b'0' { '1' } else { '0' };
    let other = format!("{}{digit}{}", &task[..5], &task[6..]);
    refused(world.status_response(&other).await, 404).await;
}

#[tokio::test]
async fn a_result_is_not_found_after_its_retention() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let task = world.trigger(&agent, "{}").await;
    world.ended(&task).await;
    world.time.forward(Duration::from_secs(24 * 3600 - 60));
    assert_eq!(world.status(&task).await["status"], "SUCCESS");
    world.time.forward(Duration::from_secs(120));
    refused(world.status_response(&task).await, 404).await;
}

#[tokio::test]
async fn a_large_result_is_returned_complete() {
    let answer: &'static str = Box::leak(
        (0..300_000_u32)
            .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
            .collect::<String>()
            .into_boxed_str(),
    );
    let model = FakeModel::saying(answer).await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(
        ended["result"]["result"]["answer"].as_str().map(str::len),
        Some(2_400_000)
    );
    assert_eq!(ended["result"]["result"]["answer"], answer);
}
