//! What an unauthenticated caller, a caller or an operator's mistake must not be able to do.

use std::os::unix::fs::PermissionsExt as _;

use local::cli::{LogFormat, ServeArgs};
use local::serve::{Server, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use store::env::Env;
use tempfile::TempDir;

use crate::support::{ADMIN_TOKEN, FakeModel, World, client, refused};

#[tokio::test]
async fn the_key_of_one_agent_is_never_sent_to_the_model_of_another() {
    let thief = FakeModel::saying("x").await;
    let world = World::start().await;
    let model = json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m", "api_key": "sk-of-the-first-agent" });
    let token = "an-imported-webhook-token";
    let first = world
        .agent_as(json!({ "model": model, "webhook_token": token }))
        .await;
    let stored: Value =
        serde_json::from_slice(&std::fs::read(world.secrets_file()).unwrap()).unwrap();
    let names: Vec<&String> = stored.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let second = world.agent_as(json!({})).await;
    for name in names {
        let stolen = json!({ "base_url": thief.url, "name": "m", "api_key": { "secret": name } });
        let create = world
            .manage(Method::POST, "/api/agents")
            .json(&json!({ "name": "b", "model": stolen }));
        assert_eq!(
            refused(create.send().await.unwrap(), 400).await.1,
            "invalid_agent"
        );
        let path = format!("/api/agents/{}", second.id);
        let patch = world
            .manage(Method::PATCH, &path)
            .json(&json!({ "model": stolen }));
        assert_eq!(
            refused(patch.send().await.unwrap(), 400).await.1,
            "invalid_agent"
        );
    }
    // Its own key is unchanged by an update.
    let path = format!("/api/agents/{}", first.id);
    let renamed = world
        .manage(Method::PATCH, &path)
        .json(&json!({ "name": "renamed" }))
        .send()
        .await
        .unwrap();
    assert_eq!(renamed.status(), 200);
}

#[tokio::test]
async fn an_empty_secret_file_stops_the_start() {
    for name in ["admin-token", "signing-secret"] {
        let folder = TempDir::new().unwrap();
        let args = ServeArgs {
            listen: "127.0.0.1:0".to_owned(),
            data_dir: folder.path().to_owned(),
            public_url: None,
            log_format: LogFormat::Text,
        };
        let settings = || Settings::from_env(&Env::from_fn(|_| None)).unwrap();
        std::fs::write(folder.path().join(name), "\n").unwrap();
        let error = Server::start(&args, settings()).await.unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
        std::fs::remove_file(folder.path().join(name)).unwrap();
        Server::start(&args, settings()).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_signing_secret_is_not_silently_replaced() {
    let folder = TempDir::new().unwrap();
    let start = async || {
        let (listen, data_dir) = ("127.0.0.1:0".to_owned(), folder.path().to_owned());
        let args = ServeArgs {
            listen,
            data_dir,
            public_url: None,
            log_format: LogFormat::Text,
        };
        Server::start(&args, Settings::from_env(&Env::from_fn(|_| None)).unwrap()).await
    };
    drop(start().await.unwrap());
    let secret = folder.path().join("signing-secret");
    let saved = std::fs::read(&secret).unwrap();
    std::fs::write(&secret, "").unwrap();
    assert!(
        start()
            .await
            .unwrap_err()
            .to_string()
            .contains("agent rotate")
    );
    std::fs::remove_file(&secret).unwrap();
    assert!(
        start()
            .await
            .unwrap_err()
            .to_string()
            .contains("agent rotate")
    );
    assert!(!secret.exists());
    std::fs::write(&secret, saved).unwrap();
    start().await.unwrap();
}

#[tokio::test]
async fn a_start_whose_port_is_taken_leaves_the_folder_as_before_the_first_start() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = async |listen: String| {
        let data_dir = folder.path().to_owned();
        let args = ServeArgs {
            listen,
            data_dir,
            public_url: None,
            log_format: LogFormat::Text,
        };
        Server::start(&args, Settings::from_env(&Env::from_fn(|_| None)).unwrap()).await
    };
    let error = start(taken.local_addr().unwrap().to_string())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--listen"), "{error}");
    assert!(start("127.0.0.1:0".to_owned()).await.unwrap().is_new);
}

#[tokio::test]
async fn only_the_owner_can_read_secrets_in_the_data_folder() {
    let world = World::start_with(|settings| settings.admin_token = None).await;
    let model =
        json!({ "base_url": "http://127.0.0.1:1/v1", "name": "m", "api_key": "sk-very-secret" });
    let folder = world.secrets_file().parent().unwrap().to_owned();
    let admin_token = std::fs::read_to_string(folder.join("admin-token")).unwrap();
    let create = client()
        .post(format!("{}/api/agents", world.url))
        .bearer_auth(admin_token.trim());
    let made = create
        .json(&json!({ "name": "a", "model": model }))
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !["lock", "url"].contains(&name.as_str()) {
            assert_eq!(mode(&path), 0o600, "{name}");
            seen.push(name);
        }
    }
    for name in [
        "admin-token",
        "secrets.json",
        "signing-secret",
        "tables.sqlite",
    ] {
        assert!(seen.iter().any(|seen| seen == name), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_web_page_may_trigger_and_poll_but_not_manage() {
    let world = World::start().await;
    for (method, path) in [
        (Method::GET, "/api/agents"),
        (Method::OPTIONS, "/api/agents"),
    ] {
        let request = world.http.request(method, format!("{}{path}", world.url));
        let response = request
            .bearer_auth(ADMIN_TOKEN)
            .header("origin", "https://evil.example")
            .send()
            .await
            .unwrap();
        assert!(
            response
                .headers()
                .get("access-control-allow-origin")
                .is_none(),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn no_cache_stores_a_response() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let task = world.trigger(&agent, "{}").await;
    for request in [
        world.http.get(&agent.url),
        world
            .http
            .get(format!("{}/api/webhooks/agents/unknown", world.url)),
        world
            .http
            .get(format!("{}/api/task_status?task_id={task}", world.url)),
        world.http.get(format!("{}/api/task_status", world.url)),
        world.manage(Method::GET, "/api/agents"),
        world.manage(Method::GET, &format!("/api/agent_webhook?id={}", agent.id)),
        world.http.get(format!("{}/api/agents", world.url)),
        world.http.get(format!("{}/elsewhere", world.url)),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(
            response.headers()["cache-control"],
            "no-store",
            "{}",
            response.url()
        );
    }
}

#[tokio::test]
async fn no_browser_sniffs_the_type_of_a_response() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let functions = crate::support::functions::functions(&model).await;
    let mut answers = Vec::new();
    for url in [&world.url, &functions.url] {
        for path in [
            "/api/health",
            "/api/task_status",
            "/api/agents",
            "/api/webhooks/agents/unknown",
            "/x",
        ] {
            answers.push(world.http.get(format!("{url}{path}")).send().await.unwrap());
        }
    }
    for request in [
        world.http.get(&agent.url),
        world.http.head(&agent.url),
        world
            .http
            .request(Method::OPTIONS, &agent.url)
            .header("origin", "https://a.example"),
        world.http.put(&agent.url),
        world.http.post(&agent.url).body("x".repeat(2_000_000)),
        world.manage(Method::GET, "/api/agents"),
        world.manage(Method::DELETE, &format!("/api/agents/{}", agent.id)),
        world.http.get(format!("{}/api/docs", world.url)),
        world.http.get(format!("{}/api/openapi.json", world.url)),
        world.http.get(format!("{}/console/", world.url)),
        // Refused before routing.
        world
            .http
            .get(format!("{}/api/agents", world.url))
            .header("host", "a b"),
    ] {
        answers.push(request.send().await.unwrap());
    }
    for answer in answers {
        let sniffing = answer.headers().get("x-content-type-options");
        assert_eq!(
            sniffing.unwrap(),
            "nosniff",
            "{} {}",
            answer.status(),
            answer.url()
        );
    }
}

#[tokio::test]
async fn a_guessable_admin_token_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let start = async |given: Option<&str>| {
        let args = ServeArgs {
            listen: "127.0.0.1:0".to_owned(),
            data_dir: folder.path().to_owned(),
            public_url: None,
            log_format: LogFormat::Text,
        };
        let mut settings = Settings::from_env(&Env::from_fn(|_| None)).unwrap();
        settings.admin_token = given.map(str::to_owned);
        Server::start(&args, settings).await
    };
    for weak in ["t", "123456789012345", " 12345678901234 "] {
        let message = store::error_chain(&start(Some(weak)).await.unwrap_err());
        assert!(message.contains("at least 16 characters"), "{message}");
        assert!(message.contains("openssl rand -hex 32"), "{message}");
    }
    drop(start(Some("1234567890123456")).await.unwrap());
    std::fs::write(folder.path().join("admin-token"), "123456789012345\n").unwrap();
    let message = store::error_chain(&start(None).await.unwrap_err());
    assert!(
        message.contains("admin-token") && message.contains("at least 16 characters"),
        "{message}"
    );
    std::fs::write(folder.path().join("admin-token"), "1234567890123456\n").unwrap();
    start(None).await.unwrap();
}
