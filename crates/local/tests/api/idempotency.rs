//! Triggers of one agent with one Idempotency-Key are one task, one id and one run for 24 hours.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Response;
use serde_json::json;

use crate::support::{Agent, FakeModel, Reply, World, accepted, redaction, refused};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn keyed(world: &World, agent: &Agent, key: &str, body: &str) -> Response {
    redaction::secret("idempotency key", key);
    world
        .post(agent, body)
        .header("idempotency-key", key)
        .send()
        .await
        .unwrap()
}

fn replayed(response: &Response) -> bool {
    response
        .headers()
        .get("idempotent-replayed")
        .is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_concurrent_triggers_with_one_key_are_one_task_and_one_run() {
    let model = FakeModel::saying("Done.").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let sends = (0..20).map(|n| {
        let body = format!("{{\"n\":{n}}}");
        let (world, agent) = (&world, &agent);
        async move { accepted(keyed(world, agent, "order-42", &body).await).await }
    });
    let ids: HashSet<String> = join_all(sends).await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    let ended = world.ended(&id).await;
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(1))
    );
    // Once a later task has ended, every duplicate message has been processed.
    world.run(&agent, "{}").await;
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test]
async fn a_repeat_returns_the_first_id_whatever_its_body_is() {
    let model = FakeModel::start(|_, asked| {
        if asked.user() == "1" {
            Reply::Never
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let first = keyed(&world, &agent, "k", "1").await;
    assert!(!replayed(&first));
    let id = accepted(first).await;
    world.until(&id, |status| status == "STARTED").await;
    for (key, body) in [("k", "1"), ("  k ", r#"{"other":true}"#)] {
        let repeat = keyed(&world, &agent, key, body).await;
        assert!(replayed(&repeat));
        assert_eq!(accepted(repeat).await, id);
    }
    let get = world
        .http
        .get(format!("{}?x=1", agent.url))
        .header("idempotency-key", "k")
        .send()
        .await
        .unwrap();
    assert!(replayed(&get));
    assert_eq!(accepted(get).await, id);
    model.asked_at_least(1).await;
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn keys_are_case_sensitive_optional_and_belong_to_one_agent() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let (one, two) = (
        world.agent(&model, json!({})).await,
        world.agent(&model, json!({})).await,
    );
    let mut ids = HashSet::new();
    for (agent, key) in [
        (&one, "k"),
        (&one, "K"),
        (&two, "k"),
        (&one, ""),
        (&one, "  "),
        (&one, "日本"),
    ] {
        ids.insert(accepted(keyed(&world, agent, key, "{}").await).await);
    }
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_key_that_is_too_long_or_not_text_is_refused() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    accepted(keyed(&world, &agent, &"x".repeat(256), "{}").await).await;
    let (message, code) = refused(keyed(&world, &agent, &"x".repeat(257), "{}").await, 400).await;
    assert_eq!(
        message,
        "Idempotency-Key exceeds maximum length of 256 characters"
    );
    assert_eq!(code, "invalid_idempotency_key");
    let bytes = reqwest::header::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let response = world
        .post(&agent, "{}")
        .header("idempotency-key", bytes)
        .send()
        .await
        .unwrap();
    assert_eq!(
        refused(response, 400).await.0,
        "Idempotency-Key must be UTF-8 text"
    );
}

#[tokio::test]
async fn a_key_can_be_used_again_after_24_hours_and_not_a_second_before() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let first = accepted(keyed(&world, &agent, "k", "1").await).await;
    world.ended(&first).await;
    world.time.forward(DAY - Duration::from_secs(60));
    assert_eq!(accepted(keyed(&world, &agent, "k", "2").await).await, first);
    world.time.forward(Duration::from_secs(61));
    let second = keyed(&world, &agent, "k", "3").await;
    assert!(!replayed(&second));
    let second = accepted(second).await;
    assert_ne!(second, first);
    assert_eq!(world.ended(&second).await["status"], "SUCCESS");
    refused(world.status_response(&first).await, 404).await;
}

#[tokio::test]
async fn the_key_of_a_task_that_has_not_ended_lasts_beyond_24_hours() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let first = accepted(keyed(&world, &agent, "k", "1").await).await;
    // After the run's time limit.
    model.asked_at_least(1).await;
    world.time.forward(DAY + DAY);
    assert_eq!(accepted(keyed(&world, &agent, "k", "2").await).await, first);
}
