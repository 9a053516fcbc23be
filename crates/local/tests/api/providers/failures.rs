//! Model providers that fail, refuse, close the connection or send an invalid response.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Site, says, search, searcher, wants};
use crate::support::Reply;
use crate::support::formats::{Call, Format, INPUT_TOKENS, OUTPUT_TOKENS, Says, Stop};

type Faulty = fn() -> Reply;

#[tokio::test]
async fn a_transient_error_costs_an_attempt_and_the_same_request_is_sent_again() {
    let faults: [(&str, Faulty); 5] = [
        ("500", || Reply::Status(500, vec![])),
        ("503", || Reply::Status(503, vec![])),
        ("529", || Reply::Status(529, vec![])),
        ("408", || Reply::Status(408, vec![])),
        ("cut half-way", || {
            Reply::Cut(says("Never read to its end."))
        }),
    ];
    for (name, fault) in faults {
        let script = move |call| {
            if call == 0 {
                fault()
            } else {
                Reply::Text("Second time lucky.")
            }
        };
        for site in Site::each(script).await {
            let ended = site.run(json!({})).await;
            assert_eq!(
                (&ended["status"], &ended["attempt"]),
                (&json!("SUCCESS"), &json!(2)),
                "{name}, {:?}: {ended}",
                site.format
            );
            assert_eq!(ended["usage"]["turns"], 1, "{name}: {ended}");
            let asked = site.model.asked();
            assert_eq!((asked.len(), &asked[0].body), (2, &asked[1].body), "{name}");
        }
    }
}

#[tokio::test]
async fn a_busy_server_is_not_called_until_its_retry_after() {
    let script = |call| match call {
        0 => Reply::Status(429, vec![("retry-after", "4")]),
        _ => Reply::Text("Now I have time."),
    };
    for site in Site::each(script).await {
        let task = site.world.trigger(&site.agent(json!({})).await, "{}").await;
        site.model.asked_at_least(1).await;
        let released = site.world.until(&task, |status| status == "PENDING").await;
        assert_eq!(released["attempt"], 1, "{:?}: {released}", site.format);
        let ended = site.world.ended(&task).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(2)),
            "{ended}"
        );
        let asked = site.model.asked();
        let waited = asked[1].at.duration_since(asked[0].at);
        assert!(
            waited >= Duration::from_secs(4),
            "{:?} after {waited:?}",
            site.format
        );
    }
}

#[tokio::test]
async fn a_permanent_error_is_reported_after_one_request() {
    const REDIRECT: &str = ", a redirect to http://127.0.0.1:1/; redirects are not followed";
    for (status, hint, hint_of_bedrock) in [
        (400, "", ""),
        (
            401,
            ": check the agent's model.api_key",
            ": check that the account has access to the model and that BedrockModels allows it",
        ),
        (413, "", ""),
        (
            301,
            ": set the agent's model.base_url to the final address",
            "",
        ),
    ] {
        let script =
            move |_| Reply::Status(status, vec![("location", "http://127.0.0.1:1/?key=k")]);
        for site in Site::each(script).await {
            let ended = site.run(json!({})).await;
            assert_eq!(
                ended["error"]["type"], "model_error",
                "{:?}: {ended}",
                site.format
            );
            assert_eq!(ended["error"]["retryable"], false);
            let redirect = if status == 301 { REDIRECT } else { "" };
            let is_bedrock = site.format.model("")["provider"] == "bedrock";
            let hint = if is_bedrock { hint_of_bedrock } else { hint };
            assert_eq!(
                ended["result"],
                format!("The model provider returned HTTP {status}{redirect}{hint}")
            );
            assert_eq!(site.model.asked().len(), 1);
        }
    }
}

fn stopped(stop: Stop) -> Reply {
    let text = says("Half an");
    Reply::Says(Says { stop, ..text })
}

fn cut_call() -> Reply {
    let call = wants([search("c1", "ship")]);
    let stop = Stop::Length;
    Reply::Says(Says { stop, ..call })
}

/// Invalid responses, each with the error type of its failure and whether it has a token usage.
const INVALID_RESPONSES: [(&str, Faulty, &str, bool); 10] = [
    ("empty", || Reply::Says(says("")), "empty_answer", true),
    ("blank", || Reply::Says(says(" \n")), "empty_answer", true),
    ("length", || stopped(Stop::Length), "budget_exceeded", true),
    ("length in a call", cut_call, "budget_exceeded", true),
    (
        "context full",
        || stopped(Stop::ContextFull),
        "budget_exceeded",
        true,
    ),
    ("filtered", || stopped(Stop::Filtered), "model_error", true),
    ("refused", || stopped(Stop::Refused), "model_error", true),
    ("broken off", || stopped(Stop::Broken), "model_error", true),
    (
        "unknown tool",
        || Reply::Says(wants([Call("c1", "refund", json!({}))])),
        "tool_error",
        true,
    ),
    (
        "garbage",
        || Reply::Bytes(b"{\"choices\":[{\"mess".to_vec()),
        "model_error",
        false,
    ),
];

#[tokio::test]
async fn an_invalid_response_is_a_failure_and_its_tokens_are_counted() {
    for (name, reply, kind, is_paid) in INVALID_RESPONSES {
        for format in Format::ALL {
            let ended = alone(format, reply()).await;
            assert_eq!(ended["status"], "FAILURE", "{name}, {format:?}: {ended}");
            assert_eq!(ended["error"]["type"], kind, "{name}, {format:?}: {ended}");
            let usage = &ended["usage"];
            let tokens = (
                usage["input_tokens"].as_u64(),
                usage["output_tokens"].as_u64(),
            );
            let paid = is_paid.then_some((Some(INPUT_TOKENS), Some(OUTPUT_TOKENS)));
            assert_eq!(
                tokens,
                paid.unwrap_or_default(),
                "{name}, {format:?}: {ended}"
            );
        }
    }
}

/// The end of a task whose model sends this reply once.
async fn alone(format: Format, reply: Reply) -> Value {
    let reply = std::sync::Arc::new(std::sync::Mutex::new(Some(reply)));
    let site = Site::open(format, move |_| {
        reply.lock().unwrap().take().expect("asked once")
    })
    .await;
    site.run(json!({})).await
}

#[tokio::test]
async fn a_response_over_8_mib_is_not_read_to_its_end() {
    for site in Site::each(|_| Reply::Bytes(vec![b' '; 9 * 1024 * 1024])).await {
        let ended = site.run(json!({})).await;
        assert_eq!(
            ended["result"], "The model provider returned more than 8 MiB",
            "{:?}",
            site.format
        );
        assert_eq!(
            (&ended["error"]["type"], &ended["attempt"]),
            (&json!("model_error"), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_slow_response_ends_at_the_time_limit_and_earlier_turns_are_counted() {
    let script = |call| match call {
        0 => Reply::Says(wants([search("c1", "ship")])),
        _ => Reply::Drip(says("A long, slow story.")),
    };
    for site in Site::each(script).await {
        let mut definition = searcher();
        definition["limits"] = json!({ "timeout_seconds": 2 });
        let ended = site.run(definition).await;
        assert_eq!(
            ended["error"]["type"], "timeout",
            "{:?}: {ended}",
            site.format
        );
        assert_eq!(ended["usage"]["turns"], 1, "{ended}");
        assert_eq!(ended["usage"]["output_tokens"], OUTPUT_TOKENS, "{ended}");
        assert_eq!(ended["error"]["tool_calls"][0]["status"], "ok", "{ended}");
        assert_eq!(site.model.asked().len(), 2);
    }
}
