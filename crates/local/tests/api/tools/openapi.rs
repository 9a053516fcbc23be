//! Operations from OpenAPI documents, with the API and with the command.

use std::path::PathBuf;
use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{caller, run_with, shown};
use crate::client::{json_of, run, text_of};
use crate::support::{FakeApi, World, refused, string};

/// A document without a server.
const WIKI: &str = "openapi: 3.0.3
info: { title: Wiki, version: '1' }
paths:
  /pages/{page}:
    get:
      operationId: getPage
      parameters:
        - { name: page, in: path, required: true, schema: { type: string } }
";

fn document(server: &str) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Desk API", "version": "1" },
        "servers": [{ "url": server }],
        "paths": {
            "/desks/{desk}/notes": {
                "parameters": [{ "name": "desk", "in": "path", "required": true, "schema": { "type": "string" } }],
                "get": {
                    "operationId": "notes/list", "summary": "Notes of a desk",
                    "parameters": [{ "name": "page[size]", "in": "query", "schema": { "type": "integer" } }],
                },
                "post": {
                    "operationId": "notes/add",
                    "requestBody": { "required": true, "content": { "application/json": { "schema": {
                        "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } },
                    } } } },
                },
            },
            "/desks": { "delete": { "operationId": "desks/delete" } },
        },
        "security": [{ "token": [] }],
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

#[tokio::test]
async fn operations_of_a_document_are_called_as_described() {
    let api = FakeApi::saying(json!({ "done": true })).await;
    let tool = json!({
        "type": "http", "name": "desk", "openapi": document(&format!("{}/v1", api.url())),
        "allow": ["notes/list", "notes/add"],
    });
    let model = caller(&[
        ("notes_list", r#"{"desk":"a b","page_size_":5}"#),
        (
            "notes_add",
            r#"{"desk":"the-left-desk","text":"call back"}"#,
        ),
    ])
    .await;
    let world = World::start().await;
    let ended = run_with(&world, &model, tool).await;
    assert!(
        shown(&ended).iter().all(|call| call["status"] == "ok"),
        "{ended}"
    );
    let mut asked: Vec<_> = api
        .calls()
        .into_iter()
        .map(|call| (call.method, call.path, call.body))
        .collect();
    asked.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("GET", "/v1/desks/a%20b/notes?page%5Bsize%5D=5", Value::Null),
        (
            "POST",
            "/v1/desks/the-left-desk/notes",
            json!({ "text": "call back" }),
        ),
    ];
    assert_eq!(
        asked,
        expected.map(|(method, path, body)| (method.to_owned(), path.to_owned(), body))
    );
    // Operations that are not allowed are not sent to the model.
    assert_eq!(model.asked()[0].body["tools"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_document_is_stored_as_its_operations() {
    let world = World::start().await;
    let tool =
        json!({ "type": "http", "name": "desk", "openapi": document("https://desk.example") });
    let agent = world.agent_as(json!({ "tools": [tool] })).await;
    let path = format!("/api/agents/{}", agent.id);
    let read = async || {
        world
            .manage(Method::GET, &path)
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()
    };
    let stored = read().await["tools"].clone();
    assert!(
        stored[0].get("openapi").is_none() && stored[0].get("allow").is_none(),
        "{stored}"
    );
    assert_eq!(
        (
            &stored[0]["base_url"],
            stored[0]["operations"].as_array().unwrap().len()
        ),
        (&json!("https://desk.example"), 3)
    );
    // Sending it back does not change it.
    let patch = world
        .manage(Method::PATCH, &path)
        .json(&json!({ "tools": stored }));
    assert_eq!(patch.send().await.unwrap().status(), 200);
    assert_eq!(read().await["tools"], stored);
}

#[tokio::test]
async fn an_unusable_document_is_refused_with_what_to_change() {
    let world = World::start().await;
    for (fields, says) in [
        (
            json!({ "openapi": { "swagger": "2.0" } }),
            "version 3.0 or 3.1",
        ),
        (
            json!({ "openapi": document("/v1") }),
            "`base_url` of the tool `desk`",
        ),
        (
            json!({ "openapi": document("https://desk.example"), "allow": ["notes/drop"] }),
            "no operation `notes/drop`",
        ),
        (
            json!({ "allow": ["notes/list"] }),
            "send the document as `openapi`",
        ),
    ] {
        let mut tool = json!({ "type": "http", "name": "desk" });
        tool.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let create = world
            .manage(Method::POST, "/api/agents")
            .json(&json!({ "name": "a", "tools": [tool] }));
        let (message, code) = refused(create.send().await.unwrap(), 400).await;
        assert!(message.contains(says), "{message}");
        assert_eq!(code, "invalid_agent");
    }
}

/// Writes two OpenAPI documents, as `desk.json` and `desk.yaml`.
fn write_documents(folder: &TempDir) -> (String, String) {
    let (json, yaml) = (
        folder.path().join("desk.json"),
        folder.path().join("desk.yaml"),
    );
    std::fs::write(&json, document("https://desk.example").to_string()).unwrap();
    std::fs::write(&yaml, WIKI).unwrap();
    let path = |file: PathBuf| file.into_os_string().into_string().unwrap();
    (path(json), path(yaml))
}

/// Adds a tool to the agent `cli` with the command.
async fn add_tool(world: &World, args: &[&str]) -> Output {
    run(world, &[&["agent", "tool", "add", "cli"], args].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_added_from_files_from_the_command_line() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "cli" })).await;
    let folder = TempDir::new().unwrap();
    let (json_file, yaml_file) = write_documents(&folder);

    let allow = ["--openapi", &json_file, "--allow", "notes/list,notes/add"];
    let added = add_tool(&world, &allow).await;
    let output = text_of(&added);
    assert!(
        output.contains("--secret-header 'Authorization: Bearer {NAME}'"),
        "{added:?}"
    );
    assert!(
        output.contains("notes_add  POST /desks/{desk}/notes") && !output.contains("desks_delete"),
        "{output}"
    );

    let nowhere = add_tool(&world, &["--openapi", &yaml_file]).await;
    assert_eq!(nowhere.status.code(), Some(2));
    let added = [
        "--openapi",
        &yaml_file,
        "--base-url",
        "https://wiki.example",
        "--secret-header",
        "X-Wiki-Key: {wiki/key}",
        "--json",
    ];
    let tools = json_of(&add_tool(&world, &added).await);
    assert_eq!(
        tools["tools"][1]["headers"],
        json!({ "X-Wiki-Key": { "secret": "wiki/key" } })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_says_what_it_leaves_out_and_takes_free_names() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "cli" })).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("api.yaml");
    let yaml = "openapi: 3.1.0
info: { title: Shop }
servers: [{ url: 'https://shop.example' }]
paths:
  /a:
    get:
      operationId: a
      parameters:
        - { name: seed, in: query, schema: { type: integer, minimum: -9223372036854776000 } }
    post: { operationId: other, servers: [{ url: 'https://regional.example' }] }
  /b: { $ref: 'paths/b.yml' }
";
    std::fs::write(&file, yaml).unwrap();
    let from = ["--openapi", file.to_str().unwrap()];
    let output = text_of(&add_tool(&world, &from).await);
    for says in [
        "left out: POST /a: its server is https://regional.example",
        "left out: /b: it has an external reference, `paths/b.yml`",
        "imported 1, left out 2",
    ] {
        assert!(output.contains(says), "{output}");
    }
    let again = json_of(&add_tool(&world, &[&from[..], &["--json"]].concat()).await);
    assert_eq!(
        (
            &again["tools"][1]["name"],
            &again["tools"][1]["operations"][0]["name"]
        ),
        (&json!("shop-2"), &json!("a_2"))
    );
    assert_eq!(again["left_out"].as_array().unwrap().len(), 2);
    // A loopback URL, whose relative server is the URL's host.
    let mut served = document("/v1");
    served["info"]["title"] = json!("Served");
    let api = FakeApi::saying(served).await;
    let url = format!("{}/docs/openapi.json", api.url());
    let tools = json_of(&add_tool(&world, &["--openapi", &url, "--json"]).await);
    assert_eq!(
        tools["tools"][2]["base_url"],
        json!(format!("{}/v1", api.url()))
    );
    let remote = add_tool(&world, &["--openapi", "http://api.example/openapi.json"]).await;
    assert_eq!(remote.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_named_listed_and_removed_from_the_command_line() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "cli" })).await;
    let folder = TempDir::new().unwrap();
    let (json_file, yaml_file) = write_documents(&folder);
    add_tool(&world, &["--openapi", &json_file]).await;
    let base_url = "--base-url=https://wiki.example";
    add_tool(&world, &["--openapi", &yaml_file, base_url]).await;
    let mcp = ["--mcp", "https://mcp.example/mcp", "--allow", "search"];
    let added = add_tool(&world, &[&mcp[..], &["--json"]].concat()).await;
    let names: Vec<String> = json_of(&added)["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| string(&tool["name"]))
        .collect();
    assert_eq!(names, ["desk-api", "wiki", "mcp-example"]);

    let remove = ["agent", "tool", "remove", "cli", "wiki"];
    assert_eq!(run(&world, &remove).await.status.code(), Some(0));
    let listed = text_of(&run(&world, &["agent", "tool", "list", "cli"]).await);
    assert!(
        listed.contains("desk-api") && listed.contains("mcp-example") && !listed.contains("wiki"),
        "{listed}"
    );
    assert_eq!(run(&world, &remove).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_of_any_type_is_added_from_a_file_and_checked_by_the_server() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "cli" })).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tool.json");
    let mut add = [
        "agent",
        "tool",
        "add",
        "cli",
        "--from",
        file.to_str().unwrap(),
        "--json",
    ];

    std::fs::write(&file, r#"{"type":"search_sources"}"#).unwrap();
    let tools = json_of(&run(&world, &add).await);
    assert_eq!(tools["tools"], json!([{ "type": "search_sources" }]));

    for (content, code) in [("[]", 1), (r#"{"type":"magic"}"#, 1)] {
        std::fs::write(&file, content).unwrap();
        assert_eq!(
            run(&world, &add).await.status.code(),
            Some(code),
            "{content}"
        );
    }
    for other in [
        "--openapi=api.json",
        "--secret-header=Authorization: {KEY}",
        "--name=api",
    ] {
        add[6] = other;
        assert_eq!(run(&world, &add).await.status.code(), Some(2), "{other}");
    }
}
