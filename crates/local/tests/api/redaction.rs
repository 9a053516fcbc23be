//! Nothing that a caller or an owner sends is logged, whatever the outcome.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::functions::functions;
use crate::support::{FakeModel, Reply, World, redaction};

/// A unique text that no log may contain.
fn marked(kind: &str) -> String {
    let word = format!(
        "{}-{:016x}",
        kind.replace(' ', "-"),
        getrandom::u64().unwrap()
    );
    redaction::secret(kind, &word);
    word
}

async fn answered(request: RequestBuilder, status: u16) {
    assert_eq!(request.send().await.unwrap().status(), status);
}

/// The log contains `happened` and none of these texts.
fn assert_unlogged(happened: &str, words: &[&str]) {
    let log = redaction::logged_text();
    assert!(
        log.contains(happened),
        "nothing of \"{happened}\" in the log"
    );
    for word in words {
        let kind = word.trim_end_matches(|c: char| c.is_ascii_hexdigit());
        assert!(
            !log.to_lowercase().contains(&word.to_lowercase()),
            "{kind}… is in the log"
        );
    }
}

#[tokio::test]
async fn a_trigger_leaves_none_of_its_text_in_the_log_whatever_the_response() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let (token, key, payload) = (
        marked("webhook token"),
        marked("idempotency key"),
        marked("payload"),
    );
    let stranger = format!("{}/api/webhooks/agents/{token}", world.url);
    let to = |url: &str, body: String| {
        world
            .http
            .post(url)
            .header("idempotency-key", &key)
            .body(body)
    };
    answered(to(&stranger, payload.clone()), 404).await;
    answered(to(&agent.url, format!("{{\"{payload}\"")), 400).await;
    answered(to(&agent.url, format!("{{\"{payload}\":1}}{payload}")), 400).await;
    answered(to(&agent.url, payload.repeat(50_000)), 413).await;
    answered(
        to(&agent.url, "{}".into()).header("content-type", &payload),
        415,
    )
    .await;
    answered(
        world.http.get(format!("{}?{payload}={payload}", agent.url)),
        200,
    )
    .await;
    answered(
        to(&agent.url, json!({ &payload: &payload }).to_string()),
        200,
    )
    .await;
    answered(world.http.delete(format!("{}?{payload}", agent.url)), 405).await;
    answered(world.http.get(format!("{}/{payload}", agent.url)), 404).await;
    answered(
        world
            .http
            .get(format!("{}/api/task_status?task_id={token}", world.url)),
        404,
    )
    .await;
    assert_unlogged(
        "trigger accepted",
        &[
            &token,
            &key,
            &payload,
            agent.url.rsplit('/').next().unwrap(),
        ],
    );
}

#[tokio::test]
async fn a_run_that_fails_leaves_no_payload_prompt_or_key_in_the_log() {
    let key = marked("API key");
    let model = FakeModel::start(|_, _| Reply::Status(401, vec![])).await;
    let nonsense =
        FakeModel::start(|_, asked| Reply::Bytes(asked.user().as_bytes().to_vec())).await;
    let world = World::start().await;
    let payload = json!({ "name": marked("payload") }).to_string();
    let unreachable = "http://127.0.0.1:1/v1".to_owned();
    for base_url in [&model.url, &nonsense.url, &unreachable] {
        let model = json!({ "base_url": base_url, "name": "m", "api_key": key });
        let limits = json!({ "timeout_seconds": 1 });
        let agent = world
            .agent_as(json!({ "model": model, "limits": limits }))
            .await;
        assert_eq!(world.run(&agent, &payload).await["status"], "FAILURE");
    }
    let word = marked("prompt");
    for prompt in [
        "{{ [1] | map(payload.name) | list }}",
        "{{ [1] | sort(**{payload.name: 1}) }}",
    ] {
        let agent = world
            .agent_as(json!({ "prompt": word.clone() + prompt }))
            .await;
        assert_eq!(
            world.run(&agent, &payload).await["error"]["type"],
            "invalid_agent"
        );
    }
    let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
    assert_unlogged(
        "prompt not rendered",
        &[&key, &word, payload["name"].as_str().unwrap()],
    );
}

#[tokio::test]
async fn managing_agents_leaves_no_secret_in_the_log_whatever_the_response() {
    let world = World::start().await;
    let (key, admin, token) = (
        marked("API key"),
        marked("admin token"),
        marked("webhook token"),
    );
    let model = json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m", "api_key": key });
    let create = |definition| world.manage(Method::POST, "/api/agents").json(&definition);
    answered(
        create(json!({ "name": "a", "model": model, "webhook_token": token })),
        201,
    )
    .await;
    answered(
        create(json!({ "name": "b", "model": model, "webhook_token": token })),
        409,
    )
    .await;
    answered(
        create(json!({ "name": "c", "model": { "api_key": { &key: &token } } })),
        400,
    )
    .await;
    answered(create(json!({ "name": "d", &key: 1 })), 400).await;
    answered(
        world
            .http
            .get(format!("{}/api/agents", world.url))
            .bearer_auth(&admin),
        401,
    )
    .await;
    answered(
        world
            .http
            .get(format!("{}/api/agents/{token}", world.url))
            .bearer_auth(&admin),
        401,
    )
    .await;
    assert_unlogged("agent created", &[&key, &admin, &token]);
}

#[tokio::test]
async fn a_store_that_fails_leaves_no_text_of_the_caller_in_the_log() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let key = marked("idempotency key");
    for operation in ["GetItem", "PutItem", "SendMessage"] {
        functions.wire.refuse(operation, 0);
        assert_eq!(functions.trigger(Some(&key)).await.status(), 503);
        functions.wire.stop_refusing();
    }
    let token = functions.webhook.rsplit('/').next().unwrap();
    assert_unlogged("request failed", &[&key, token]);
}
