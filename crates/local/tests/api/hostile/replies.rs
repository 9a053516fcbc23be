//! Replies of models and MCP servers that are small on the wire and large in memory,
//! against the real server with a limit of its address space.
//!
//! Before replies were limited, one chat completion of 8 MiB took 1.1 GiB.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{Call, FakeApi, api_response};
use crate::support::formats::Format;
use crate::support::model::Asked;
use crate::support::others::{MIB, Site, Start};
use crate::support::{Agent, FakeModel, Reply, accepted, client};

/// Memory that all runs of a local server may use for replies and results.
const BUDGET: u64 = 256 * MIB;
const AT_ONCE: usize = 10;
const END_WITHIN: Duration = Duration::from_secs(120);

/// `[[0],[0],…]` of about this many bytes.
fn tiny_arrays(bytes: usize) -> String {
    format!("[{}[0]]", "[0],".repeat(bytes / 4))
}

/// A server whose address space is limited to its idle size plus the budget.
async fn limited_site() -> Site {
    let env = || vec![("MALLOC_ARENA_MAX", "2".to_owned())];
    let idle = Site::start_with(Start {
        env: env(),
        ..Start::default()
    })
    .await;
    let size = idle.address_space();
    drop(idle);
    Site::start_with(Start {
        env: env(),
        address_space: Some(size + BUDGET),
        ..Start::default()
    })
    .await
}

/// A model that sends these bytes in response to every request.
async fn sending(body: String) -> FakeModel {
    FakeModel::start(move |_, _| Reply::Bytes(body.clone().into_bytes())).await
}

async fn agent(site: &Site, name: &str, format: Format, model: &FakeModel, more: Value) -> Agent {
    let mut definition = json!({ "name": name, "model": format.model(&model.origin) });
    for (field, value) in more.as_object().unwrap() {
        definition[field] = value.clone();
    }
    site.agent(definition).await
}

/// The final statuses of ten tasks that are triggered concurrently.
async fn run_many(site: &Site, agent: &Agent) -> Vec<Value> {
    let runs = (0..AT_ONCE).map(async |number| {
        let triggered = client()
            .post(&agent.url)
            .json(&json!({ "n": number }))
            .send()
            .await
            .unwrap();
        site.ended(&accepted(triggered).await, END_WITHIN).await
    });
    join_all(runs).await
}

fn openai(message: &str) -> String {
    format!(r#"{{"choices":[{{"message":{message},"finish_reason":"stop"}}]}}"#)
}

fn openai_call(arguments: &str) -> String {
    let call = format!(r#"{{"id":"c","function":{{"name":"t","arguments":{arguments}}}}}"#);
    openai(&format!(r#"{{"tool_calls":[{call}]}}"#))
}

fn anthropic(blocks: &str) -> String {
    format!(r#"{{"content":[{blocks}],"stop_reason":"tool_use"}}"#)
}

#[tokio::test]
async fn replies_of_models_that_grow_in_memory_fail_only_their_own_tasks() {
    let arrays = tiny_arrays(4_000_000);
    let thinking = r#"{"type":"thinking","thinking":"Hm.","signature":"s"}"#;
    let call =
        |input: &str| format!(r#"{{"type":"tool_use","id":"c","name":"t","input":{input}}}"#);
    let in_arguments = "20000 JSON values in the arguments of a tool call";
    let cases = [
        (
            Format::OPENAI,
            openai_call(&format!("\"{arrays}\"")),
            in_arguments,
        ),
        (Format::OPENAI, openai_call(&arrays), in_arguments),
        (Format::ANTHROPIC, anthropic(&call(&arrays)), in_arguments),
        (
            Format::ANTHROPIC,
            anthropic(&format!(
                r#"{thinking},{{"type":"redacted_thinking","data":{arrays}}}"#
            )),
            "20000 JSON values in a message that it signs",
        ),
        (
            Format::ANTHROPIC,
            anthropic(&format!("{}{{}}", "{},".repeat(1_000_000))),
            "4096 content blocks",
        ),
        (
            Format::OPENAI,
            openai(&format!(r#"{{"reasoning_details":{arrays}}}"#)),
            "20000 JSON values in a message",
        ),
    ];
    let site = limited_site().await;
    let watch = site.watch();
    for (format, body, says) in cases {
        let model = sending(body).await;
        let agent = agent(&site, "swelling", format, &model, json!({})).await;
        for ended in run_many(&site, &agent).await {
            assert_eq!(ended["error"]["type"], "model_error", "{ended}");
            assert!(ended["result"].as_str().unwrap().contains(says), "{ended}");
            assert_eq!(ended["attempt"], 1, "{ended}");
        }
    }
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test]
async fn unknown_fields_take_no_memory() {
    let rest = tiny_arrays(8 * 1024 * 1024 - 200);
    let completion = openai(&format!(r#"{{"content":"Done.","zz":{rest}}}"#));
    let message = format!(r#"{{"zz":{rest},"content":[{{"type":"text","text":"Done."}}]}}"#);
    let site = limited_site().await;
    let watch = site.watch();
    for (format, body) in [(Format::OPENAI, completion), (Format::ANTHROPIC, message)] {
        let model = sending(body).await;
        let agent = agent(&site, "talkative", format, &model, json!({})).await;
        for ended in run_many(&site, &agent).await {
            assert_eq!(ended["result"]["result"]["answer"], "Done.", "{ended}");
        }
    }
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test]
async fn an_answer_of_very_many_values_is_not_validated_against_its_schema() {
    let text = tiny_arrays(250_000);
    let model = sending(openai(&json!({ "content": text }).to_string())).await;
    let site = limited_site().await;
    let schema = json!({ "output_schema": { "type": "array" } });
    let agent = agent(&site, "structured", Format::OPENAI, &model, schema).await;
    for ended in run_many(&site, &agent).await {
        assert!(
            ended["result"]
                .as_str()
                .unwrap()
                .contains("more than 20000 JSON values"),
            "{ended}"
        );
    }
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

/// An MCP server with the tool `t`, which returns this JSON. It refuses discovery as a
/// server of the older protocol version does.
async fn mcp_server(schema: String, result: String, as_events: bool) -> FakeApi {
    let (schema, result) = (Arc::<str>::from(schema), Arc::<str>::from(result));
    FakeApi::start(move |_, call| {
        let result = match call.body["method"].as_str() {
            Some("initialize") => {
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"f","version":"1"}}"#
                    .to_owned()
            }
            Some("tools/list") => format!(r#"{{"tools":[{{"name":"t","inputSchema":{schema}}}]}}"#),
            Some("tools/call") => result.to_string(),
            Some("notifications/initialized" | "notifications/cancelled") => return api_response(202, "text/plain", ""),
            _ => return api_response(400, "application/json", "{}"),
        };
        as_answer(call, &result, as_events)
    })
    .await
}

fn as_answer(call: &Call, result: &str, as_events: bool) -> Response {
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
        call.body["id"]
    );
    match as_events {
        false => api_response(200, "application/json", message),
        true => api_response(
            200,
            "text/event-stream",
            format!(": hold on\n\nevent: message\ndata: {message}\n\n"),
        ),
    }
    .into_response()
}

/// Calls the tool once, then answers.
async fn calling_model() -> FakeModel {
    FakeModel::start(
        |_, asked: &Asked| match asked.body["messages"].as_array().unwrap().len() {
            2 => Reply::Bytes(openai_call(r#""{}""#).into_bytes()),
            _ => Reply::Text("Done."),
        },
    )
    .await
}

async fn mcp_agent(site: &Site, server: &FakeApi, model: &FakeModel) -> Agent {
    let tool = json!({ "type": "mcp", "name": "desk", "url": format!("{}/mcp", server.url()), "allow": ["t"] });
    agent(
        site,
        "desk",
        Format::OPENAI,
        model,
        json!({ "tools": [tool] }),
    )
    .await
}

#[tokio::test]
async fn messages_of_mcp_servers_that_grow_in_memory_are_errors_and_large_ones_are_accepted() {
    let swelling = format!(
        r#"{{"content":[],"structuredContent":{}}}"#,
        tiny_arrays(3_900_000)
    );
    let image = "QUJD".repeat(750_000);
    let image =
        format!(r#"{{"content":[{{"type":"image","data":"{image}","mimeType":"image/png"}}]}}"#);
    let text = format!(
        r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#,
        "A word. ".repeat(450_000)
    );
    let long = format!(
        r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#,
        "A word. ".repeat(600_000)
    );
    let cases = [
        (swelling, "the answer has more than 50000 JSON values"),
        (image, "[an image, image/png]"),
        (text, "A word. A word."),
        (long, "bytes"),
    ];
    let site = limited_site().await;
    let watch = site.watch();
    for (result, says) in cases {
        for as_events in [false, true] {
            let (server, model) = (
                mcp_server(r#"{"type":"object"}"#.to_owned(), result.clone(), as_events).await,
                calling_model().await,
            );
            let agent = mcp_agent(&site, &server, &model).await;
            for ended in run_many(&site, &agent).await {
                assert_eq!(ended["status"], "SUCCESS", "{ended}");
                let shown = ended["result"]["result"]["tool_calls"][0]["result"]
                    .as_str()
                    .unwrap();
                assert!(
                    shown.contains(says),
                    "{says}, as events: {as_events}: {shown:.200}"
                );
            }
        }
    }
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test]
async fn a_list_of_tools_that_grows_in_memory_fails_its_task_and_is_not_requested_again() {
    let schema = format!(r#"{{"type":"object","x":{}}}"#, tiny_arrays(3_900_000));
    let site = limited_site().await;
    let watch = site.watch();
    for as_events in [false, true] {
        let (server, model) = (
            mcp_server(schema.clone(), "{}".to_owned(), as_events).await,
            calling_model().await,
        );
        let agent = mcp_agent(&site, &server, &model).await;
        for ended in run_many(&site, &agent).await {
            assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
            assert!(
                ended["result"].as_str().unwrap().contains("JSON values"),
                "{ended}"
            );
            assert_eq!(ended["attempt"], 1, "{ended}");
        }
    }
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}
