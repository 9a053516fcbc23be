//! The client commands.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, FakeApi, FakeModel, Reply, World};

pub(crate) async fn run(world: &World, args: &[&str]) -> Output {
    let (url, args) = (
        world.url.clone(),
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"));
    command
        .args(args)
        .env("AGENT_WEBHOOKS_URL", url)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

pub(crate) fn text_of(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a command line whose arguments have no spaces.
async fn run_line(world: &World, line: &str) -> Output {
    run(world, &line.split(' ').collect::<Vec<_>>()).await
}

async fn create_agent(world: &World, model: &FakeModel) -> Value {
    let url = &model.url;
    let line = format!("agent create --name cli --prompt Hi --model-url {url} --model m --json");
    json_of(&run_line(world, &line).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_created_triggered_and_watched_from_the_command_line() {
    let model = FakeModel::start(|_, asked| match asked.user() {
        "\"fail\"" => Reply::Status(400, vec![]),
        _ => Reply::Text("All good."),
    })
    .await;
    let world = World::start().await;
    let agent = create_agent(&world, &model).await;
    assert_eq!(
        (&agent["name"], &agent["model"]["provider"]),
        (&json!("cli"), &json!("openai"))
    );

    let listed = text_of(&run_line(&world, "agent list").await);
    assert!(listed.contains("cli"), "{listed}");
    let ran = run_line(&world, r#"trigger cli --data {"a":1} --key k --wait"#).await;
    assert_eq!(ran.status.code(), Some(0));
    assert!(
        text_of(&ran).contains("SUCCESS") && text_of(&ran).contains("All good."),
        "{ran:?}"
    );
    let webhook = agent["webhook_url"].as_str().unwrap();
    let again = json_of(&run_line(&world, &format!("trigger {webhook} --key k --json")).await);
    let task = again["task_id"].as_str().unwrap();
    let status = json_of(&run_line(&world, &format!("status {task} --json")).await);
    assert_eq!(status["status"], "SUCCESS");

    let failed = run_line(&world, r#"trigger cli --data "fail" --wait --json"#).await;
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(json_of(&failed)["status"], "FAILURE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_updated_rotated_and_deleted_from_the_command_line() {
    let model = FakeModel::saying("x").await;
    let world = World::start().await;
    let agent = create_agent(&world, &model).await;
    let updated =
        json_of(&run_line(&world, "agent update cli --name renamed --disable --json").await);
    assert_eq!(
        (&updated["name"], &updated["enabled"]),
        (&json!("renamed"), &json!(false))
    );
    let rotated = json_of(&run_line(&world, "agent rotate renamed --overlap 5 --json").await);
    assert_ne!(rotated["webhook_url"], agent["webhook_url"]);
    let deleted = run_line(&world, "agent delete renamed").await;
    assert_eq!(deleted.status.code(), Some(0));
    let gone = run_line(&world, "agent show renamed").await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        String::from_utf8(gone.stderr)
            .unwrap()
            .contains("no agent has the id or name")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_exit_code_2_and_a_refusal_exit_code_1() {
    let world = World::start().await;
    assert_eq!(
        run(&world, &["agent", "crate"]).await.status.code(),
        Some(2)
    );
    assert_eq!(run(&world, &["trigger"]).await.status.code(), Some(2));
    assert_eq!(
        run(&world, &["agent", "create"]).await.status.code(),
        Some(2)
    );
    let refused = run(&world, &["agent", "create", "--name", " "]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("`name` must have 1 to 128 characters (HTTP 400")
    );
    let unknown = run(&world, &["status", "018f3f3e-0000-7abc-8def-0123456789ab"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let unreachable = run(&world, &["status", "x", "--url", "http://127.0.0.1:1"]).await;
    assert!(
        String::from_utf8(unreachable.stderr)
            .unwrap()
            .contains("is the server running?")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_servers_admin_token_is_never_sent_to_another_deployment() {
    let stranger = FakeModel::saying("x").await;
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("admin-token"), "of-the-local-server").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"));
    command
        .args(["agent", "list", "--url", &stranger.url, "--data-dir"])
        .arg(folder.path());
    command.env_remove("AGENT_WEBHOOKS_ADMIN_TOKEN");
    let refused = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        message.contains("is not sent to another --url"),
        "{message}"
    );
    assert!(stranger.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_provider_is_unchanged_when_its_model_changes() {
    let world = World::start().await;
    let create = [
        "agent",
        "create",
        "--name",
        "a",
        "--model-provider",
        "anthropic",
        "--model",
        "old",
        "--json",
    ];
    assert_eq!(
        json_of(&run(&world, &create).await)["model"],
        json!({ "provider": "anthropic", "name": "old" })
    );
    let updated = json_of(
        &run(
            &world,
            &["agent", "update", "a", "--model", "new", "--json"],
        )
        .await,
    );
    assert_eq!(
        updated["model"],
        json!({ "provider": "anthropic", "name": "new" })
    );
    let refused = run(
        &world,
        &["agent", "update", "a", "--model-provider", "oracle"],
    )
    .await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("openai, anthropic, bedrock, extractive")
    );
}

/// Control sequences of terminals: set the title, clear the screen, C1, a direction override.
const HOSTILE: &str = "a\u{1b}]0;name\u{7}\u{1b}[2J\u{9b}2J\rb\u{202e}c\u{7f}\n\tü";
const SHOWN: &str = "a\\u001b]0;name\\u0007\\u001b[2J\\u009b2J\\u000db\\u202ec\\u007f\n\tü";

/// What the command writes to a terminal that is its stdout and its stderr.
async fn shown_on_a_terminal(world_url: &str, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-webhooks"));
    command
        .args(args)
        .env("AGENT_WEBHOOKS_URL", world_url)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN);
    let shown = tokio::task::spawn_blocking(move || {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = ptsname(&controller, Vec::new())
            .unwrap()
            .into_string()
            .unwrap();
        let terminal = || File::options().read(true).write(true).open(&path).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(terminal())
            .stderr(terminal());
        let mut child = command.spawn().unwrap();
        // Now only the child has its ends of the terminal open.
        drop(command);
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        let mut controller = File::from(controller);
        // Reading fails once no process has the terminal open any more.
        while let Ok(length @ 1..) = controller.read(&mut piece) {
            shown.extend_from_slice(&piece[..length]);
        }
        child.wait().unwrap();
        String::from_utf8(shown).unwrap()
    });
    // The terminal turns every line feed into CRLF.
    shown.await.unwrap().replace("\r\n", "\n")
}

fn assert_harmless(shown: &str) {
    let control = |character: char| {
        character.is_control() && !['\n', '\t'].contains(&character) || character == '\u{202e}'
    };
    assert!(!shown.contains(control), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_shows_control_characters_and_does_not_interpret_them() {
    let model = FakeModel::start(|_, _| Reply::Text(HOSTILE)).await;
    let world = World::start().await;
    let agent = world
        .agent(&model, json!({ "name": format!("n{HOSTILE}") }))
        .await;
    let shown =
        shown_on_a_terminal(&world.url, &["trigger", &agent.id, "--key", "k", "--wait"]).await;
    assert!(
        shown.contains(SHOWN) && shown.contains("SUCCESS"),
        "{shown:?}"
    );
    assert_harmless(&shown);
    let json = json_of(&run(&world, &["trigger", &agent.id, "--key", "k", "--json"]).await);
    let task = json["task_id"].as_str().unwrap();
    for args in [
        &["status", task][..],
        &["agent", "list"],
        &["agent", "show", &agent.id],
    ] {
        let shown = shown_on_a_terminal(&world.url, args).await;
        assert!(shown.contains(SHOWN), "{args:?}: {shown:?}");
        assert_harmless(&shown);
    }
    // JSON output is valid JSON.
    let shown = shown_on_a_terminal(&world.url, &["status", task, "--json"]).await;
    assert_harmless(&shown);
    let status: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(status["result"]["result"]["answer"], HOSTILE);
    // Output to a program is unchanged.
    let piped = text_of(&run(&world, &["status", task]).await);
    assert!(piped.contains(HOSTILE), "{piped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_does_not_interpret_a_servers_error() {
    let server = FakeApi::start(|_, _| {
        let body = json!({ "success": false, "code": HOSTILE, "message": HOSTILE });
        crate::support::api::api_response(500, "application/json", body.to_string())
    })
    .await;
    for args in [
        &["status", "x"][..],
        &["agent", "list"],
        &["secret", "list"],
    ] {
        let shown = shown_on_a_terminal(&server.url(), args).await;
        assert!(
            shown.contains("error: ") && shown.contains(SHOWN),
            "{args:?}: {shown:?}"
        );
        assert_harmless(&shown);
    }
}
