//! Sessions of the console: the browser's cookie, and what it permits.

use std::time::Duration;

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, World, redaction, refused};

async fn sign_in(world: &World, admin_token: &str) -> Response {
    let request = world.http.post(format!("{}/api/session", world.url));
    request
        .json(&json!({ "admin_token": admin_token }))
        .send()
        .await
        .unwrap()
}

fn set_cookie(response: &Response) -> String {
    response.headers()[SET_COOKIE].to_str().unwrap().to_owned()
}

/// The `name=value` pair that a browser sends back.
async fn signed_in(world: &World) -> String {
    let cookie = set_cookie(&sign_in(world, ADMIN_TOKEN).await);
    let pair = cookie.split(';').next().unwrap().to_owned();
    redaction::secret("session", pair.split_once('=').unwrap().1);
    pair
}

fn cookie_name(world: &World) -> String {
    format!("agent_webhooks_{}", world.url.rsplit(':').next().unwrap())
}

fn with_cookie(world: &World, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    world
        .http
        .request(method, format!("{}{path}", world.url))
        .header(COOKIE, cookie)
}

#[tokio::test]
async fn the_admin_token_signs_in_for_twelve_hours() {
    let world = World::start().await;
    let response = sign_in(&world, ADMIN_TOKEN).await;
    assert_eq!(response.status(), 204);
    let cookie = set_cookie(&response);
    for part in ["; Path=/; Max-Age=43200; ", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "a local server has no TLS");

    let cookie = signed_in(&world).await;
    let ask = |path| with_cookie(&world, Method::GET, path, &cookie).send();
    assert_eq!(ask("/api/agents").await.unwrap().status(), 200);
    let session: Value = ask("/api/session").await.unwrap().json().await.unwrap();
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));

    world.time.forward(Duration::from_secs(12 * 3600));
    assert_eq!(
        refused(ask("/api/agents").await.unwrap(), 401).await.1,
        "unauthorized"
    );
    assert_eq!(
        refused(ask("/api/session").await.unwrap(), 401).await.1,
        "unauthorized"
    );
}

#[tokio::test]
async fn behind_tls_the_cookie_is_bound_to_the_host() {
    use api::admin::Admins;
    let admins = Admins::new(
        ADMIN_TOKEN,
        "https://hooks.example.com",
        store::Clock::system(),
    );
    let request = axum::http::Request::post("/api/session")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(
            json!({ "admin_token": ADMIN_TOKEN }).to_string(),
        ))
        .unwrap();
    let response = tower::ServiceExt::oneshot(api::admin::router(admins), request)
        .await
        .unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-agent_webhooks="), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_change_with_only_the_cookie_is_refused() {
    let world = World::start().await;
    let cookie = signed_in(&world).await;
    let create =
        || with_cookie(&world, Method::POST, "/api/agents", &cookie).json(&json!({ "name": "a" }));
    let (message, code) = refused(create().send().await.unwrap(), 403).await;
    assert_eq!(code, "cross_origin");
    assert!(message.contains("X-Console"), "{message}");
    assert_eq!(
        create()
            .header("x-console", "1")
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    let preflight = with_cookie(&world, Method::OPTIONS, "/api/agents", &cookie)
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-console");
    let answer = preflight.send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

/// Creates an agent with a session and these headers.
async fn create_agent_with(
    world: &World,
    cookie: &str,
    headers: &[(&'static str, &'static str)],
) -> Response {
    let request =
        with_cookie(world, Method::POST, "/api/agents", cookie).json(&json!({ "name": "a" }));
    headers
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
        .send()
        .await
        .unwrap()
}

async fn assert_cross_origin(response: Response, headers: &str) {
    assert_eq!(refused(response, 403).await.1, "cross_origin", "{headers}");
}

#[tokio::test]
async fn a_change_with_a_session_needs_exactly_one_valid_header_of_the_console() {
    let world = World::start().await;
    let cookie = signed_in(&world).await;
    for mark in ["", "0", "true", "11", "1 1", "one"] {
        let response = create_agent_with(&world, &cookie, &[("x-console", mark)]).await;
        assert_cross_origin(response, &format!("X-Console: {mark}")).await;
    }
    let twice = [("x-console", "1"), ("x-console", "1")];
    let response = create_agent_with(&world, &cookie, &twice).await;
    assert_cross_origin(response, "two headers").await;
}

#[tokio::test]
async fn only_the_consoles_own_pages_can_make_changes_with_a_session() {
    let world = World::start().await;
    let cookie = signed_in(&world).await;
    let create_from = async |site: &'static str| {
        let headers = [("x-console", "1"), ("sec-fetch-site", site)];
        create_agent_with(&world, &cookie, &headers).await
    };
    for site in ["cross-site", "same-site", "", "anything"] {
        assert_cross_origin(create_from(site).await, &format!("Sec-Fetch-Site: {site}")).await;
    }
    let two = [
        ("x-console", "1"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "cross-site"),
    ];
    let response = create_agent_with(&world, &cookie, &two).await;
    assert_cross_origin(response, "two sites").await;
    for site in ["same-origin", "none"] {
        let response = create_from(site).await;
        assert_eq!(response.status(), 201, "Sec-Fetch-Site: {site}");
    }
    // The admin token is not a cookie, so no browser sends it automatically.
    let request = world
        .manage(Method::POST, "/api/agents")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(
        request
            .json(&json!({ "name": "a" }))
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
}

/// Asserts that these cookies sign in, permit a change, and allow signing out and in again.
async fn assert_session_works(world: &World, cookies: &str) {
    let ask = |method, path| with_cookie(world, method, path, cookies);
    for path in ["/api/agents", "/api/session"] {
        let response = ask(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{cookies}");
    }
    let create = ask(Method::POST, "/api/agents")
        .header("x-console", "1")
        .json(&json!({ "name": "a" }));
    assert_eq!(create.send().await.unwrap().status(), 201, "{cookies}");
    let sign_out = ask(Method::DELETE, "/api/session").send().await.unwrap();
    assert_eq!(sign_out.status(), 204);
    let sign_in = ask(Method::POST, "/api/session").json(&json!({ "admin_token": ADMIN_TOKEN }));
    assert_eq!(sign_in.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn cookies_of_another_port_of_the_host_lock_no_user_out() {
    let world = World::start().await;
    let (session, name) = (signed_in(&world).await, cookie_name(&world));
    let expired = format!("{name}=1767225600000.{}", "0".repeat(64));
    let many = format!("{name}=x; ").repeat(20);
    for cookies in [
        // A browser sends the cookie with the longer path first.
        format!("{name}=x; {session}"),
        format!("{session}; {name}=x"),
        format!("{name}=; {name}; {expired}; {session}"),
        format!("{many}{session}"),
        format!(" {name}=x ;{session};"),
    ] {
        assert_session_works(&world, &cookies).await;
    }
    // The bytes of other cookies are ignored.
    for other in [&b"other=\xfc\xff"[..], "other=ü".as_bytes(), b"other=a\tb"] {
        let cookies = [other, b"; ", session.as_bytes()].concat();
        let value = reqwest::header::HeaderValue::from_bytes(&cookies).unwrap();
        let request = world
            .http
            .get(format!("{}/api/agents", world.url))
            .header(COOKIE, value);
        assert_eq!(request.send().await.unwrap().status(), 200, "{other:?}");
    }
    // In two `Cookie` headers, which HTTP/2 allows.
    let request = with_cookie(&world, Method::GET, "/api/agents", &format!("{name}=x"));
    assert_eq!(
        request
            .header(COOKIE, &session)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn forged_and_foreign_cookies_are_refused() {
    let world = World::start().await;
    let other = World::start_with(|settings| {
        settings.admin_token = Some("another-admin-token-for-tests".to_owned())
    })
    .await;
    let theirs = set_cookie(&sign_in(&other, "another-admin-token-for-tests").await);
    let theirs = theirs.split(';').next().unwrap().to_owned();
    let name = cookie_name(&world);
    let forged = [
        format!("{name}={}", theirs.split_once('=').unwrap().1),
        theirs,
        format!("{name}="),
        format!("{name}=99999999999999.00"),
        name,
    ];
    for cookie in &forged {
        let response = with_cookie(&world, Method::GET, "/api/agents", cookie)
            .send()
            .await
            .unwrap();
        assert_eq!(refused(response, 401).await.1, "unauthorized", "{cookie}");
    }
    let ours = signed_in(&world).await;
    let among_others = format!("theme=dark; {ours}; x=y");
    let response = with_cookie(&world, Method::GET, "/api/agents", &among_others)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn signing_out_deletes_the_cookie() {
    let world = World::start().await;
    let cookie = signed_in(&world).await;
    let response = with_cookie(&world, Method::DELETE, "/api/session", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 204);
    let gone = format!("{}=; Path=/; Max-Age=0; ", cookie_name(&world));
    assert!(set_cookie(&response).starts_with(&gone));
}

#[tokio::test]
async fn sessions_of_two_servers_on_one_machine_work_at_the_same_time() {
    let (one, other) = (World::start().await, World::start().await);
    let (ours, theirs) = (signed_in(&one).await, signed_in(&other).await);
    assert_ne!(
        ours.split('=').next(),
        theirs.split('=').next(),
        "a browser would keep the later one"
    );
    for world in [&one, &other] {
        let both = format!("{ours}; {theirs}");
        let response = with_cookie(world, Method::GET, "/api/agents", &both)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn guessing_the_admin_token_is_throttled_and_its_holder_at_the_same_address_is_not() {
    let world = World::start().await;
    let cookie = signed_in(&world).await;
    // Start a new minute.
    world.time.forward(Duration::from_secs(60));
    let mut waits = None;
    for guess in 0..41 {
        let response = sign_in(&world, &format!("guess {guess}")).await;
        if response.status() == 429 {
            waits = Some(response);
            break;
        }
        assert_eq!(refused(response, 401).await.1, "unauthorized");
    }
    let waits = waits.expect("the number of guesses is limited");
    let seconds: u64 = waits.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(refused(waits, 429).await.1, "rate_limited");
    let bearer = |token| {
        world
            .http
            .get(format!("{}/api/agents", world.url))
            .bearer_auth(token)
            .send()
    };
    refused(bearer("wrong").await.unwrap(), 429).await;
    // Behind a proxy, every caller has this address.
    assert_eq!(bearer(ADMIN_TOKEN).await.unwrap().status(), 200);
    assert_eq!(sign_in(&world, ADMIN_TOKEN).await.status(), 204);
    let session = with_cookie(&world, Method::GET, "/api/agents", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(session.status(), 200);

    world.time.forward(Duration::from_secs(seconds));
    refused(sign_in(&world, "wrong").await, 401).await;
}

#[tokio::test]
async fn a_malformed_sign_in_is_refused_with_the_required_field() {
    let world = World::start().await;
    for body in [
        "",
        "{}",
        "[]",
        r#"{"admin_token":1}"#,
        r#"{"admin_token":"x","and":2}"#,
    ] {
        let request = world
            .http
            .post(format!("{}/api/session", world.url))
            .body(body);
        let response = request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        let (message, code) = refused(response, 400).await;
        assert_eq!(code, "invalid_request");
        assert!(message.contains("admin_token"), "{message}");
    }
}
