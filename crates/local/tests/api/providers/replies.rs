//! Replies in forms that no documentation has, and that servers send nevertheless.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Site, searcher};
use crate::support::Reply;
use crate::support::formats::{Format, completion};

fn message(content: Value) -> Value {
    completion(json!({ "role": "assistant", "content": content }), "stop")
}

/// How a task of an OpenAI-compatible model ends that sends this reply.
async fn run(reply: Value, definition: Value) -> (Site, Value) {
    let site = Site::open(Format::OPENAI, move |_| Reply::Json(reply.clone())).await;
    let ended = site.run(definition).await;
    (site, ended)
}

#[tokio::test]
async fn an_answer_in_parts_or_with_reasoning_is_the_answer() {
    let part = |text: &str| json!({ "type": "text", "text": text });
    for (content, thought) in [
        (json!([part("Paris")]), ""),
        (
            json!([{ "type": "thinking", "thinking": [part("plan")] }, part("Paris")]),
            "plan",
        ),
        (json!("<think>\nplan\n</think>\n\nParis"), "plan"),
        (json!("plan\n</think>\n\nParis"), "plan"),
        (json!("<thinking>plan</thinking> Paris"), "plan"),
    ] {
        let (_, ended) = run(message(content.clone()), json!({})).await;
        let result = &ended["result"]["result"];
        assert_eq!(result["answer"], "Paris", "{content}: {ended}");
        assert_eq!(result["thought"], thought, "{content}: {ended}");
    }
}

#[tokio::test]
async fn odd_token_counts_do_not_cost_the_answer() {
    for (usage, input) in [
        (json!(null), 0),
        (
            json!({ "prompt_tokens": null, "completion_tokens": null }),
            0,
        ),
        (json!({ "prompt_tokens": 5.0, "completion_tokens": "3" }), 5),
        (
            json!({ "prompt_tokens": -5, "completion_tokens": 1e300 }),
            0,
        ),
    ] {
        let mut reply = message(json!("x"));
        reply["usage"] = usage.clone();
        let (_, ended) = run(reply, json!({})).await;
        assert_eq!(ended["result"]["result"]["answer"], "x", "{usage}: {ended}");
        assert_eq!(ended["usage"]["input_tokens"], input, "{usage}: {ended}");
    }
}

#[tokio::test]
async fn the_json_of_an_answer_is_found_in_one_turn() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"] });
    for content in [
        "<think>\nlet me see\n</think>\n\n{\"a\":1}",
        "let me see {\"a\":2}</think>{\"a\":1}",
        "Here you go:\n```json\n{\"a\":1}\n```\nDone.",
        "Here you go: {\"a\":1}",
    ] {
        let definition = json!({ "output_schema": schema });
        let (site, ended) = run(message(json!(content)), definition).await;
        assert_eq!(
            ended["result"]["result"]["answer"], "{\"a\":1}",
            "{content}: {ended}"
        );
        assert_eq!(site.model.asked().len(), 1, "{content}");
    }
}

#[tokio::test]
async fn an_error_with_status_200_is_retried_if_it_is_transient() {
    for (format, body) in [
        (
            Format::OPENAI,
            json!({ "error": { "message": "m", "code": 429 } }),
        ),
        (
            Format::OPENAI,
            json!({ "choices": null, "error": { "code": "502" } }),
        ),
        (
            Format::OPENAI,
            json!([{ "error": { "code": 503, "status": "UNAVAILABLE" } }]),
        ),
        (
            Format::ANTHROPIC,
            json!({ "type": "error", "error": { "type": "overloaded_error" } }),
        ),
        (
            Format::BEDROCK,
            json!({ "__type": "ThrottlingException", "message": "m" }),
        ),
    ] {
        let script = {
            let body = body.clone();
            move |call| match call {
                0 => Reply::Json(body.clone()),
                _ => Reply::Text("Now."),
            }
        };
        let ended = Site::open(format, script).await.run(json!({})).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(2)),
            "{body}: {ended}"
        );
    }
    let refused = json!({ "error": { "type": "invalid_request_error", "code": "unsupported_value", "param": "tools[0]" } });
    let (_, ended) = run(refused, json!({})).await;
    assert_eq!(
        ended["result"],
        "The model provider returned HTTP 200 with an error (unsupported_value, parameter tools[0])"
    );
    assert_eq!(ended["error"]["retryable"], false, "{ended}");
}

#[tokio::test]
async fn errors_of_every_form_have_their_code_and_parameter() {
    for (status, body, says) in [
        (
            400,
            json!({ "object": "error", "message": "m", "type": "BadRequestError", "code": 400 }),
            "(BadRequestError)",
        ),
        (
            400,
            json!([{ "error": { "code": 400, "message": "m", "status": "INVALID_ARGUMENT" } }]),
            "(INVALID_ARGUMENT)",
        ),
        (
            422,
            json!({ "detail": [{ "loc": ["body", "max_tokens"], "msg": "m", "type": "less_than" }] }),
            "(less_than, parameter max_tokens)",
        ),
        (
            422,
            json!({ "error": { "type": "budget_exceeded", "code": "422" } }),
            "(budget_exceeded)",
        ),
    ] {
        let reply = body.clone();
        let script = move |_| Reply::Refusal(status, reply.clone());
        let ended = Site::open(Format::OPENAI, script)
            .await
            .run(json!({}))
            .await;
        assert_eq!(
            ended["result"],
            format!("The model provider returned HTTP {status} {says}"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_call_written_as_text_is_made() {
    let call = r#"{"name":"search_sources","arguments":{"query":"ship"}}"#;
    for text in [
        format!("<tool_call>\n{call}\n</tool_call>"),
        format!("<think>plan</think>\n<tool_call>{call}</tool_call>"),
        "<function=search_sources>{\"query\":\"ship\"}</function>".to_owned(),
        call.to_owned(),
    ] {
        let reply = message(json!(text));
        let script = move |turn| match turn {
            0 => Reply::Json(reply.clone()),
            _ => Reply::Text("Within two days."),
        };
        let ended = Site::open(Format::OPENAI, script)
            .await
            .run(searcher())
            .await;
        let result = &ended["result"]["result"];
        assert_eq!(result["answer"], "Within two days.", "{text}: {ended}");
        assert_eq!(result["tool_calls"][0]["status"], "ok", "{text}: {ended}");
        assert_eq!(
            result["tool_calls"][0]["call_id"], "call_1_1",
            "{text}: {ended}"
        );
    }
    let broken = message(json!(
        "<tool_call>{\"name\":\"search_sources\",\"arguments\":{"
    ));
    let (_, ended) = run(broken, searcher()).await;
    assert_eq!(ended["error"]["type"], "model_error", "{ended}");
    assert!(
        ended["result"]
            .as_str()
            .unwrap()
            .contains("tool call as text"),
        "{ended}"
    );
    // What matches the schema is the answer, whatever it looks like.
    let mut definition = searcher();
    definition["output_schema"] = json!({ "type": "object", "required": ["name"] });
    let (_, ended) = run(message(json!(call)), definition).await;
    assert_eq!(ended["result"]["result"]["answer"], call, "{ended}");
}

#[tokio::test]
async fn a_pause_in_milliseconds_or_with_decimals_is_respected() {
    for header in [("retry-after-ms", "2500"), ("retry-after", "2.5")] {
        let script = move |call| match call {
            0 => Reply::Status(429, vec![header]),
            _ => Reply::Text("Now."),
        };
        let site = Site::open(Format::OPENAI, script).await;
        let ended = site.run(json!({})).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        let asked = site.model.asked();
        let waited = asked[1].at.duration_since(asked[0].at);
        assert!(
            waited >= Duration::from_millis(2500),
            "{header:?}: {waited:?}"
        );
    }
}
