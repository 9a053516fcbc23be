//! Addresses that tools may not call, and secrets that they never reveal.

use std::sync::Arc;

use axum::response::IntoResponse as _;
use runner::PrivateHosts;
use serde_json::{Value, json};
use store::env::Env;
use tokio::sync::Notify;

use super::{caller, get_order, only_result, run_with, shown};
use crate::support::api::api_response;
use crate::support::{FakeApi, FakeModel, Reply, World, redaction, refused, string};
use crate::turns::wants;

const SECRET: &str = "the-shop-key-0123456789";

/// A server whose tools can call no private host except the model's.
pub(super) async fn strict_world(model: &FakeModel) -> World {
    let host = model
        .url
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches("/v1")
        .to_owned();
    let env = Env::from_fn(move |name| {
        (name == "AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS").then(|| host.clone())
    });
    let hosts = PrivateHosts::from_env(&env, PrivateHosts::none()).unwrap();
    World::start_with(move |settings| settings.private_hosts = hosts).await
}

#[tokio::test]
async fn a_tool_reaches_no_private_address_however_it_is_written() {
    let api = FakeApi::saying(json!({ "reached": true })).await;
    let port = api.host.rsplit(':').next().unwrap();
    let model = FakeModel::start(|number, _| match number % 2 {
        0 => wants(&[("get_order", r#"{"id":"7"}"#)]),
        _ => Reply::Text("That is how it stands."),
    })
    .await;
    let world = strict_world(&model).await;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        // A name that resolves to a private address. It is checked when the connection resolves it.
        "localhost",
        "LOCALHOST",
    ] {
        let tool = json!({
            "type": "http", "name": "api", "base_url": format!("http://{host}:{port}"), "operations": get_order(),
        });
        let ended = run_with(&world, &model, tool).await;
        assert_eq!(
            only_result(&ended),
            ("error", "The address of this tool is not allowed here."),
            "{host}"
        );
    }
    assert!(api.calls().is_empty());
    assert!(redaction::logged_text().contains("call of a tool refused"));
    // The same server is reachable if it is allowed.
    let world = World::start().await;
    assert_eq!(
        only_result(&run_with(&world, &model, api.tool(get_order())).await).0,
        "ok"
    );
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let inner = FakeApi::saying(json!({ "reached": true })).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/inner", inner.url());
        let api = FakeApi::start(move |_, _| {
            let mut response = api_response(status, "text/plain", "see there");
            response
                .headers_mut()
                .insert("location", target.parse().unwrap());
            response
        })
        .await;
        let model = caller(&[("get_order", r#"{"id":"7"}"#)]).await;
        let world = World::start().await;
        let ended = run_with(&world, &model, api.tool(get_order())).await;
        let (outcome, result) = only_result(&ended);
        assert!(
            outcome == "error" && result.contains("which is not followed"),
            "{result}"
        );
        let target = format!("a redirect to {}/inner, ", inner.url());
        assert!(result.contains(&target), "{result}");
        assert!(!result.contains("reached"), "{result}");
    }
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn a_base_url_with_credentials_or_of_another_scheme_is_refused() {
    let world = World::start().await;
    for base_url in [
        "ftp://shop.example",
        "file:///etc",
        "gopher://shop.example",
        "http://u:p@shop.example",
        "unix:/run/x",
        "//shop",
    ] {
        let tool = json!({ "type": "http", "name": "api", "base_url": base_url, "operations": get_order() });
        let create = world
            .manage(reqwest::Method::POST, "/api/agents")
            .json(&json!({ "name": "a", "tools": [tool] }));
        let (message, _) = refused(create.send().await.unwrap(), 400).await;
        assert!(
            message.contains("`base_url` of the tool `api`"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_secret_reaches_only_the_server_of_its_tool() {
    redaction::secret("tool secret", SECRET);
    // The server sends back the secret.
    let api = FakeApi::start(|number, call| {
        let seen = call.header("authorization").to_owned();
        match number {
            0 => axum::Json(json!({ "seen": seen })).into_response(),
            _ => api_response(401, "text/plain", seen),
        }
    })
    .await;
    let model = FakeModel::start(|number, _| match number {
        0 | 1 => wants(&[("get_order", r#"{"id":"7"}"#)]),
        _ => Reply::Text("It was shown nothing."),
    })
    .await;
    let world = World::start().await;
    world.store_secret("shop/key", SECRET).await;
    let mut tool = api.tool(get_order());
    tool["headers"] = json!({ "Authorization": { "secret": "shop/key", "prefix": "Bearer " } });
    let agent = world.agent(&model, json!({ "tools": [tool] })).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(
        api.calls()[0].header("authorization"),
        format!("Bearer {SECRET}")
    );
    let results: Vec<String> = shown(&ended)
        .iter()
        .map(|call| string(&call["result"]))
        .collect();
    assert_eq!(
        results,
        [
            r#"{"seen":"Bearer [secret]"}"#,
            "The server answered 401 Unauthorized: Bearer [secret]"
        ]
    );
    let asked: Vec<Value> = model.asked().into_iter().map(|asked| asked.body).collect();
    let read = world
        .manage(reqwest::Method::GET, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    for text in [
        ended.to_string(),
        json!(asked).to_string(),
        read.text().await.unwrap(),
        redaction::logged_text(),
    ] {
        assert!(!text.contains(SECRET));
    }
}

/// The calls of one turn run concurrently. One is refused, and the secret of both is read again.
#[tokio::test]
async fn a_replaced_secret_is_read_again_and_no_call_shows_the_old_one() {
    const OLD: &str = "the-old-secret-of-the-api";
    const NEW: &str = "the-new-secret-of-the-api";
    for secret in [OLD, NEW] {
        redaction::secret("tool secret", secret);
    }
    let world = World::start().await;
    world.store_secret("api", OLD).await;
    let (secrets, renewed) = (world.secrets_file(), Arc::new(Notify::new()));
    let api = FakeApi::start_slow(move |_, call| {
        let (sent, is_slow) = (
            call.header("x-api-key").to_owned(),
            call.path.ends_with("slow"),
        );
        let (secrets, renewed) = (secrets.clone(), Arc::clone(&renewed));
        Box::pin(async move {
            match (is_slow, sent == NEW) {
                (true, _) => renewed.notified().await,
                (false, true) => renewed.notify_one(),
                (false, false) => {
                    store::Secrets::file(secrets).put("api", NEW).await.unwrap();
                    return api_response(401, "text/plain", String::new());
                }
            }
            api_response(200, "text/plain", format!("You sent {sent}."))
        })
    })
    .await;
    let model = caller(&[
        ("get_order", r#"{"id":"slow"}"#),
        ("get_order", r#"{"id":"quick"}"#),
    ])
    .await;
    let mut tool = api.tool(get_order());
    tool["headers"] = json!({ "X-Api-Key": { "secret": "api" } });
    let ended = run_with(&world, &model, tool).await;
    for call in shown(&ended) {
        assert_eq!(
            (&call["status"], &call["result"]),
            (&json!("ok"), &json!("You sent [secret]."))
        );
    }
    let mut sent: Vec<String> = api
        .calls()
        .iter()
        .map(|call| call.header("x-api-key").to_owned())
        .collect();
    sent.sort();
    assert_eq!(sent, [NEW, OLD, OLD]);
}

#[tokio::test]
async fn a_secret_that_is_missing_or_not_a_header_value_ends_the_task_before_the_model_is_called() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    world.store_secret("two-lines", "a\nb").await;
    for (secret, says) in [
        ("nowhere", "A secret of the agent's tools is missing"),
        ("two-lines", "in one line"),
    ] {
        let tool = json!({
            "type": "http", "name": "api", "base_url": "https://shop.example", "operations": get_order(),
            "headers": { "X-Api-Key": { "secret": secret } },
        });
        let ended = run_with(&world, &model, tool).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
        assert!(string(&ended["result"]).contains(says), "{ended}");
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn a_secret_of_an_agent_is_sent_to_no_tool() {
    let world = World::start().await;
    let model =
        json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m", "api_key": "the-model-key-1" });
    let agent = world.agent_as(json!({ "model": model })).await;
    let path = format!("/api/agents/{}", agent.id);
    let read: Value = world
        .manage(reqwest::Method::GET, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let tool = json!({
        "type": "http", "name": "api", "base_url": "https://shop.example", "operations": get_order(),
        "headers": { "X-Api-Key": read["model"]["api_key"] },
    });
    let patch = world
        .manage(reqwest::Method::PATCH, &path)
        .json(&json!({ "tools": [tool] }));
    let (message, _) = refused(patch.send().await.unwrap(), 400).await;
    assert!(message.contains("not start with `agents/`"), "{message}");
}

#[tokio::test]
async fn arguments_and_results_of_tools_are_in_no_log() {
    let word = |kind: &str| {
        let word = format!(
            "{}-{:016x}",
            kind.replace(' ', "-"),
            getrandom::u64().unwrap()
        );
        redaction::secret(kind, &word);
        word
    };
    let (argument, result) = (word("tool argument"), word("tool result"));
    let text = result.clone();
    let api = FakeApi::start(move |number, _| {
        api_response(
            if number == 0 { 200 } else { 500 },
            "text/plain",
            text.clone(),
        )
    })
    .await;
    let arguments = json!({ "id": argument }).to_string();
    let model = FakeModel::start(move |number, _| match number {
        0 | 1 => wants(&[("get_order", &arguments)]),
        2 => wants(&[("get_order", &json!({ "id": { &arguments: 1 } }).to_string())]),
        _ => Reply::Text("That is how it stands."),
    })
    .await;
    let world = World::start().await;
    let ended = run_with(&world, &model, api.tool(get_order())).await;
    assert_eq!(shown(&ended).len(), 3, "{ended}");
    let log = redaction::logged_text();
    assert!(log.contains("tool called"));
    for secret in [argument, result] {
        assert!(!log.contains(&secret));
    }
}
