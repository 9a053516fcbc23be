//! Tools behind OAuth 2: fake authorization servers, and servers that require their tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use futures::future::join_all;
use reqwest::Method;
use runner::PrivateHosts;
use serde_json::{Value, json};
use store::env::Env;

use super::safety::strict_world;
use super::{agent_with, get_order, only_result, run_with};
use crate::support::api::{Call, api_response};
use crate::support::mcp::mcp_with;
use crate::support::{FakeApi, FakeModel, Reply, World, redaction, refused, string};
use crate::turns::wants;

const SECRET: &str = "the-oauth-secret-0123456789";
const TOKEN: &str = "the-access-token-of-the-tool";
const TOKEN_PATH: &str = "/the-token-endpoint";

/// An authorization server. Its tokens are numbered and live for ten minutes.
struct Issuer {
    server: FakeApi,
    issued: Arc<AtomicU64>,
}

impl Issuer {
    async fn start() -> Self {
        let issued = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&issued);
        let server = FakeApi::start_slow(move |_, _| {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                // Long enough for other runs to arrive.
                tokio::time::sleep(Duration::from_millis(200)).await;
                token_reply(&format!("{TOKEN}-{number}"))
            })
        })
        .await;
        redaction::secret("client secret", SECRET);
        redaction::secret("access token", TOKEN);
        Self { server, issued }
    }

    fn oauth(&self) -> Value {
        oauth_at(&self.server)
    }

    fn issued(&self) -> u64 {
        self.issued.load(Ordering::SeqCst)
    }
}

fn oauth_at(server: &FakeApi) -> Value {
    json!({
        "grant": "client_credentials", "client_id": "shop",
        "client_secret": { "secret": "shop-oauth" }, "scope": "read",
        "token_url": format!("{}{TOKEN_PATH}", server.url()),
    })
}

fn token_reply(token: &str) -> Response {
    let reply = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 });
    axum::Json(reply).into_response()
}

fn unauthorized(challenge: &str) -> Response {
    let mut response = api_response(401, "application/json", "{}");
    let headers = response.headers_mut();
    headers.insert("www-authenticate", challenge.parse().unwrap());
    response
}

fn number_of(call: &Call) -> Option<&str> {
    call.header("authorization")
        .strip_prefix("Bearer ")?
        .strip_prefix(TOKEN)?
        .strip_prefix('-')
}

/// An API that accepts only tokens from this number on, and sends back what it got.
async fn api_from(first: u64) -> FakeApi {
    FakeApi::start(move |_, call| {
        let number = number_of(call).and_then(|number| number.parse::<u64>().ok());
        match number {
            Some(number) if number >= first => {
                let seen = call.header("authorization").to_owned();
                axum::Json(json!({ "seen": seen })).into_response()
            }
            _ => unauthorized("Bearer error=\"invalid_token\""),
        }
    })
    .await
}

/// A model that calls the tool in every run.
async fn steady_caller(tool: &'static str) -> FakeModel {
    FakeModel::start(move |_, asked| {
        let has_result = asked.body.to_string().contains("tool_call_id");
        match has_result {
            true => Reply::Text("That is how it stands."),
            false => match tool {
                "add" => wants(&[("add", r#"{"a":7}"#)]),
                _ => wants(&[("get_order", r#"{"id":"7"}"#)]),
            },
        }
    })
    .await
}

async fn world_with_secret() -> World {
    let world = World::start().await;
    world.store_secret("shop-oauth", SECRET).await;
    world
}

fn assert_all(ended: &[Value], status: &str) {
    for ended in ended {
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        assert_eq!(only_result(ended).0, status, "{ended}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_runs_and_again_before_it_expires_and_is_never_shown() {
    let (issuer, api) = (Issuer::start().await, api_from(0).await);
    let model = steady_caller("get_order").await;
    let world = world_with_secret().await;
    let mut tool = api.tool(get_order());
    tool["oauth"] = issuer.oauth();
    let agent = agent_with(&world, &model, tool).await;
    let runs = join_all((0..5).map(|_| world.run(&agent, "{}"))).await;
    assert_all(&runs, "ok");
    assert_eq!(issuer.issued(), 1);
    let call = &issuer.server.calls()[0];
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("POST", TOKEN_PATH)
    );
    assert_eq!(call.text, "grant_type=client_credentials&scope=read");
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("shop:{SECRET}"));
    assert_eq!(call.header("authorization"), format!("Basic {basic}"));
    assert!(api.calls().iter().all(|call| number_of(call) == Some("1")));

    world.time.forward(Duration::from_secs(530));
    assert_all(&[world.run(&agent, "{}").await], "ok");
    assert_eq!(issuer.issued(), 1);
    world.time.forward(Duration::from_secs(15));
    let last = world.run(&agent, "{}").await;
    assert_eq!(issuer.issued(), 2);

    // The API sent its token back.
    assert_eq!(only_result(&last).1, r#"{"seen":"Bearer [secret]"}"#);
    let asked: Vec<Value> = model.asked().into_iter().map(|asked| asked.body).collect();
    let read = world.manage(Method::GET, &format!("/api/agents/{}", agent.id));
    let tasks = world.manage(Method::GET, "/api/tasks");
    for text in [
        json!(runs).to_string() + &last.to_string(),
        json!(asked).to_string(),
        read.send().await.unwrap().text().await.unwrap(),
        tasks.send().await.unwrap().text().await.unwrap(),
        redaction::logged_text(),
    ] {
        assert!(!text.contains(TOKEN) && !text.contains(SECRET) && !text.contains(&basic));
    }
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_renewed_once() {
    let issuer = Issuer::start().await;
    let model = steady_caller("get_order").await;
    let world = world_with_secret().await;
    for (first, status, calls, issued) in [(2, "ok", 2, 2), (99, "error", 2, 3)] {
        let api = api_from(first).await;
        let mut tool = api.tool(get_order());
        tool["oauth"] = issuer.oauth();
        let ended = run_with(&world, &model, tool).await;
        assert_all(&[ended], status);
        assert_eq!((api.calls().len(), issuer.issued()), (calls, issued));
        let keys: Vec<String> = api.calls().iter().map(|call| call.key().into()).collect();
        assert_eq!(keys[0], keys[1]);
    }
}

/// The documents and the tokens of an authorization server at `/tenant`, which supports only
/// secrets in the form, and the metadata of an MCP server.
fn metadata(path: &str, origin: &str, resource: &str) -> Response {
    match path {
        "/.well-known/oauth-protected-resource/mcp" => axum::Json(json!({
            "resource": resource, "authorization_servers": [format!("{origin}/tenant")],
            "scopes_supported": ["desk.read", "desk.write"],
        }))
        .into_response(),
        "/tenant/.well-known/openid-configuration" => axum::Json(json!({
            "issuer": format!("{origin}/tenant"), "token_endpoint": format!("{origin}{TOKEN_PATH}"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        }))
        .into_response(),
        _ => api_response(404, "text/plain", "no such document"),
    }
}

/// An MCP server that is its own authorization server. Its tools require tokens from this number
/// on. The challenge names the metadata if `challenge` says so.
async fn mcp_behind_oauth(first: u64, challenge: &'static str) -> FakeApi {
    let issued = AtomicU64::new(0);
    redaction::secret("client secret", SECRET);
    redaction::secret("access token", TOKEN);
    mcp_with(move |call| {
        let origin = format!("http://{}", call.header("host"));
        let number = number_of(call).and_then(|number| number.parse::<u64>().ok());
        let least = match call.body["method"].as_str() {
            Some("tools/call") => first,
            _ => 1,
        };
        let response = match call.path.as_str() {
            TOKEN_PATH => {
                let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
                token_reply(&format!("{TOKEN}-{number}"))
            }
            "/mcp" if number.is_some_and(|number| number >= least) => return None,
            "/mcp" => unauthorized(&challenge.replace("ORIGIN", &origin)),
            path => metadata(path, &origin, &format!("{origin}/mcp")),
        };
        Some(Box::pin(async { response }))
    })
    .await
}

fn mcp_tool(server: &FakeApi, oauth: &Value) -> Value {
    json!({
        "type": "mcp", "name": "desk", "url": format!("{}/mcp", server.url()), "allow": ["add"],
        "oauth": oauth,
    })
}

fn to_path<'c>(calls: &'c [Call], path: &str) -> Vec<&'c Call> {
    calls.iter().filter(|call| call.path == path).collect()
}

#[tokio::test]
async fn an_mcp_server_names_its_token_endpoint_and_a_token_is_fetched_once_for_all_runs() {
    let metadata = "ORIGIN/.well-known/oauth-protected-resource/mcp";
    let named = format!("Bearer scope=\"desk.read\", resource_metadata=\"{metadata}\"").leak();
    let model = steady_caller("add").await;
    let world = world_with_secret().await;
    for (challenge, scope) in [(&*named, "desk.read"), ("Bearer", "desk.read+desk.write")] {
        let server = mcp_behind_oauth(1, challenge).await;
        let mut oauth = json!({
            "grant": "client_credentials", "client_id": "shop",
            "client_secret": { "secret": "shop-oauth" },
        });
        let agent = agent_with(&world, &model, mcp_tool(&server, &oauth)).await;
        let runs = join_all((0..3).map(|_| world.run(&agent, "{}"))).await;
        assert_all(&runs, "ok");
        let calls = server.calls();
        let [request] = to_path(&calls, TOKEN_PATH)[..] else {
            panic!("not one token request")
        };
        let resource = server.url().replace(':', "%3A").replace('/', "%2F") + "%2Fmcp";
        assert_eq!(
            request.text,
            format!(
                "grant_type=client_credentials&scope={scope}&resource={resource}&client_id=shop&client_secret={SECRET}"
            )
        );
        assert_eq!(request.header("authorization"), "");
        let without_token = calls.iter().filter(|call| call.path == "/mcp");
        assert_eq!(
            without_token
                .filter(|call| number_of(call).is_none())
                .count(),
            1
        );
        // The definition decides.
        oauth["scope"] = json!("mine");
        run_with(&world, &model, mcp_tool(&server, &oauth)).await;
        let calls = server.calls();
        assert!(to_path(&calls, TOKEN_PATH)[1].text.contains("&scope=mine&"));
    }
}

#[tokio::test]
async fn a_token_that_an_mcp_server_refuses_during_a_run_is_renewed_once() {
    let model = steady_caller("add").await;
    let world = world_with_secret().await;
    let oauth = json!({
        "grant": "client_credentials", "client_id": "shop", "scope": "read",
        "client_secret": { "secret": "shop-oauth" },
    });
    for (first, status) in [(2, "ok"), (99, "error")] {
        let server = mcp_behind_oauth(first, "Bearer").await;
        let ended = run_with(&world, &model, mcp_tool(&server, &oauth)).await;
        assert_all(&[ended], status);
        let calls = server.calls();
        assert_eq!(to_path(&calls, TOKEN_PATH).len(), 2);
        let tool_calls = calls
            .iter()
            .filter(|call| call.body["method"] == "tools/call");
        assert_eq!(tool_calls.count(), 2);
    }
}

#[tokio::test]
async fn a_signed_jwt_authenticates_the_client() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    redaction::secret("private key", &key.replace('\n', ""));
    let world = World::start().await;
    let stored = world
        .manage(Method::PUT, "/api/secrets/desk-key")
        .json(&json!({ "value": key }));
    assert_eq!(stored.send().await.unwrap().status(), 204);
    let model = steady_caller("add").await;
    let server = mcp_behind_oauth(1, "Bearer").await;
    let mut oauth = json!({
        "grant": "client_credentials", "client_id": "shop", "scope": "read",
        "client_assertion": { "secret": "desk-key", "algorithm": "ES256" },
    });
    assert_all(
        &[run_with(&world, &model, mcp_tool(&server, &oauth)).await],
        "ok",
    );
    let calls = server.calls();
    let request = to_path(&calls, TOKEN_PATH)[0];
    let form: Vec<(String, String)> = form_urlencoded::parse(request.text.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        let found = form.iter().find(|(field, _)| field == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(
        (
            field("client_assertion_type").as_str(),
            field("client_id").as_str()
        ),
        (kind, "shop")
    );
    let assertion = field("client_assertion");
    let parts: Vec<Vec<u8>> = assertion
        .split('.')
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap())
        .collect();
    let [header, claims, signature] = &parts[..] else {
        panic!("{assertion}")
    };
    assert_eq!(header, br#"{"alg":"ES256","typ":"JWT"}"#);
    let claims: Value = serde_json::from_slice(claims).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("shop"), &json!("shop"))
    );
    assert_eq!(claims["aud"], format!("{}/tenant", server.url()));
    assert_eq!(
        claims["exp"].as_u64(),
        claims["iat"].as_u64().map(|at| at + 300)
    );
    assert_eq!(signature.len(), 64);

    // The key is not one for this algorithm.
    oauth["client_assertion"]["algorithm"] = json!("RS256");
    let ended = run_with(&world, &model, mcp_tool(&server, &oauth)).await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    let says = "the secret `desk-key` must be a private key for RS256 as PEM";
    assert!(string(&ended["result"]).contains(says), "{ended}");
}

/// Responses of a token endpoint, the type of the error, and what it says.
const ERRORS: [(u16, &str, &str, &str); 7] = [
    (
        401,
        r#"{"error":"invalid_client","error_description":"hello-from-the-endpoint"}"#,
        "invalid_agent",
        "check `oauth.client_id` and the secret `shop-oauth`",
    ),
    (
        400,
        r#"{"error":"invalid_scope"}"#,
        "invalid_agent",
        "check `oauth.scope`",
    ),
    (
        400,
        r#"{"error":"hello-from-the-endpoint"}"#,
        "invalid_agent",
        "400 Bad Request: check `oauth`",
    ),
    (
        302,
        "hello-from-the-endpoint",
        "invalid_agent",
        "answered 302 Found",
    ),
    (
        200,
        "hello-from-the-endpoint",
        "invalid_agent",
        "not the JSON of a token",
    ),
    (
        503,
        r#"{"error":"hello-from-the-endpoint"}"#,
        "tool_error",
        "503 Service Unavailable",
    ),
    (
        429,
        "hello-from-the-endpoint",
        "tool_error",
        "429 Too Many Requests",
    ),
];

/// The model is not called, and what the task says contains no text of the server.
#[tokio::test]
async fn an_error_of_the_token_endpoint_says_what_to_change_and_not_what_the_server_wrote() {
    let model = FakeModel::saying("It went on all the same.").await;
    let world = world_with_secret().await;
    redaction::secret("text of a token endpoint", "hello-from-the-endpoint");
    for (status, body, kind, says) in ERRORS {
        let server = FakeApi::start(move |_, _| {
            let mut response = api_response(status, "application/json", body);
            let to = "/elsewhere".parse().unwrap();
            response.headers_mut().insert("location", to);
            response
        })
        .await;
        let api = api_from(0).await;
        let mut tool = api.tool(get_order());
        tool["oauth"] = oauth_at(&server);
        let definition = json!({ "tools": [tool], "limits": { "timeout_seconds": 2 } });
        let agent = world.agent(&model, definition).await;
        let ended = world.run(&agent, "{}").await;
        assert_eq!(ended["error"]["type"], kind, "{ended}");
        assert_eq!(ended["error"]["retryable"], kind == "tool_error", "{ended}");
        let result = string(&ended["result"]);
        assert!(
            result.contains(says) && result.contains("127.0.0.1"),
            "{ended}"
        );
        let shown = ended.to_string() + &redaction::logged_text();
        assert!(!shown.contains("hello-from") && !shown.contains(SECRET));
        assert!(api.calls().is_empty() && to_path(&server.calls(), "/elsewhere").is_empty());
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_at_a_private_address_is_not_called() {
    let (issuer, api) = (Issuer::start().await, api_from(0).await);
    let model = FakeModel::saying("It went on all the same.").await;
    let world = strict_world(&model).await;
    world.store_secret("shop-oauth", SECRET).await;
    let mut tool = api.tool(get_order());
    tool["oauth"] = issuer.oauth();
    let not_allowed = "the address of its token endpoint is not allowed here";
    let ended = run_with(&world, &model, tool).await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    assert!(string(&ended["result"]).contains(not_allowed), "{ended}");

    // The server is allowed, and names one that is not.
    let elsewhere = issuer.server.url();
    let server = FakeApi::start(move |_, call| match call.path.as_str() {
        "/mcp" => unauthorized("Bearer"),
        path => metadata(
            path,
            &elsewhere,
            &format!("http://{}/mcp", call.header("host")),
        ),
    })
    .await;
    let hosts = format!(
        "{},{}",
        model.origin.trim_start_matches("http://"),
        server.host
    );
    let env = Env::from_fn(move |name| {
        (name == "AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS").then(|| hosts.clone())
    });
    let hosts = PrivateHosts::from_env(&env, PrivateHosts::none()).unwrap();
    let world = World::start_with(move |settings| settings.private_hosts = hosts).await;
    world.store_secret("shop-oauth", SECRET).await;
    let mut oauth = issuer.oauth();
    oauth.as_object_mut().unwrap().remove("token_url");
    let ended = run_with(&world, &model, mcp_tool(&server, &oauth)).await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    assert!(string(&ended["result"]).contains(not_allowed), "{ended}");
    assert!(issuer.server.calls().is_empty() && model.asked().is_empty());
}

#[tokio::test]
async fn an_mcp_server_without_usable_metadata_ends_the_task_with_what_to_change() {
    let model = FakeModel::saying("It went on all the same.").await;
    let world = world_with_secret().await;
    let oauth = json!({
        "grant": "client_credentials", "client_id": "shop",
        "client_secret": { "secret": "shop-oauth" },
    });
    for (resource, says) in [
        (
            "https://other.example/mcp",
            "has the metadata of another resource",
        ),
        ("", "has no metadata of an authorization server"),
    ] {
        let server = FakeApi::start(move |_, call| match call.path.as_str() {
            "/mcp" => unauthorized("Bearer"),
            _ if resource.is_empty() => api_response(404, "text/plain", ""),
            path => metadata(path, "http://127.0.0.1:1", resource),
        })
        .await;
        let ended = run_with(&world, &model, mcp_tool(&server, &oauth)).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
        let result = string(&ended["result"]);
        assert!(
            result.contains(says) && result.contains("set `oauth.token_url`"),
            "{ended}"
        );
        let sent = json!(
            server
                .calls()
                .iter()
                .map(|call| &call.text)
                .collect::<Vec<_>>()
        );
        assert!(!sent.to_string().contains(SECRET));
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn an_invalid_oauth_is_refused_and_its_secret_is_in_use() {
    let world = world_with_secret().await;
    let (issuer, api) = (Issuer::start().await, api_from(0).await);
    let mut tool = api.tool(get_order());
    tool["oauth"] = issuer.oauth();
    tool["headers"] = json!({ "Authorization": { "secret": "shop-oauth" } });
    let definition = json!({ "name": "a", "tools": [tool] });
    let create = world.manage(Method::POST, "/api/agents").json(&definition);
    let (message, _) = refused(create.send().await.unwrap(), 400).await;
    assert!(
        message.contains("`oauth` and the header `Authorization`"),
        "{message}"
    );

    tool.as_object_mut().unwrap().remove("headers");
    world.agent_as(json!({ "tools": [tool] })).await;
    let stored = world.manage(Method::PUT, "/api/secrets/shop-oauth");
    let stored = stored
        .json(&json!({ "value": SECRET }))
        .send()
        .await
        .unwrap();
    assert_eq!(stored.status(), 204);
    let delete = world.manage(Method::DELETE, "/api/secrets/shop-oauth");
    let (message, _) = refused(delete.send().await.unwrap(), 409).await;
    assert!(message.contains("tested"), "{message}");
    let list = world
        .manage(Method::GET, "/api/secrets")
        .send()
        .await
        .unwrap();
    let list: Value = list.json().await.unwrap();
    assert_eq!(
        list["secrets"][0]["agents"].as_array().unwrap().len(),
        1,
        "{list}"
    );
}
