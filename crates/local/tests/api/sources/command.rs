//! The `agent source` commands.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ZEBRA, best_passage};
use crate::support::{ADMIN_TOKEN, PROGRAM, World, redaction};

async fn run(world: &World, args: &[&str]) -> Output {
    let (url, args) = (
        world.url.clone(),
        args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(),
    );
    let mut command = Command::new(PROGRAM);
    command.args(["agent", "source"]).args(args);
    command
        .env("AGENT_WEBHOOKS_URL", url)
        .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(0), &b""[..]),
        "{output:?}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn file(folder: &TempDir, name: &str, content: &str) -> String {
    redaction::payload(content.as_bytes());
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_added_listed_and_deleted_from_the_command_line() {
    let (world, folder) = (World::start().await, TempDir::new().unwrap());
    let agent = world.agent_as(json!({ "name": "keeper" })).await;
    let (rules, page) = (
        file(&folder, "rules.md", ZEBRA),
        file(&folder, "lion.HTML", "<p>The lion is fed at one."),
    );
    let added = said(&run(&world, &["add", "keeper", &rules, &page]).await);
    assert!(
        added.contains("rules.md  2 passages  Zoo") && added.contains("lion.HTML  1 passage"),
        "{added}"
    );
    assert_eq!(
        best_passage(&world, &agent, "zebra").await["source"],
        "rules.md"
    );

    let titled = said(
        &run(
            &world,
            &["add", "keeper", &page, "--title", "Lions", "--json"],
        )
        .await,
    );
    let titled: Value = serde_json::from_str(&titled).unwrap();
    assert_eq!(
        (&titled["title"], &titled["source"]),
        (&json!("Lions"), &json!("lion.HTML"))
    );
    let all: Value =
        serde_json::from_str(&said(&run(&world, &["list", "keeper", "--json"]).await)).unwrap();
    assert_eq!(all["sources"].as_array().unwrap().len(), 2);

    let id = titled["id"].as_str().unwrap();
    assert!(said(&run(&world, &["delete", "keeper", id]).await).contains("deleted"));
    assert!(!said(&run(&world, &["list", "keeper"]).await).contains("lion"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_file_over_the_limit_is_sent_if_it_fits() {
    let (world, folder) = (World::start().await, TempDir::new().unwrap());
    let agent = world.agent_as(json!({ "name": "keeper" })).await;
    let styled = format!(
        "<title>Zoo</title><style>{}</style><p>The zebra is fed.",
        "p{} ".repeat(1_200_000)
    );
    let page = file(&folder, "large.html", &styled);
    let added = said(&run(&world, &["add", "keeper", &page]).await);
    assert!(added.contains("large.html  1 passage  Zoo"), "{added}");
    assert_eq!(
        best_passage(&world, &agent, "zebra").await["source"],
        "large.html"
    );

    for (name, content, says) in [
        (
            "large.txt",
            "word ".repeat(1_000_000),
            "4194304 bytes of text",
        ),
        ("table.xls", "a,b".to_owned(), "must end in"),
    ] {
        let refused = run(&world, &["add", "keeper", &file(&folder, name, &content)]).await;
        let message = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            message.contains(name) && message.contains(says),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_folders_are_added_although_some_of_them_cannot_be() {
    let (world, folder) = (World::start().await, TempDir::new().unwrap());
    let agent = world.agent_as(json!({ "name": "keeper" })).await;
    std::fs::create_dir_all(folder.path().join("docs/deep")).unwrap();
    let path = |name: &str, content: &str| file(&folder, name, content);
    path("docs/prices.csv", "sku,price\nA1,4.90\n");
    path("docs/deep/data.json", r#"{"refund":"fourteen days"}"#);
    path("docs/deep/picture.png", "x");
    path("docs/.hidden.md", "hidden");
    path("docs/bad.pdf", "<!doctype html><p>not a PDF");
    let (docs, notes) = (
        folder.path().join("docs").to_str().unwrap().to_owned(),
        path("notes.rst", "Zebras\n======\n\nFed at noon.\n"),
    );
    let missing = folder
        .path()
        .join("missing.md")
        .to_str()
        .unwrap()
        .to_owned();
    let added = run(&world, &["add", "keeper", &missing, &docs, &notes, &notes]).await;
    let (out, error) = (
        String::from_utf8(added.stdout).unwrap(),
        String::from_utf8(added.stderr).unwrap(),
    );
    assert_eq!(added.status.code(), Some(1), "{out} {error}");
    for name in [
        "prices.csv",
        "deep/data.json",
        "notes.rst  1 passage  Zebras",
    ] {
        assert!(out.contains(name), "{out}");
    }
    assert!(!out.contains("hidden") && !out.contains("picture"), "{out}");
    for says in [
        "missing.md",
        "The file is not a PDF, but an HTML page",
        "another file of this command has the name \"notes.rst\"",
        "3 of 6 files were not added",
    ] {
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(
        best_passage(&world, &agent, "refund").await["source"],
        "deep/data.json"
    );
    assert_eq!(
        best_passage(&world, &agent, "zebra").await["text"],
        "# Zebras\n\nFed at noon."
    );
}
