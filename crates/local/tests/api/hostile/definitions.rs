//! Definitions with credentials in clear, and arguments of a model that would leave their
//! part of a tool's path.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{FakeApi, FakeModel, World, refused};
use crate::turns::wants;

/// Tools and models with a credential in clear.
fn definitions() -> Vec<(&'static str, Value)> {
    let http = |fields: Value| {
        let mut tool = json!({
            "type": "http", "name": "shop", "base_url": "https://shop.example",
            "operations": [{ "name": "get", "path": "/x" }],
        });
        tool.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!({ "tools": [tool] })
    };
    let mcp = |url: &str, headers: Value| {
        let tool = json!({ "type": "mcp", "name": "wiki", "url": url, "allow": ["a"], "headers": headers });
        json!({ "tools": [tool] })
    };
    let header = |name: &str, value: &str| http(json!({ "headers": { name: value } }));
    let path = |path: &str| http(json!({ "operations": [{ "name": "get", "path": path }] }));
    let base_url = |url: &str| http(json!({ "base_url": url }));
    let model = |url: &str| json!({ "model": { "base_url": url, "name": "m" } });
    vec![
        ("contains a credential", header("X-Pass", "x")),
        ("contains a credential", header("pwd", "x")),
        ("contains a credential", header("X-AccessKey", "x")),
        ("contains a credential", header("X-Custom", "Bearer x")),
        ("contains a credential in its query", path("/x?code=1")),
        ("contains a credential in its query", path("/x?v=1&%70wd=1")),
        (
            "without credentials",
            base_url("https://shop.example/?key=1"),
        ),
        ("without credentials", base_url("https://u@shop.example")),
        (
            "credentials such as `code`",
            mcp("https://mcp.example/mcp?code=1", json!({})),
        ),
        (
            "without credentials",
            mcp("https://:p@mcp.example/mcp", json!({})),
        ),
        (
            "contains a credential",
            mcp("https://mcp.example/mcp", json!({ "X-Pass": "x" })),
        ),
        (
            "credentials such as `key`",
            model("https://model.example/v1?key=1"),
        ),
        (
            "credentials such as `code`",
            model("https://model.example/v1?api-version=1&code=1"),
        ),
        ("without credentials", model("https://u:p@model.example/v1")),
    ]
}

#[tokio::test]
async fn a_definition_with_a_credential_in_clear_is_refused_with_what_to_do_instead() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let path = format!("/api/agents/{}", agent.id);
    for (says, mut definition) in definitions() {
        let patch = world
            .manage(Method::PATCH, &path)
            .json(&definition)
            .send()
            .await
            .unwrap();
        let (message, code) = refused(patch, 400).await;
        assert!(
            code == "invalid_agent" && message.contains(says),
            "{definition}: {message}"
        );
        definition["name"] = json!("a");
        let create = world
            .manage(Method::POST, "/api/agents")
            .json(&definition)
            .send()
            .await
            .unwrap();
        assert_eq!(refused(create, 400).await.0, message, "{definition}");
    }
    // Only similar to a credential, or stored as a secret.
    let good = json!({ "tools": [{
        "type": "http", "name": "shop", "base_url": "https://shop.example",
        "headers": { "X-Country-Code": "de", "X-Pass": { "secret": "shop" } },
        "operations": [{ "name": "get", "path": "/x?country_code=de" }],
    }], "model": { "base_url": "https://model.example/v1?api-version=2024-10-21", "name": "m" } });
    let patch = world
        .manage(Method::PATCH, &path)
        .json(&good)
        .send()
        .await
        .unwrap();
    assert_eq!(patch.status(), 200);
}

#[tokio::test]
async fn an_argument_that_a_server_could_take_for_another_path_is_not_sent() {
    let api = FakeApi::saying(json!({ "reached": true })).await;
    let ids = [
        "..;/users",
        "..;a=b/users",
        "..%2fusers",
        "%2e%2e/users",
        "%252e%252e%252fusers",
        "..\\users",
        "..%5cusers",
        "%c0%ae%c0%ae/users",
    ];
    for id in ids {
        let arguments = json!({ "id": id }).to_string();
        let model = FakeModel::start(move |number, _| match number {
            0 => wants(&[("get_order", &arguments)]),
            _ => crate::support::Reply::Text("Done."),
        })
        .await;
        let world = World::start().await;
        let operations = json!([{
            "name": "get_order", "path": "/orders/{id}",
            "parameters": { "properties": { "id": { "type": "string" } }, "required": ["id"] },
        }]);
        let agent = world
            .agent(&model, json!({ "tools": [api.tool(operations)] }))
            .await;
        let ended = world.run(&agent, "{}").await;
        let call = &ended["result"]["result"]["tool_calls"][0];
        assert_eq!(call["status"], "error", "{id}: {ended}");
        assert!(
            call["result"].as_str().unwrap().contains("in any encoding"),
            "{id}: {call}"
        );
    }
    assert!(api.calls().is_empty());
}
