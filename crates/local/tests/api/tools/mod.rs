//! Tools that call other servers. The fake servers record their requests.

mod http;
mod mcp;
mod mcp_servers;
mod oauth;
mod openapi;
mod rerun;
mod safety;

use serde_json::{Value, json};

use crate::support::{Agent, FakeModel, Reply, World};
use crate::turns::wants;

/// A model that first asks for these calls and then answers.
async fn caller(calls: &'static [(&'static str, &'static str)]) -> FakeModel {
    FakeModel::start(move |number, _| match number {
        0 => wants(calls),
        _ => Reply::Text("That is how it stands."),
    })
    .await
}

/// Runs an agent with this tool once.
async fn run_with(world: &World, model: &FakeModel, tool: Value) -> Value {
    let agent = agent_with(world, model, tool).await;
    world.run(&agent, r#"{"ask":"zebra"}"#).await
}

async fn agent_with(world: &World, model: &FakeModel, tool: Value) -> Agent {
    world.agent(model, json!({ "tools": [tool] })).await
}

/// The tool calls in a task's status.
fn shown(ended: &Value) -> &Vec<Value> {
    let calls = ended
        .pointer("/result/result/tool_calls")
        .or_else(|| ended.pointer("/error/tool_calls"));
    calls
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no tool calls: {ended}"))
}

/// The status and the result of the only call.
fn only_result(ended: &Value) -> (&str, &str) {
    let [call] = shown(ended).as_slice() else {
        panic!("not one call: {ended}")
    };
    (
        call["status"].as_str().unwrap(),
        call["result"].as_str().unwrap(),
    )
}

fn get_order() -> Value {
    json!([{
        "name": "get_order", "description": "One order", "path": "/the-orders/{id}",
        "parameters": {
            "properties": { "id": { "type": "string" }, "lines": { "type": "boolean" } }, "required": ["id"],
        },
    }])
}
