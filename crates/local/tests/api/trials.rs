//! Tests of models and tools before an agent uses them, with the API and with the command.

use std::process::Output;

use axum::response::IntoResponse as _;
use reqwest::{Method, Response};
use runner::PrivateHosts;
use serde_json::{Value, json};
use store::LambdaFunction;
use store::aws::AwsSettings;
use store::env::Env;

use crate::client::{json_of, run, text_of};
use crate::support::api::api_response;
use crate::support::functions::{SMALL_ADMIN_TOKEN, functions};
use crate::support::mcp::{mcp, mcp_with};
use crate::support::{FakeApi, FakeModel, Reply, World, client, redaction, refused, string};

async fn post(world: &World, path: &str, body: &Value) -> Response {
    let request = world.manage(Method::POST, path).json(body);
    request.send().await.unwrap()
}

async fn ok(world: &World, path: &str, body: &Value) -> Value {
    let response = post(world, path, body).await;
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A world whose server reaches only public addresses, as on AWS.
async fn public_world() -> World {
    World::start_with(|settings| {
        settings.private_hosts = PrivateHosts::none();
    })
    .await
}

fn document(server: &str) -> Value {
    let body = |kind: &str| json!({ "required": true, "content": { kind: {} } });
    json!({
        "openapi": "3.0.3", "info": { "title": "Pet Shop" }, "servers": [{ "url": server }],
        "security": [{ "token": [] }],
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "paths": {
            "/pets/{id}": { "get": {
                "operationId": "getPet", "summary": "One pet",
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
            } },
            "/pictures": { "post": { "operationId": "upload", "requestBody": body("image/png") } },
        },
    })
}

fn pet_tool(url: &str) -> Value {
    let parameters = json!({ "type": "object", "properties": { "id": {} }, "required": ["id"] });
    json!({
        "type": "http", "name": "pets", "base_url": url,
        "headers": { "Authorization": { "secret": "pets", "prefix": "Bearer " } },
        "operations": [
            { "name": "get_pet", "path": "/pets/{id}", "parameters": parameters, "approval": true },
            { "name": "other", "path": "/other" },
        ],
    })
}

#[tokio::test]
async fn a_test_of_a_model_sends_one_request_with_all_parts() {
    let (world, model) = (World::start().await, FakeModel::saying("OK").await);
    let key = "sk-of-the-model-test";
    redaction::secret("API key", key);
    let config = json!({ "base_url": model.url, "name": "m", "api_key": key });
    let tested = ok(&world, "/api/models/test", &json!({ "model": config })).await;
    assert_eq!(
        (&tested["ok"], &tested["refuses"]),
        (&json!(true), &json!([]))
    );
    let asked = model.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {key}"));
    assert!(asked[0].body["tools"].is_array() && asked[0].body["response_format"].is_object());
    let audit = world
        .manage(Method::GET, "/api/audit")
        .send()
        .await
        .unwrap();
    let audit: Value = audit.json().await.unwrap();
    let entry = &audit["entries"][0];
    assert_eq!(entry["event"], "model_tested");
    assert_eq!(entry["server"], model.origin);
    assert!(!audit.to_string().contains(key));
}

#[tokio::test]
async fn a_test_says_what_the_server_of_a_model_refuses() {
    let model = FakeModel::start(|_, asked| {
        let refusal =
            |message: &str| Reply::Refusal(400, json!({ "error": { "message": message } }));
        if asked.body.get("tools").is_some() {
            refusal("this model does not support tools")
        } else if asked.body.get("response_format").is_some() {
            refusal("response_format is not supported")
        } else {
            Reply::Text("OK")
        }
    })
    .await;
    let world = World::start().await;
    let config = json!({ "base_url": model.url, "name": "m" });
    let tested = ok(&world, "/api/models/test", &json!({ "model": config })).await;
    assert_eq!(tested["ok"], true, "{tested}");
    assert_eq!(tested["refuses"], json!(["schema", "tools"]));
}

#[tokio::test]
async fn a_test_that_fails_says_why_and_repeats_no_secret() {
    let key = "sk-that-the-server-echoes";
    redaction::secret("API key", key);
    let model = FakeModel::start(move |_, _| {
        Reply::Refusal(
            401,
            json!({ "error": { "message": format!("Wrong key {key}") } }),
        )
    })
    .await;
    let world = World::start().await;
    world.store_secret("model-key", key).await;
    let agent = world
        .agent_as(json!({ "model": { "base_url": model.url, "name": "m", "api_key": { "secret": "model-key" } } }))
        .await;
    let tested = ok(&world, "/api/models/test", &json!({ "agent_id": agent.id })).await;
    assert_eq!(tested["ok"], false);
    let message = string(&tested["error"]["message"]);
    assert!(
        message.contains("401") && !message.contains(key),
        "{message}"
    );
    assert_eq!(model.asked().len(), 1);

    // The deployment's default model, and a model that is not valid.
    let default = ok(&world, "/api/models/test", &json!({})).await;
    assert!(string(&default["error"]["message"]).contains("no model to test"));
    let foreign = json!({ "model": { "base_url": "http://a.example", "name": "m",
        "api_key": { "secret": format!("agents/{}/model-api-key-0123456789abcdef", agent.id) } } });
    let unknown = json!({ "agent_id": "00000000-0000-4000-8000-000000000000" });
    let incomplete = json!({ "model": { "provider": "openai" } });
    for (body, status, says) in [
        (foreign, 400, "another agent"),
        (unknown, 404, "not found"),
        (incomplete, 400, "`model.base_url` is required"),
        (json!({ "modell": {} }), 400, "unknown field `modell`"),
        (json!([]), 400, "must be a JSON object"),
    ] {
        let (message, _) = refused(post(&world, "/api/models/test", &body).await, status).await;
        assert!(message.contains(says), "{body}: {message}");
    }
}

#[tokio::test]
async fn the_tools_of_an_mcp_server_are_listed_with_those_that_cannot_be_used() {
    let server = mcp_with(|call| {
        if call.body["method"] != "tools/list" {
            return None;
        }
        let tools = json!([
            { "name": "add", "description": "Adds", "inputSchema": { "type": "object", "properties": { "a": { "type": "integer" } } } },
            { "name": "odd", "inputSchema": "x" },
            { "name": "huge", "inputSchema": { "type": "object", "description": "x".repeat(40_000) } },
        ]);
        let body = json!({ "jsonrpc": "2.0", "id": call.body["id"], "result": { "tools": tools } });
        Some(Box::pin(async move { axum::Json(body).into_response() }))
    })
    .await;
    let world = World::start().await;
    world.store_secret("docs", "secret-of-the-docs").await;
    redaction::secret("tool secret", "secret-of-the-docs");
    let mcp = json!({ "url": format!("{}/mcp", server.url()), "headers": { "X-Key": { "secret": "docs" } } });
    let listed = ok(&world, "/api/tools/inspect", &json!({ "mcp": mcp })).await;
    assert_eq!(
        (
            &listed["type"],
            &listed["server_name"],
            &listed["server_version"]
        ),
        (&json!("mcp"), &json!("fake"), &json!("1"))
    );
    assert_eq!(listed["tools"][0]["name"], "add");
    assert_eq!(
        listed["tools"][0]["input_schema"]["properties"]["a"]["type"],
        "integer"
    );
    assert_eq!(listed["tools"].as_array().unwrap().len(), 1);
    let left_out = listed["left_out"].to_string();
    assert!(
        left_out.contains("odd") && left_out.contains("larger than 32 KiB"),
        "{left_out}"
    );
    assert!(
        server
            .calls()
            .iter()
            .all(|call| call.header("x-key") == "secret-of-the-docs")
    );
}

#[tokio::test]
async fn a_server_that_is_not_mcp_is_refused_with_what_it_answered() {
    let (world, api) = (
        World::start().await,
        FakeApi::start(|_, _| api_response(404, "text/plain", "nothing")).await,
    );
    let mcp = json!({ "mcp": { "url": api.url() } });
    let (message, code) = refused(post(&world, "/api/tools/inspect", &mcp).await, 422).await;
    assert!(message.contains("404"), "{message}");
    assert_eq!(code, "server_failed");
    let world = public_world().await;
    let (message, _) = refused(post(&world, "/api/tools/inspect", &mcp).await, 422).await;
    assert!(message.contains("not allowed"), "{message}");
    let openapi = json!({ "openapi": { "url": api.url() } });
    let (message, _) = refused(post(&world, "/api/tools/inspect", &openapi).await, 422).await;
    assert!(message.contains("not allowed"), "{message}");
}

#[tokio::test]
async fn the_operations_of_a_document_are_listed_and_chosen_ones_imported() {
    let api = FakeApi::start(|_, call| match call.path.as_str() {
        "/moved" => {
            let mut moved = api_response(302, "text/plain", "");
            moved
                .headers_mut()
                .insert("location", "/openapi.json".parse().unwrap());
            moved
        }
        // The server is relative to the document's own URL.
        "/openapi.json" => axum::Json(document("/v1")).into_response(),
        _ => api_response(404, "text/plain", "nothing"),
    })
    .await;
    let world = World::start().await;
    let inspect =
        async |more: Value| ok(&world, "/api/tools/inspect", &json!({ "openapi": more })).await;
    let listed = inspect(json!({ "url": format!("{}/moved", api.url()) })).await;
    assert_eq!(
        (&listed["type"], &listed["title"]),
        (&json!("http"), &json!("Pet Shop"))
    );
    assert_eq!(listed["base_url"], format!("{}/v1", api.url()));
    let operation =
        json!({ "name": "getPet", "method": "GET", "path": "/pets/{id}", "summary": "One pet" });
    assert_eq!(listed["operations"], json!([operation]));
    assert_eq!(
        listed["credentials"],
        json!([{ "header": "Authorization", "prefix": "Bearer " }])
    );
    assert!(string(&listed["left_out"][0]["reason"]).contains("image/png"));
    assert!(listed.get("chosen").is_none());

    let text = document("https://pets.example/v1").to_string();
    let chosen = inspect(json!({ "document": text, "allow": ["getPet"] })).await;
    assert_eq!(chosen["chosen"][0]["path"], "/pets/{id}");
    let yaml = "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n";
    let own = inspect(json!({ "document": yaml, "base_url": "https://a.example" })).await;
    assert_eq!(
        (&own["operations"][0]["name"], &own["base_url"]),
        (&json!("get_a"), &json!("https://a.example"))
    );
}

#[tokio::test]
async fn a_document_that_cannot_be_used_is_refused_with_what_to_do() {
    let world = World::start().await;
    let deep = "[".repeat(100_000);
    for (document, code, says) in [
        (
            json!({ "document": "{\"swagger\":\"2.0\"}" }),
            "invalid_document",
            "converter.swagger.io",
        ),
        (
            json!({ "document": "a: [" }),
            "invalid_document",
            "neither valid JSON nor valid YAML",
        ),
        (
            json!({ "document": deep }),
            "invalid_document",
            "neither valid JSON nor valid YAML",
        ),
        (
            json!({ "document": "{}", "url": "https://a.example" }),
            "invalid_request",
            "either `url` or `document`",
        ),
        (
            json!({ "url": "file:///etc/passwd" }),
            "invalid_request",
            "http or https",
        ),
        (
            json!({ "document": document("https://a.example").to_string(), "allow": ["upload"] }),
            "invalid_document",
            "image/png",
        ),
    ] {
        let body = json!({ "openapi": document });
        let (message, found) = refused(post(&world, "/api/tools/inspect", &body).await, 400).await;
        assert_eq!(found, code, "{message}");
        assert!(message.contains(says), "{message}");
    }
    let large = json!({ "openapi": { "document": "x".repeat(5 * 1024 * 1024) } });
    assert_eq!(
        post(&world, "/api/tools/inspect", &large).await.status(),
        413
    );
}

#[tokio::test]
async fn one_operation_is_called_as_a_run_calls_it_and_its_secret_is_not_shown() {
    let secret = "secret-of-the-pets";
    redaction::secret("tool secret", secret);
    let api = FakeApi::saying(json!({ "echo": secret, "name": "Rex" })).await;
    let world = World::start().await;
    world.store_secret("pets", secret).await;
    let call = |operation: &str| json!({ "tool": pet_tool(&api.url()), "operation": operation, "arguments": { "id": "a b" } });
    let called = ok(&world, "/api/tools/call", &call("get_pet")).await;
    assert_eq!(called["ok"], true, "{called}");
    assert_eq!(called["result"], r#"{"echo":"[secret]","name":"Rex"}"#);
    let calls = api.calls();
    assert_eq!((calls.len(), calls[0].path.as_str()), (1, "/pets/a%20b"));
    assert_eq!(calls[0].header("authorization"), format!("Bearer {secret}"));
    let (message, _) = refused(post(&world, "/api/tools/call", &call("nothing")).await, 400).await;
    assert!(message.contains("`operation`"), "{message}");

    let wrong = json!({ "tool": pet_tool(&api.url()), "operation": "get_pet", "arguments": {} });
    let failed = ok(&world, "/api/tools/call", &wrong).await;
    assert_eq!(
        (&failed["ok"], &failed["error"]["type"]),
        (&json!(false), &json!("tool_error"))
    );
    assert!(
        string(&failed["error"]["message"]).contains("id"),
        "{failed}"
    );
    assert_eq!(api.calls().len(), 1);

    let audit = world
        .manage(Method::GET, "/api/audit")
        .send()
        .await
        .unwrap();
    let audit: Value = audit.json().await.unwrap();
    assert_eq!(audit["entries"][0]["tool"], "pets.get_pet");
    assert!(!audit.to_string().contains("a b"));
}

#[tokio::test]
async fn a_tool_of_an_mcp_server_is_called() {
    let server = mcp(|call| {
        let a = call.body["params"]["arguments"]["a"].clone();
        Box::pin(
            async move { json!({ "content": [{ "type": "text", "text": format!("got {a}") }] }) },
        )
    })
    .await;
    let world = World::start().await;
    let tool =
        json!({ "type": "mcp", "name": "sums", "url": server.url(), "allow": ["add", "look.up"] });
    let body = json!({ "tool": tool, "operation": "add", "arguments": { "a": 5 } });
    let called = ok(&world, "/api/tools/call", &body).await;
    assert_eq!(called["result"], "got 5", "{called}");
    let search = json!({ "tool": { "type": "search_sources" }, "operation": "search_sources" });
    let (message, _) = refused(post(&world, "/api/tools/call", &search).await, 400).await;
    assert!(message.contains("no server"), "{message}");
}

#[tokio::test]
async fn tests_need_the_admin_token_here_and_in_the_functions() {
    let world = World::start().await;
    for path in ["/api/models/test", "/api/tools/inspect", "/api/tools/call"] {
        let request = client()
            .post(format!("{}{path}", world.url))
            .json(&json!({}));
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    let model = FakeModel::saying("OK").await;
    let functions = functions(&model).await;
    let body = json!({ "agent_id": functions.agent.to_string() });
    let request = client()
        .post(format!("{}/api/models/test", functions.url))
        .bearer_auth(SMALL_ADMIN_TOKEN)
        .json(&body);
    let tested: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(tested["ok"], true, "{tested}");
}

/// Runs a command whose arguments have no spaces.
async fn run_line(world: &World, line: &str) -> Output {
    run(world, &line.split(' ').collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_tested_and_tools_called_from_the_command_line() {
    let (world, model) = (World::start().await, FakeModel::saying("OK").await);
    let sum = json!({ "content": [{ "type": "text", "text": "sum" }] });
    let server = mcp(move |_| Box::pin(std::future::ready(sum.clone()))).await;
    let tool = json!({ "type": "mcp", "name": "sums", "url": server.url(), "allow": ["add"] });
    let definition = json!({ "name": "cli", "tools": [tool] });
    world.agent(&model, definition).await;
    let tested = run_line(&world, "agent model test cli").await;
    assert_eq!(tested.status.code(), Some(0));
    assert!(text_of(&tested).contains("replied in"), "{tested:?}");
    let line = "agent model test --model-url http://127.0.0.1:1 --model m";
    let nowhere = run_line(&world, line).await;
    assert_eq!(nowhere.status.code(), Some(1));
    let text = text_of(&nowhere);
    assert!(text.contains("could not be reached"), "{nowhere:?}");
    let line = r#"agent tool call cli sums add --arguments {"a":1}"#;
    let called = run_line(&world, line).await;
    assert_eq!(
        (called.status.code(), text_of(&called).trim()),
        (Some(0), "sum")
    );
    let unknown = run_line(&world, "agent tool call cli nope add").await;
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_documents_are_inspected_from_the_command_line() {
    let world = World::start().await;
    let api = FakeApi::saying(document("/v1")).await;
    let server = mcp(|_| Box::pin(std::future::ready(json!({})))).await;
    let inspect = async |url: &str| run_line(&world, &format!("agent tool inspect {url}")).await;
    let listed = text_of(&inspect(&server.url()).await);
    assert!(
        listed.contains("look.up") && listed.contains("Does add"),
        "{listed}"
    );
    let text = text_of(&inspect(&format!("{}/openapi.json", api.url())).await);
    for part in [
        "getPet",
        "GET /pets/{id}",
        "left out: upload (POST /pictures)",
        "--secret-header 'Authorization: Bearer {NAME}'",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // A URL without an ending is tried as both.
    let listed = json_of(&inspect(&format!("{} --json", api.url())).await);
    assert_eq!(listed["title"], "Pet Shop");
}

#[tokio::test]
async fn a_function_is_invoked_with_one_signed_request() {
    let lambda = FakeApi::start(|number, _| match number {
        0 => axum::Json(json!({ "type": "model" })).into_response(),
        1 => api_response(429, "application/json", "{}"),
        2 => api_response(503, "application/json", "{}"),
        _ => {
            let mut failed = api_response(200, "application/json", "{}");
            let kind = "Unhandled".parse().unwrap();
            failed.headers_mut().insert("x-amz-function-error", kind);
            failed
        }
    })
    .await;
    let variables = |name: &str| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("key-of-the-console".to_owned()),
        _ => None,
    };
    let settings = AwsSettings::from_env(&Env::from_fn(variables)).unwrap();
    let function = LambdaFunction::new(settings, Some(lambda.url()), "stack-agent");
    let event = br#"{"trial":{"type":"model","model":null}}"#;
    let response = function.invoke(event.to_vec()).await.unwrap();
    assert_eq!(response, br#"{"type":"model"}"#);
    let call = &lambda.calls()[0];
    let path = "/2015-03-31/functions/stack-agent/invocations";
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", path));
    assert_eq!(call.body["trial"]["type"], "model");
    let signed = call.header("authorization");
    assert!(
        signed.contains("/eu-west-1/lambda/aws4_request"),
        "{signed}"
    );
    for is_transient in [true, true, false] {
        let error = function.invoke(event.to_vec()).await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{error}");
    }
    assert_eq!(lambda.calls().len(), 4);
}
