//! Secrets that an operator stores and agents refer to.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use reqwest::Method;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

use crate::support::functions::functions;
use crate::support::{ADMIN_TOKEN, FakeModel, World, client, redaction, refused};

async fn put_secret(world: &World, name: &str, value: &str) -> u16 {
    redaction::secret("stored secret", value);
    let put = world
        .manage(Method::PUT, &format!("/api/secrets/{name}"))
        .json(&json!({ "value": value }));
    put.send().await.unwrap().status().as_u16()
}

async fn listed(world: &World) -> Value {
    world
        .manage(Method::GET, "/api/secrets")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_stored_secret_reaches_the_model_is_replaced_and_is_deleted_once_no_agent_refers_to_it() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    assert_eq!(
        put_secret(&world, "team/openai", "sk-first-of-the-team").await,
        204
    );
    let key = json!({ "secret": "team/openai" });
    let config = json!({ "base_url": model.url, "name": "m", "api_key": key });
    let agent = world
        .agent_as(json!({ "name": "refers", "model": config }))
        .await;
    world.run(&agent, "{}").await;
    assert_eq!(
        put_secret(&world, "team/openai", "sk-second of the team").await,
        204
    );
    world.run(&agent, "{}").await;
    let sent: Vec<_> = model
        .asked()
        .iter()
        .map(|asked| asked.headers["authorization"].clone())
        .collect();
    assert_eq!(
        sent,
        [
            "Bearer sk-first-of-the-team",
            "Bearer sk-second of the team"
        ]
    );

    let all = listed(&world).await;
    assert_eq!(
        all,
        json!({ "secrets": [{ "name": "team/openai", "agents": [agent.id] }] })
    );
    let delete = || {
        world
            .manage(Method::DELETE, "/api/secrets/team/openai")
            .send()
    };
    let (message, code) = refused(delete().await.unwrap(), 409).await;
    assert_eq!(code, "secret_in_use");
    assert!(message.contains("refers"), "{message}");
    let path = format!("/api/agents/{}", agent.id);
    world.manage(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(delete().await.unwrap().status(), 204);
    assert_eq!(
        refused(delete().await.unwrap(), 404).await.1,
        "secret_not_found"
    );
    assert_eq!(listed(&world).await, json!({ "secrets": [] }));
    let stored = std::fs::read_to_string(world.secrets_file()).unwrap();
    assert_eq!(stored, "{}", "the secret is deleted");
}

#[tokio::test]
async fn a_stored_secret_survives_a_restart() {
    let world = World::start().await;
    put_secret(&world, "crm", "a-secret-over-a-restart").await;
    let world = world.restart().await;
    assert_eq!(listed(&world).await["secrets"][0]["name"], "crm");
}

#[tokio::test]
async fn an_invalid_secret_is_refused_with_what_to_change_and_without_the_secret() {
    let world = World::start().await;
    let put = |name: &str, body: String| {
        world
            .manage(Method::PUT, &format!("/api/secrets/{name}"))
            .body(body)
    };
    let value = json!({ "value": "a-fine-secret" }).to_string();
    for (name, says) in [
        ("a%20b", "letters, digits"),
        ("%FF", "letters, digits"),
        ("a//b", "letters, digits"),
        ("agents/x", "Names that start with `agents/`"),
    ] {
        for request in [
            put(name, value.clone()),
            world.manage(Method::DELETE, &format!("/api/secrets/{name}")),
        ] {
            let (message, code) = refused(request.send().await.unwrap(), 400).await;
            assert!(
                message.contains(says) && code == "invalid_secret",
                "{name}: {message}"
            );
        }
    }
    for body in [
        "\"sk-never-quoted\"".to_owned(),
        "[\"sk-never-quoted\"]".to_owned(),
        json!({ "value": 1 }).to_string(),
        json!({ "value": "" }).to_string(),
        json!({ "value": "sk-never-quoted\r\nX-Other: 1" }).to_string(),
        json!({ "value": "x", "sk-never-quoted": 1 }).to_string(),
        String::new(),
    ] {
        let (message, code) = refused(put("crm", body).send().await.unwrap(), 400).await;
        assert!(
            message.contains("Send {\"value\"") && code == "invalid_secret",
            "{message}"
        );
        assert!(!message.contains("sk-quoted"), "{message}");
    }
    assert_eq!(listed(&world).await, json!({ "secrets": [] }));
    refused(
        world
            .manage(Method::GET, "/api/secrets/crm")
            .send()
            .await
            .unwrap(),
        405,
    )
    .await;
}

#[tokio::test]
async fn no_secret_is_stored_or_listed_without_the_admin_token() {
    let world = World::start().await;
    put_secret(&world, "crm", "a-secret-for-admins").await;
    for (method, path) in [
        (Method::GET, "/api/secrets"),
        (Method::PUT, "/api/secrets/crm"),
        (Method::DELETE, "/api/secrets/crm"),
    ] {
        for token in ["", "wrong"] {
            let request = world
                .http
                .request(method.clone(), format!("{}{path}", world.url))
                .bearer_auth(token);
            assert_eq!(
                refused(request.send().await.unwrap(), 401).await.1,
                "unauthorized"
            );
        }
    }
    assert_eq!(listed(&world).await["secrets"][0]["name"], "crm");
}

/// On AWS, each call has its price and needs its permission. The last two calls of a change
/// write its entry in the audit log.
#[tokio::test]
async fn a_secret_costs_four_calls_to_replace_and_listing_needs_no_permission_to_list_the_accounts_secrets()
 {
    let functions = functions(&FakeModel::saying("x").await).await;
    let call = async |method: Method, path: &str| {
        let request = client()
            .request(method, format!("{}/api/secrets{path}", functions.url))
            .bearer_auth("t");
        let answer = request
            .json(&json!({ "value": "a-secret-on-aws" }))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        functions.wire.calls()
    };
    assert_eq!(
        call(Method::PUT, "/crm").await,
        [
            "PutItem",
            "PutSecretValue",
            "CreateSecret",
            "GetItem",
            "PutItem"
        ]
    );
    assert_eq!(
        call(Method::PUT, "/crm").await,
        ["PutItem", "PutSecretValue", "GetItem", "PutItem"]
    );
    assert_eq!(call(Method::GET, "").await, ["Scan", "Scan"]);
    let deletion = [
        "GetItem",
        "Scan",
        "DeleteSecret",
        "GetItem",
        "PutItem",
        "DeleteItem",
    ];
    assert_eq!(call(Method::DELETE, "/crm").await, deletion);
}

fn command(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"));
    command
        .args(args)
        .env("AGENT_WEBHOOKS_URL", &world.url)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code, standard output and error.
async fn typed(world: &World, args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    redaction::secret("stored secret", stdin);
    let (mut child, stdin) = (command(world, args).spawn().unwrap(), stdin.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        // A command that refuses its arguments does not read stdin.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_key_is_read_from_stdin() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let args = [
        "agent",
        "create",
        "--name",
        "a",
        "--model-url",
        &model.url,
        "--model",
        "m",
        "--api-key-stdin",
    ];
    assert_eq!(typed(&world, &args, "sk-typed-at-first\n").await.0, Some(0));
    let run = ["trigger", "a", "--wait"];
    assert_eq!(typed(&world, &run, "").await.0, Some(0));
    let update = typed(
        &world,
        &["agent", "update", "a", "--api-key-stdin"],
        "sk-typed-later\r\n",
    )
    .await;
    assert_eq!(update.0, Some(0), "{update:?}");
    assert_eq!(typed(&world, &run, "").await.0, Some(0));
    let sent: Vec<_> = model
        .asked()
        .iter()
        .map(|asked| asked.headers["authorization"].clone())
        .collect();
    assert_eq!(sent, ["Bearer sk-typed-at-first", "Bearer sk-typed-later"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_read_from_stdin_and_never_shown() {
    let world = World::start().await;
    let set = typed(&world, &["secret", "set", "crm"], "sk-of-the-crm\n").await;
    assert_eq!(set.0, Some(0), "{set:?}");
    assert_eq!(
        typed(&world, &["secret", "list"], "").await.1,
        "crm  (0 agents refer to it)\n"
    );
    let json = typed(&world, &["secret", "list", "--json"], "").await.1;
    assert_eq!(json.trim(), r#"{"secrets":[{"name":"crm","agents":[]}]}"#);
    assert_eq!(
        typed(&world, &["secret", "delete", "crm"], "").await.0,
        Some(0)
    );
    assert_eq!(
        typed(&world, &["secret", "delete", "crm"], "").await.0,
        Some(1)
    );
    assert_eq!(
        typed(&world, &["secret", "set", "crm"], "\n").await.0,
        Some(2),
        "nothing was typed"
    );
    assert_eq!(
        typed(&world, &["secret", "set", "agents/x"], "x\n").await.0,
        Some(2)
    );
    assert_eq!(
        typed(&world, &["secret", "set", "../agents"], "x\n")
            .await
            .0,
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_does_not_show_a_typed_secret() {
    let world = World::start().await;
    let mut command = command(&world, &["secret", "set", "crm"]);
    let secret = "sk-typed-by-hand";
    redaction::secret("stored secret", secret);
    let shown = tokio::task::spawn_blocking(move || {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = ptsname(&controller, Vec::new())
            .unwrap()
            .into_string()
            .unwrap();
        let terminal = File::options().read(true).write(true).open(path).unwrap();
        let mut controller = File::from(controller);
        // Text that is typed too early is shown and is not part of the secret.
        controller.write_all(b"too early\n").unwrap();
        let mut child = command
            .stdin(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut prompt = [0; 5];
        child
            .stderr
            .as_mut()
            .unwrap()
            .read_exact(&mut prompt)
            .unwrap();
        assert_eq!(&prompt, b"crm: ");
        controller
            .write_all(format!("{secret}\n").as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
        assert!(
            tcgetattr(&terminal)
                .unwrap()
                .local_modes
                .contains(LocalModes::ECHO),
            "the terminal shows input again"
        );
        controller.write_all(b"the end\n").unwrap();
        let mut shown = String::new();
        while !shown.contains("the end") {
            let mut some = [0; 100];
            let length = controller.read(&mut some).unwrap();
            shown.push_str(std::str::from_utf8(&some[..length]).unwrap());
        }
        shown
    });
    let shown = shown.await.unwrap();
    assert!(
        shown.contains("too early") && !shown.contains(secret),
        "{shown}"
    );
    let stored: Value =
        serde_json::from_slice(&std::fs::read(world.secrets_file()).unwrap()).unwrap();
    assert_eq!(stored, json!({ "crm": secret }));
}

/// Behavior of AWS Secrets Manager that emulators do not have.
mod on_aws {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::support::functions::{Functions, functions_of};
    use crate::support::{Reply, accepted};

    async fn manage(
        functions: &Functions,
        method: Method,
        path: &str,
        body: Value,
    ) -> reqwest::Response {
        let request = client()
            .request(method, format!("{}{path}", functions.url))
            .bearer_auth("t");
        request.json(&body).send().await.unwrap()
    }

    async fn set(functions: &Functions, value: &str) -> reqwest::Response {
        redaction::secret("stored secret", value);
        manage(
            functions,
            Method::PUT,
            "/api/secrets/crm",
            json!({ "value": value }),
        )
        .await
    }

    /// With an agent whose model's API key is the secret `crm`.
    async fn with_key(model: &FakeModel) -> Functions {
        let api_key = json!({ "secret": "crm" });
        functions_of(
            model,
            json!({ "model": { "base_url": model.url, "name": "m", "api_key": api_key } }),
        )
        .await
    }

    async fn run(functions: &Functions) -> Value {
        let task = accepted(functions.trigger(None).await).await;
        assert!(functions.deliver(&[&task], false).await.is_empty());
        functions.status(&task).await.json().await.unwrap()
    }

    #[tokio::test]
    async fn a_name_can_be_set_right_after_its_deletion_and_a_value_is_found_right_after_it_is_set()
    {
        let model = FakeModel::saying("x").await;
        let functions = functions_of(&model, json!({})).await;
        for value in ["sk-the-first-value", "sk-the-second-value"] {
            assert_eq!(set(&functions, value).await.status(), 204);
            let answer = manage(&functions, Method::DELETE, "/api/secrets/crm", json!({})).await;
            assert_eq!(answer.status(), 204);
        }
        assert_eq!(set(&functions, "sk-the-third-value").await.status(), 204);
        let functions_model =
            json!({ "base_url": model.url, "name": "m", "api_key": { "secret": "crm" } });
        let path = format!("/api/agents/{}", functions.agent);
        let patch = manage(
            &functions,
            Method::PATCH,
            &path,
            json!({ "model": functions_model }),
        )
        .await;
        assert_eq!(patch.status(), 200);
        let ended = run(&functions).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(1)),
            "{ended}"
        );
        assert_eq!(
            model.asked()[0].headers["authorization"],
            "Bearer sk-the-third-value"
        );
    }

    #[tokio::test]
    async fn a_secret_deleted_in_the_aws_console_is_missing_and_its_name_is_refused_with_the_reason()
     {
        let model = FakeModel::saying("x").await;
        let functions = with_key(&model).await;
        functions.wire.secrets.delete_by_hand("test/crm");
        let ended = run(&functions).await;
        assert_eq!(
            (&ended["error"]["type"], &ended["attempt"]),
            (&json!("invalid_agent"), &json!(1))
        );
        let began = Instant::now();
        let (message, code) = refused(set(&functions, "sk-a-new-value").await, 409).await;
        assert_eq!(code, "secret_being_deleted");
        assert!(message.contains("7 to 30 days"), "{message}");
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "API Gateway waits 30 s"
        );
        let agent = format!("/api/agents/{}", functions.agent);
        for path in [agent.as_str(), "/api/secrets/crm"] {
            let answer = manage(&functions, Method::DELETE, path, json!({})).await;
            assert_eq!(answer.status(), 204, "{path}: the deletion has begun");
        }
        assert_eq!(
            set(&functions, "sk-a-new-value").await.status(),
            204,
            "the name is free"
        );
    }

    #[tokio::test]
    async fn a_key_replaced_in_the_aws_console_is_read_again_when_the_old_one_is_refused() {
        let model =
            FakeModel::start(
                |_, asked| match asked.headers["authorization"].to_str().unwrap() {
                    "Bearer sk-the-new-value" => Reply::Text("x"),
                    _ => Reply::Status(401, Vec::new()),
                },
            )
            .await;
        let functions = with_key(&model).await;
        set(&functions, "sk-the-old-value").await;
        assert_eq!(
            run(&functions).await["error"]["type"],
            "model_error",
            "the key was not replaced"
        );
        redaction::secret("stored secret", "sk-the-new-value");
        functions
            .wire
            .secrets
            .replace_by_hand("test/crm", "sk-the-new-value");
        let ended = run(&functions).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(1)),
            "{ended}"
        );
        assert_eq!(model.asked().len(), 3, "the old key was tried once more");
        assert_eq!(run(&functions).await["status"], "SUCCESS");
        assert_eq!(model.asked().len(), 4, "the new key is cached");
    }

    #[tokio::test]
    async fn a_run_with_a_cached_agent_whose_key_was_replaced_is_retried() {
        let model =
            FakeModel::start(
                |_, asked| match asked.headers["authorization"].to_str().unwrap() {
                    "Bearer sk-the-new-own-key" => Reply::Text("x"),
                    _ => Reply::Status(401, Vec::new()),
                },
            )
            .await;
        let own_key = |key: &str| {
            redaction::secret("API key", key);
            json!({ "model": { "base_url": model.url, "name": "m", "api_key": key } })
        };
        let functions = functions_of(&model, json!({})).await;
        let path = format!("/api/agents/{}", functions.agent);
        let patch = manage(
            &functions,
            Method::PATCH,
            &path,
            own_key("sk-the-old-own-key"),
        )
        .await;
        assert_eq!(patch.status(), 200);
        assert_eq!(run(&functions).await["error"]["type"], "model_error");
        let patch = manage(
            &functions,
            Method::PATCH,
            &path,
            own_key("sk-the-new-own-key"),
        )
        .await;
        assert_eq!(patch.status(), 200);

        let task = accepted(functions.trigger(None).await).await;
        assert_eq!(
            functions.deliver(&[&task], false).await,
            ["message-0"],
            "the run is retried"
        );
        functions.time.forward(Duration::from_secs(2));
        assert!(functions.deliver(&[&task], false).await.is_empty());
        let status: Value = functions.status(&task).await.json().await.unwrap();
        assert_eq!(
            (&status["status"], &status["attempt"]),
            (&json!("SUCCESS"), &json!(2)),
            "{status}"
        );
    }
}
