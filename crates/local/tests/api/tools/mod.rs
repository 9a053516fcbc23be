//! Tools that call other servers, which record what they are asked.

mod http;
mod mcp;
mod openapi;
mod rerun;
mod safety;

use serde_json::{Value, json};

use crate::support::{Agent, FakeModel, Reply, World};
use crate::turns::wants;

/// A model that wants these calls made at first, and then answers.
async fn caller(calls: &'static [(&'static str, &'static str)]) -> FakeModel {
    FakeModel::start(move |number, _| match number {
        0 => wants(calls),
        _ => Reply::Text("That is how it stands."),
    })
    .await
}

/// An agent with this tool, run once.
async fn run_with(world: &World, model: &FakeModel, tool: Value) -> Value {
    let agent = agent_with(world, model, tool).await;
    world.run(&agent, r#"{"ask":"zebra"}"#).await
}

async fn agent_with(world: &World, model: &FakeModel, tool: Value) -> Agent {
    world.agent(model, json!({ "tools": [tool] })).await
}

/// The calls that a task's status shows.
fn shown(ended: &Value) -> &Vec<Value> {
    let calls = ended.pointer("/result/result/tool_calls").or_else(|| ended.pointer("/error/tool_calls"));
    calls.and_then(Value::as_array).unwrap_or_else(|| panic!("no tool calls: {ended}"))
}

/// The result of the only call, and whether it went well.
fn only_result(ended: &Value) -> (&str, &str) {
    let [call] = shown(ended).as_slice() else { panic!("not one call: {ended}") };
    (call["status"].as_str().unwrap(), call["result"].as_str().unwrap())
}

fn get_order() -> Value {
    json!([{
        "name": "get_order", "description": "One order", "path": "/the-orders/{id}",
        "parameters": {
            "properties": { "id": { "type": "string" }, "lines": { "type": "boolean" } }, "required": ["id"],
        },
    }])
}
