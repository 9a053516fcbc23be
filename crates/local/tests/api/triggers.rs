//! Every documented response of the webhook.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Agent, FakeModel, World, accepted, redaction, refused};

async fn world() -> (World, Agent, FakeModel) {
    let model = FakeModel::saying("Done.").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    (world, agent, model)
}

async fn post(
    world: &World,
    agent: &Agent,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Response {
    let body = body.into();
    redaction::payload(body.as_bytes().unwrap_or_default());
    let request = world.http.post(&agent.url).body(body);
    match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    }
    .send()
    .await
    .unwrap()
}

#[tokio::test]
async fn a_trigger_returns_a_task_id_whose_status_can_be_read_immediately() {
    let (world, agent, _) = world().await;
    let task = world.trigger(&agent, r#"{"event":"ping"}"#).await;
    let status = world.status(&task).await;
    assert_eq!(status["task_id"], task.as_str());
    assert_eq!(status["agent_id"], agent.id.as_str());
}

#[tokio::test]
async fn the_model_receives_the_payload_that_was_sent() {
    let (world, agent, model) = world().await;
    for sent in [
        r#"{"z":1.50,"a":123456789012345678901234567890,"m":1e5,"é":"日\u00e9\ud83d\ude00"}"#,
        "123456789012345678901234567890",
        "1.50",
        "[1,[2.0,null],{}]",
        r#""hello""#,
        "true",
    ] {
        assert_eq!(world.run(&agent, sent).await["status"], "SUCCESS");
        assert_eq!(model.asked().last().unwrap().user(), sent);
    }
    world.run(&agent, "\u{feff} {\"a\":1}\n").await;
    assert_eq!(model.asked().last().unwrap().user(), r#"{"a":1}"#);
}

#[tokio::test]
async fn a_query_or_a_form_is_an_object_of_strings() {
    let (world, agent, model) = world().await;
    let expected = r#"{"a":["1","2"],"b":"x y&ü","c":""}"#;
    let query = "a=1&b=x+y%26%C3%BC&a=2&c";
    let task = accepted(
        world
            .http
            .get(format!("{}?{query}", agent.url))
            .send()
            .await
            .unwrap(),
    )
    .await;
    world.ended(&task).await;
    assert_eq!(model.asked().last().unwrap().user(), expected);
    let response = post(
        &world,
        &agent,
        Some("application/x-www-form-urlencoded"),
        query,
    )
    .await;
    world.ended(&accepted(response).await).await;
    assert_eq!(model.asked().last().unwrap().user(), expected);
    let task = accepted(world.http.get(&agent.url).send().await.unwrap()).await;
    world.ended(&task).await;
    assert_eq!(model.asked().last().unwrap().user(), "{}");
}

#[tokio::test]
async fn every_json_content_type_is_accepted_and_others_are_refused_by_name() {
    let (world, agent, _) = world().await;
    for content_type in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "text/json",
        "application/vnd.github+json",
        "application/cloudevents+json; charset=\"utf-8\"",
    ] {
        accepted(post(&world, &agent, Some(content_type), "{}").await).await;
    }
    accepted(post(&world, &agent, None, "{}").await).await;
    for content_type in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
    ] {
        let (message, code) =
            refused(post(&world, &agent, Some(content_type), "{}").await, 415).await;
        assert!(message.contains("send application/json"), "{message}");
        assert_eq!(code, "unsupported_media_type");
    }
    let compressed = world
        .post(&agent, "{}")
        .header("content-encoding", "gzip")
        .send()
        .await
        .unwrap();
    let (message, _) = refused(compressed, 415).await;
    assert!(message.contains("uncompressed"), "{message}");
}

#[tokio::test]
async fn an_invalid_payload_is_refused_with_the_reason() {
    let (world, agent, model) = world().await;
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for (body, says) in [
        (b"{bad".to_vec(), "line 1 column 2"),
        (b"null".to_vec(), "null is not a payload"),
        (b"".to_vec(), "the body is empty"),
        (b"\"\xff\"".to_vec(), "not UTF-8"),
        (deep.into_bytes(), "128 levels"),
    ] {
        let (message, code) = refused(
            post(&world, &agent, Some("application/json"), body).await,
            400,
        )
        .await;
        assert!(message.contains(says), "{message}");
        assert_eq!(code, "invalid_payload");
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_arrives_complete() {
    let (world, agent, model) = world().await;
    // Random letters do not compress, so the payload stays large.
    let mut seed = 1_u64;
    let mut letters = String::new();
    while letters.len() < 1024 * 1024 - 2 {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        letters.push(char::from(b'!' + u8::try_from(seed >> 58).unwrap_or(0)).to_ascii_lowercase());
    }
    let body = json!(letters.replace(['"', '\\'], "x")).to_string();
    assert_eq!(body.len(), 1024 * 1024);
    assert_eq!(world.run(&agent, &body).await["status"], "SUCCESS");
    assert_eq!(model.asked().last().unwrap().user(), body);
    let (message, code) = refused(post(&world, &agent, None, body + " ").await, 413).await;
    assert_eq!(message, "The request body is larger than 1048576 bytes");
    assert_eq!(code, "payload_too_large");
}

#[tokio::test]
async fn an_unknown_malformed_disabled_or_deleted_token_is_an_unknown_agent() {
    let (world, agent, _) = world().await;
    let base = format!("{}/api/webhooks/agents", world.url);
    for token in [
        "nope",
        "0123456789abcdef0123456789abcdef01234567",
        "a%00b",
        "%FF%FE",
        "%C3%A9",
    ] {
        // The body is invalid as well, but it is not read.
        let response = world
            .http
            .post(format!("{base}/{token}"))
            .body("{bad")
            .send()
            .await
            .unwrap();
        assert_eq!(
            refused(response, 404).await,
            ("Agent not found".into(), "agent_not_found".into()),
            "{token}"
        );
    }
    let path = format!("/api/agents/{}", agent.id);
    world
        .manage(Method::PATCH, &path)
        .json(&json!({ "enabled": false }))
        .send()
        .await
        .unwrap();
    refused(world.post(&agent, "{}").send().await.unwrap(), 404).await;
    world
        .manage(Method::PATCH, &path)
        .json(&json!({ "enabled": true }))
        .send()
        .await
        .unwrap();
    world.trigger(&agent, "{}").await;
    world.manage(Method::DELETE, &path).send().await.unwrap();
    refused(world.post(&agent, "{}").send().await.unwrap(), 404).await;
}

#[tokio::test]
async fn other_methods_do_not_run_the_agent_and_get_the_allowed_methods() {
    let (world, agent, model) = world().await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD] {
        let response = world
            .http
            .request(method.clone(), &agent.url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(
            response.headers()["allow"],
            "GET, POST, OPTIONS",
            "{method}"
        );
    }
    // A task that is triggered after them runs, and is the only one.
    world.run(&agent, "{}").await;
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn any_page_may_trigger_and_send_a_key() {
    let (world, agent, _) = world().await;
    let preflight = world
        .http
        .request(Method::OPTIONS, &agent.url)
        .header("origin", "https://example.com")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,idempotency-key",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(
        preflight.headers()["access-control-allow-methods"],
        "GET,POST"
    );
    assert_eq!(
        preflight.headers()["access-control-allow-headers"],
        "content-type,authorization,idempotency-key"
    );
    let response = world
        .post(&agent, "{}")
        .header("origin", "https://example.com")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn an_unknown_address_is_refused_in_json() {
    let (world, agent, _) = world().await;
    for path in [
        "/x",
        "/api",
        "/API/task_status",
        "/api/task_status/",
        "/api/webhooks/agents/",
    ] {
        let response = world
            .http
            .get(format!("{}{path}", world.url))
            .send()
            .await
            .unwrap();
        refused(response, 404).await;
    }
    refused(
        world
            .http
            .post(format!("{}/", agent.url))
            .send()
            .await
            .unwrap(),
        404,
    )
    .await;
    let health: Value = world
        .http
        .get(format!("{}/api/health", world.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        health,
        json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })
    );
}
