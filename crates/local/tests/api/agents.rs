//! Managing agents.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{SMALL_ADMIN_TOKEN, functions};
use crate::support::{FakeModel, World, accepted, client, refused, string};

#[tokio::test]
async fn an_agent_is_created_listed_shown_updated_and_deleted() {
    let world = World::start().await;
    let agent = world
        .agent_as(json!({ "name": "triage", "prompt": "Hi {{ payload }}" }))
        .await;
    let path = format!("/api/agents/{}", agent.id);

    let all: Value = world
        .manage(Method::GET, "/api/agents")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(all["agents"][0]["agent_id"], agent.id.as_str());
    let patch = json!({ "name": "sorted", "prompt": null, "limits": { "max_turns": 3 } });
    let changed: Value = world
        .manage(Method::PATCH, &path)
        .json(&patch)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&changed["name"], &changed["limits"]["max_turns"]),
        (&json!("sorted"), &json!(3))
    );
    assert_eq!(changed["limits"]["timeout_seconds"], 240);
    let shown: Value = world
        .manage(Method::GET, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown, changed);
    assert!(shown.get("prompt").is_none());

    assert_eq!(
        world
            .manage(Method::DELETE, &path)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    refused(world.manage(Method::GET, &path).send().await.unwrap(), 404).await;
    refused(
        world.manage(Method::DELETE, &path).send().await.unwrap(),
        404,
    )
    .await;
}

#[tokio::test]
async fn nothing_is_returned_without_the_admin_token() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let webhook = format!("/api/agent_webhook?id={}", agent.id);
    let unknown = "/api/agents/00000000-0000-4000-8000-000000000000";
    for (method, path) in [
        (Method::GET, "/api/agents"),
        (Method::POST, "/api/agents"),
        (Method::GET, unknown),
        (Method::GET, &format!("/api/agents/{}", agent.id)),
        (Method::DELETE, &format!("/api/agents/{}", agent.id)),
        (Method::GET, &webhook),
    ] {
        for token in [
            None,
            Some(""),
            Some("wrong"),
            Some("an-admin-token-for-testz"),
        ] {
            let mut request = world
                .http
                .request(method.clone(), format!("{}{path}", world.url));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_eq!(refused(response, 401).await.1, "unauthorized");
        }
    }
}

#[tokio::test]
async fn a_webhook_url_is_the_same_every_time_until_it_is_rotated() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let path = format!("/api/agent_webhook?id={}", agent.id);
    for _ in 0..2 {
        let shown: Value = world
            .manage(Method::GET, &path)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(shown, json!({ "success": true, "webhook_url": agent.url }));
    }
    assert!(
        agent
            .url
            .starts_with(&format!("{}/api/webhooks/agents/", world.url))
    );
    refused(
        world
            .manage(Method::GET, "/api/agent_webhook")
            .send()
            .await
            .unwrap(),
        400,
    )
    .await;
    refused(
        world
            .manage(Method::GET, "/api/agent_webhook?id=x")
            .send()
            .await
            .unwrap(),
        404,
    )
    .await;
}

#[tokio::test]
async fn a_rotated_url_works_until_its_overlap_ends() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let old = world.agent(&model, json!({})).await;
    let rotate = async |overlap: Value| {
        let path = format!("/api/agents/{}/webhook/rotate", old.id);
        world
            .manage(Method::POST, &path)
            .json(&overlap)
            .send()
            .await
            .unwrap()
    };
    let rotated: Value = rotate(json!({ "overlap_seconds": 60 }))
        .await
        .json()
        .await
        .unwrap();
    let new = string(&rotated["webhook_url"]);
    assert_ne!(new, old.url);
    let key = |url: &str| {
        world
            .http
            .post(url)
            .header("idempotency-key", "k")
            .body("{}")
            .send()
    };
    let id = accepted(key(&new).await.unwrap()).await;
    assert_eq!(
        accepted(key(&old.url).await.unwrap()).await,
        id,
        "one agent, one key, one task"
    );
    world.time.forward(Duration::from_secs(61));
    refused(key(&old.url).await.unwrap(), 404).await;
    accepted(key(&new).await.unwrap()).await;

    let rotated: Value = rotate(json!({})).await.json().await.unwrap();
    refused(key(&new).await.unwrap(), 404).await;
    accepted(key(&string(&rotated["webhook_url"])).await.unwrap()).await;
    refused(rotate(json!({ "overlap_seconds": 2_592_001 })).await, 400).await;
    refused(rotate(json!({ "overlap": 1 })).await, 400).await;
}

#[tokio::test]
async fn no_older_url_works_longer_than_the_one_that_is_replaced() {
    let world = World::start().await;
    let agent = world.agent(&FakeModel::saying("x").await, json!({})).await;
    let path = format!("/api/agents/{}/webhook/rotate", agent.id);
    let rotate = async |seconds: u32| {
        let rotate = world
            .manage(Method::POST, &path)
            .json(&json!({ "overlap_seconds": seconds }));
        string(&rotate.send().await.unwrap().json::<Value>().await.unwrap()["webhook_url"])
    };
    let call = async |url: &str| world.http.post(url).body("{}").send().await.unwrap();
    let second = rotate(3600).await;
    let third = rotate(60).await;
    for working in [&agent.url, &second, &third] {
        accepted(call(working).await).await;
    }
    world.time.forward(Duration::from_secs(61));
    refused(call(&agent.url).await, 404).await;
    refused(call(&second).await, 404).await;
    let fourth = rotate(3600).await;
    let fifth = rotate(0).await;
    for ended in [&third, &fourth] {
        refused(call(ended).await, 404).await;
    }
    accepted(call(&fifth).await).await;
}

#[tokio::test]
async fn the_body_of_a_rotation_is_empty_or_an_object() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let path = format!("/api/agents/{}/webhook/rotate", agent.id);
    let rotate = async |body| {
        world
            .manage(Method::POST, &path)
            .body(body)
            .send()
            .await
            .unwrap()
    };
    for no_object in ["\r", " ", "null", "[1]"] {
        refused(rotate(no_object).await, 400).await;
    }
    for taken in ["", " {}\n"] {
        assert_eq!(rotate(taken).await.status(), 200, "{taken:?}");
    }
}

#[tokio::test]
async fn an_imported_token_works_is_shown_again_and_belongs_to_one_agent() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let token = "3F2504E0-4F89-41D3-9A0C-0305E82C3301";
    let agent = world.agent(&model, json!({ "webhook_token": token })).await;
    assert_eq!(
        agent.url,
        format!("{}/api/webhooks/agents/{}", world.url, token.to_lowercase())
    );
    accepted(
        world
            .http
            .post(format!("{}/api/webhooks/agents/{token}", world.url))
            .body("{}")
            .send()
            .await
            .unwrap(),
    )
    .await;
    let again = world
        .manage(Method::POST, "/api/agents")
        .json(&json!({ "name": "b", "webhook_token": token }));
    assert_eq!(
        refused(again.send().await.unwrap(), 409).await.1,
        "token_taken"
    );
    let stored = std::fs::read_to_string(world.secrets_file()).unwrap();
    assert_eq!(
        stored.matches("webhook-token").count(),
        1,
        "the refused agent stored no token: {stored}"
    );
    let patch = world
        .manage(Method::PATCH, &format!("/api/agents/{}", agent.id))
        .json(&json!({ "webhook_token": token }));
    refused(patch.send().await.unwrap(), 400).await;
    // The first agent's URL can still be shown after the second was refused.
    let path = format!("/api/agents/{}/webhook/rotate", agent.id);
    let rotated: Value = world
        .manage(Method::POST, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_ne!(rotated["webhook_url"], agent.url);
    refused(world.post(&agent, "{}").send().await.unwrap(), 404).await;
}

#[tokio::test]
async fn a_malformed_request_is_refused_in_json_with_what_to_change() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let huge = world
        .manage(Method::POST, "/api/agents")
        .body("x".repeat(1024 * 1024 + 1))
        .send()
        .await
        .unwrap();
    assert_eq!(refused(huge, 413).await.1, "unreadable_body");
    refused(
        world
            .manage(Method::GET, "/api/agents/%FF")
            .send()
            .await
            .unwrap(),
        404,
    )
    .await;
    let rotate = world
        .manage(
            Method::POST,
            &format!("/api/agents/{}/webhook/rotate", agent.id),
        )
        .body("[]");
    refused(rotate.send().await.unwrap(), 400).await;
    let shown = world
        .manage(Method::GET, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    assert_eq!(
        shown.json::<Value>().await.unwrap()["webhook_url"],
        agent.url.as_str()
    );
}

#[tokio::test]
async fn an_api_key_is_never_returned() {
    let world = World::start().await;
    let model =
        json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m", "api_key": "sk-very-secret" });
    let agent = world.agent_as(json!({ "model": model })).await;
    let shown = world
        .manage(Method::GET, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    let text = shown.text().await.unwrap();
    assert!(!text.contains("sk-very-secret"), "{text}");
    assert!(
        text.contains(&format!("agents/{}/model-api-key", agent.id)),
        "{text}"
    );
    let stored = || std::fs::read_to_string(world.secrets_file()).unwrap();
    assert!(stored().contains("sk-very-secret"));
    // The key is deleted when it is replaced or when its agent has no model any more.
    let path = format!("/api/agents/{}", agent.id);
    world
        .manage(Method::PATCH, &path)
        .json(&json!({ "model": null }))
        .send()
        .await
        .unwrap();
    assert!(!stored().contains("sk-very-secret"));
}

#[tokio::test]
async fn an_invalid_definition_is_refused_with_what_to_change() {
    let world = World::start().await;
    for (definition, says) in [
        (json!({}), "missing field `name`"),
        (
            json!({ "name": "a", "promt": "x" }),
            "unknown field `promt`, expected one of `name`, `prompt`",
        ),
        (
            json!({ "name": "a", "limits": { "timeout_seconds": 900 } }),
            "`limits.timeout_seconds` must be from 1 to 840",
        ),
        (json!([]), "must be a JSON object"),
    ] {
        let response = world
            .manage(Method::POST, "/api/agents")
            .json(&definition)
            .send()
            .await
            .unwrap();
        let (message, code) = refused(response, 400).await;
        assert!(message.contains(says), "{message}");
        assert_eq!(code, "invalid_agent");
    }
}

#[tokio::test]
async fn a_browser_gets_long_definitions_compressed() {
    let world = World::start().await;
    let text = "Goods can be returned within 30 days. ".repeat(1000);
    world
        .agent_as(json!({ "sources": [{ "title": "Policy", "text": text }] }))
        .await;
    let list = |encoding| {
        world
            .manage(Method::GET, "/api/agents")
            .header("accept-encoding", encoding)
            .send()
    };
    let (plain, packed) = (list("identity").await.unwrap(), list("gzip").await.unwrap());
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    for answer in [&plain, &packed] {
        assert_eq!(answer.headers()["vary"], "accept-encoding");
    }
    let length: usize = packed.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let (plain, packed) = (plain.bytes().await.unwrap(), packed.bytes().await.unwrap());
    assert_eq!(length, packed.len());
    assert!(packed.len() * 20 < plain.len());
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
}

/// Otherwise the response time would show which tokens exist.
#[tokio::test]
async fn a_disabled_or_expired_token_costs_the_same_calls_as_an_unknown_one() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let unknown = format!("{}/api/webhooks/agents/{}", functions.url, "0".repeat(40));
    let change = async |method: Method, path: &str, body: Value| {
        let url = format!("{}/api/agents/{}{path}", functions.url, functions.agent);
        let response = client()
            .request(method, url)
            .bearer_auth(SMALL_ADMIN_TOKEN)
            .json(&body)
            .send()
            .await;
        assert_eq!(response.unwrap().status(), 200);
        functions.wire.calls();
    };
    let cost = async |webhook: &str| {
        let answer = client().post(webhook).body("{}").send().await.unwrap();
        assert_eq!(refused(answer, 404).await.1, "agent_not_found");
        functions.wire.calls()
    };
    functions.wire.calls();
    for _ in 0..3 {
        assert_eq!(cost(&unknown).await, ["GetItem"]);
    }
    change(Method::PATCH, "", json!({ "enabled": false })).await;
    for _ in 0..3 {
        assert_eq!(cost(&functions.webhook).await, ["GetItem"], "disabled");
    }

    // A token that was cached while it was valid.
    change(Method::PATCH, "", json!({ "enabled": true })).await;
    change(
        Method::POST,
        "/webhook/rotate",
        json!({ "overlap_seconds": 60 }),
    )
    .await;
    accepted(functions.trigger(None).await).await;
    functions.wire.calls();
    accepted(functions.trigger(None).await).await;
    assert_eq!(
        functions.wire.calls(),
        ["PutItem", "SendMessage"],
        "a valid token is cached"
    );
    functions.time.forward(Duration::from_secs(61));
    for _ in 0..3 {
        assert_eq!(cost(&functions.webhook).await, ["GetItem"], "rotated away");
    }
}
