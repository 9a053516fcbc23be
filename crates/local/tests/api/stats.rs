//! Statistics of the tasks of the last hours.

use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{SMALL_ADMIN_TOKEN, functions};
use crate::support::{FakeModel, Reply, World, client, refused, string};

async fn stats(world: &World, query: &str) -> Value {
    let response = world
        .manage(Method::GET, &format!("/api/stats{query}"))
        .send()
        .await
        .unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    let sum = |status: &str| {
        let buckets = body["buckets"].as_array().unwrap();
        buckets
            .iter()
            .map(|bucket| bucket[status].as_u64().unwrap())
            .sum::<u64>()
    };
    for status in ["PENDING", "STARTED", "SUCCESS", "FAILURE"] {
        assert_eq!(body["by_status"][status], sum(status), "{body}");
    }
    body
}

async fn moody_model() -> FakeModel {
    FakeModel::start(|_, asked| match asked.user() {
        text if text.contains("fail") => Reply::Status(400, vec![]),
        text if text.contains("hang") => Reply::Never,
        _ => Reply::Text("done"),
    })
    .await
}

#[tokio::test]
async fn statistics_count_the_outcomes_of_all_tasks_and_their_cost() {
    let (world, model) = (World::start().await, moody_model().await);
    let priced = world
        .agent_as(json!({ "model": {
            "base_url": model.url, "name": "m", "price": { "input": 1000, "output": 2000.5 },
        } }))
        .await;
    let unpriced = world.agent(&model, json!({})).await;
    for payload in ["{}", "{}", r#"{"a":"fail"}"#] {
        world.run(&priced, payload).await;
    }
    world.run(&unpriced, "{}").await;
    let hangs = world.trigger(&unpriced, r#"{"a":"hang"}"#).await;
    world.until(&hangs, |status| status == "STARTED").await;

    let figures = stats(&world, "").await;
    assert_eq!(
        figures["by_status"],
        json!({ "PENDING": 0, "STARTED": 1, "SUCCESS": 3, "FAILURE": 1 })
    );
    assert_eq!(
        (&figures["tasks"], &figures["examined"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(
        (&figures["sampled"], &figures["bucket_seconds"]),
        (&json!(false), &json!(1800))
    );
    assert_eq!(figures["errors"], json!({ "model_error": 1 }));
    // The fake model counts 11 input and 7 output tokens for each answer.
    assert_eq!(
        (&figures["input_tokens"], &figures["output_tokens"]),
        (&json!(33), &json!(21))
    );
    let cost = (2.0 * (11.0 * 1000.0 + 7.0 * 2000.5)) / 1e6;
    assert_eq!(figures["cost_usd"], json!((cost * 1e6_f64).round() / 1e6));
    let asked = figures["models"].as_array().unwrap();
    let answered = asked
        .iter()
        .find(|model| model["model"] == "test-model-2026")
        .unwrap();
    assert_eq!(
        (&answered["tasks"], &answered["cost_usd"]),
        (&json!(3), &figures["cost_usd"])
    );
    assert!(figures["unpriced_tasks"].as_u64() >= Some(1), "{figures}");
    for times in ["wait_ms", "run_ms"] {
        let at = |name: &str| figures[times][name].as_u64().unwrap();
        assert!(
            at("p50") <= at("p90") && at("p90") <= at("p99") && at("p99") <= at("max"),
            "{figures}"
        );
    }

    let of_one = stats(&world, &format!("?agent_id={}&hours=1", priced.id)).await;
    assert_eq!(
        of_one["by_status"],
        json!({ "PENDING": 0, "STARTED": 0, "SUCCESS": 2, "FAILURE": 1 })
    );
    assert_eq!(of_one["bucket_seconds"], 60);
}

#[tokio::test]
async fn a_window_contains_the_stored_tasks_of_its_hours() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    world.run(&agent, "{}").await;
    world.time.forward(Duration::from_secs(2 * 3600));
    world.run(&agent, "{}").await;
    let tasks = async |hours: u64| stats(&world, &format!("?hours={hours}")).await["tasks"].clone();
    assert_eq!((tasks(1).await, tasks(3).await), (json!(1), json!(2)));
    world.time.forward(Duration::from_secs(22 * 3600 + 2));
    assert_eq!(tasks(336).await, 1, "the first has expired");
    let empty = stats(
        &world,
        &format!(
            "?hours=336&agent_id={}",
            "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
        ),
    )
    .await;
    assert_eq!(
        (&empty["tasks"], &empty["wait_ms"], &empty["cost_usd"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert!(empty["buckets"].as_array().unwrap().len() <= 96);
    let deleted = world
        .manage(Method::DELETE, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(tasks(336).await, 0);
    assert_eq!(
        stats(&world, &format!("?agent_id={}", agent.id)).await["tasks"],
        1
    );
}

#[tokio::test]
async fn many_tasks_are_sampled_and_all_failures_are_counted() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let payload = |n: usize| {
        if n % 240 == 7 {
            r#"{"a":"fail"}"#
        } else {
            "{}"
        }
    };
    let triggers = (0..1200).map(|n| world.trigger(&agent, payload(n)));
    let tasks: Vec<String> = stream::iter(triggers).buffered(16).collect().await;
    for task in &tasks {
        world.ended(task).await;
    }
    let figures = stats(&world, "").await;
    assert_eq!(
        (&figures["sampled"], &figures["examined"]),
        (&json!(true), &json!(1000))
    );
    assert_eq!(
        figures["by_status"],
        json!({ "PENDING": 0, "STARTED": 0, "SUCCESS": 1195, "FAILURE": 5 })
    );
    assert_eq!(figures["errors"], json!({ "model_error": 5 }));
    assert_eq!(figures["input_tokens"], 1195 * 11, "scaled up");
}

#[tokio::test]
async fn an_invalid_parameter_is_refused_by_name() {
    let world = World::start().await;
    for (query, named) in [
        ("hours=0", "`hours`"),
        ("hours=337", "`hours`"),
        ("agent_id=x", "`agent_id`"),
        ("days=1", "`days`"),
    ] {
        let response = world
            .manage(Method::GET, &format!("/api/stats?{query}"))
            .send()
            .await
            .unwrap();
        let (message, code) = refused(response, 400).await;
        assert_eq!(code, "invalid_request");
        assert!(message.contains(named), "{message}");
    }
    let stranger = world
        .http
        .get(format!("{}/api/stats", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(refused(stranger, 401).await.1, "unauthorized");
}

#[tokio::test]
async fn a_price_is_stored_with_the_agent_and_an_invalid_one_is_refused() {
    let world = World::start().await;
    let model =
        |price: Value| json!({ "base_url": "http://127.0.0.1:9/v1", "name": "m", "price": price });
    let agent = world
        .agent_as(json!({ "model": model(json!({ "input": 0.15, "output": 0.6 })) }))
        .await;
    let path = format!("/api/agents/{}", agent.id);
    let shown: Value = world
        .manage(Method::GET, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        shown["model"]["price"],
        json!({ "input": 0.15, "output": 0.6 })
    );
    let patch = json!({ "model": { "price": null } });
    let patched = world
        .manage(Method::PATCH, &path)
        .json(&patch)
        .send()
        .await
        .unwrap();
    let patched: Value = patched.json().await.unwrap();
    assert_eq!(patched["model"].get("price"), None, "{patched}");
    assert_eq!(string(&patched["model"]["name"]), "m");
    for price in [
        json!({ "input": -0.1, "output": 1 }),
        json!({ "input": 1, "output": 1_000_000.5 }),
        json!({ "input": 1 }),
        json!({ "input": "1", "output": "1" }),
        json!([1, 2]),
        json!(5),
        json!({ "input": 1, "output": 1, "cached": 1 }),
    ] {
        let definition = json!({ "name": "a", "model": model(price.clone()) });
        let response = world
            .manage(Method::POST, "/api/agents")
            .json(&definition)
            .send()
            .await
            .unwrap();
        assert_eq!(refused(response, 400).await.1, "invalid_agent", "{price}");
    }
}

#[tokio::test]
async fn statistics_are_calculated_for_one_request_at_a_time() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let ask = || {
        client()
            .get(format!("{}/api/stats", functions.url))
            .bearer_auth(SMALL_ADMIN_TOKEN)
            .send()
    };
    assert_eq!(ask().await.unwrap().status(), 200);
    let reads = functions.wire.calls();
    assert!(reads.len() > 2, "{reads:?}");
    join_all((0..4).map(|_| ask())).await;
    assert_eq!(functions.wire.calls(), vec![reads; 4].concat());
}
