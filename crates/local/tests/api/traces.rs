//! Runs in the log and over OTLP, with OpenTelemetry's names.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::logs::Logging;
use crate::support::collector::{Collector, Export, attributes, resource, spans};
use crate::support::model::completion;
use crate::support::{ADMIN_TOKEN, FakeModel, Reply, accepted, client, string};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Calls two tools in one turn, one of which does not exist, and then answers.
async fn model() -> FakeModel {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let calls = json!([
        call("call-1", "search_sources", r#"{"query":"argument-secret"}"#),
        call("call-2", "payload-secret", "{}"),
    ]);
    FakeModel::start(move |number, _| match number {
        0 => Reply::Json(completion(
            json!({ "role": "assistant", "tool_calls": calls }),
            "tool_calls",
        )),
        1 => Reply::Text("answer-secret"),
        _ => Reply::Status(400, vec![]),
    })
    .await
}

/// Triggers an agent of this model, and returns the task and the agent's id.
async fn triggered(url: &str, model: &FakeModel) -> (String, String) {
    let definition = json!({
        "name": "traced", "prompt": "prompt-secret",
        "model": { "base_url": model.url, "name": "m", "api_key": "sk-secret" },
        "tools": [{ "type": "search_sources" }], "sources": [{ "title": "t", "text": "argument-secret source-secret" }],
    });
    let request = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN);
    let made: Value = request
        .json(&definition)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let trigger = client()
        .post(string(&made["webhook_url"]))
        .body(r#"{"a":"payload-secret"}"#);
    (
        accepted(trigger.send().await.unwrap()).await,
        string(&made["agent_id"]),
    )
}

fn has_run(exports: &[Export]) -> bool {
    spans(exports)
        .iter()
        .any(|span| span.parent_span_id.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_a_run_its_model_calls_and_its_tool_calls_without_any_text_of_them() {
    let (model, collector) = (model().await, Collector::answering(StatusCode::OK).await);
    let server = Logging::start_with(&[
        (ENDPOINT, &collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of%20the%20collector"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ]);
    let (task, agent) = triggered(&server.url, &model).await;
    let exports = collector.until(has_run).await;
    assert_eq!(exports[0].headers["x-key"], "of the collector");
    assert_eq!(exports[0].headers["content-type"], "application/x-protobuf");
    let sender = resource(&exports[0]);
    assert_eq!(
        (
            &sender["service.name"],
            &sender["deployment.environment.name"]
        ),
        (&json!("agent-webhooks"), &json!("test"))
    );

    assert_spans_of_run(&spans(&exports), &task, &agent, &model);
    for export in &exports {
        assert!(
            !String::from_utf8_lossy(&export.body).contains("-secret"),
            "{export:?}"
        );
    }
}

/// Asserts that these are the spans of a run whose model is [`model`].
fn assert_spans_of_run(spans: &[Span], task: &str, agent: &str, model: &FakeModel) {
    let [run, first, known, unknown, second] = spans else {
        panic!("{spans:?}")
    };
    for span in [first, second, known, unknown] {
        assert_eq!(
            (&span.trace_id, &span.parent_span_id),
            (&run.trace_id, &run.span_id),
            "{}",
            span.name
        );
    }
    let attributes = run_attributes(task, agent);
    assert_span(run, "invoke_agent traced", SpanKind::Internal, &attributes);
    let attributes = chat_attributes(model, "tool_calls");
    assert_span(first, "chat m", SpanKind::Client, &attributes);
    let attributes = tool_attributes("search_sources", "1:1");
    let name = "execute_tool search_sources";
    assert_span(known, name, SpanKind::Internal, &attributes);
    // The name is chosen by the model, and here it is text of the payload.
    let mut attributes = tool_attributes("unknown", "1:2");
    attributes["error.type"] = json!("tool_error");
    let name = "execute_tool unknown";
    assert_span(unknown, name, SpanKind::Internal, &attributes);
    let attributes = chat_attributes(model, "stop");
    assert_span(second, "chat m", SpanKind::Client, &attributes);
}

fn tool_attributes(name: &str, call_id: &str) -> Value {
    json!({
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.type": "function",
        "gen_ai.tool.name": name, "gen_ai.tool.call.id": call_id,
    })
}

fn run_attributes(task: &str, agent: &str) -> Value {
    json!({
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": agent, "gen_ai.agent.name": "traced",
        "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 22, "gen_ai.usage.output_tokens": 14,
        "agent_webhooks.task_id": task, "agent_webhooks.attempt": 1,
    })
}

fn chat_attributes(model: &FakeModel, finish_reason: &str) -> Value {
    let port: u16 = model
        .url
        .trim_end_matches("/v1")
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.max_tokens": 4096,
        "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": [finish_reason],
        "gen_ai.usage.input_tokens": 11, "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1", "server.port": port,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_failed_is_an_error_in_its_trace() {
    let model = FakeModel::start(|_, _| Reply::Status(400, vec![])).await;
    let collector = Collector::answering(StatusCode::OK).await;
    let endpoint = format!("{}/v1/traces", collector.url);
    let server = Logging::start_with(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint),
        ("OTEL_SERVICE_NAME", "renamed"),
    ]);
    triggered(&server.url, &model).await;
    let exports = collector.until(has_run).await;
    assert_eq!(resource(&exports[0])["service.name"], "renamed");
    let spans = spans(&exports);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in &spans {
        assert_eq!(
            span.status.as_ref().map(|status| status.code),
            Some(2),
            "{}",
            span.name
        );
        assert_eq!(
            attributes(&span.attributes)["error.type"],
            "model_error",
            "{}",
            span.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_spans_are_exported_when_the_server_stops() {
    let (model, collector) = (model().await, Collector::answering(StatusCode::OK).await);
    let mut server = Logging::start_with(&[(ENDPOINT, &collector.url)]);
    let (task, _) = triggered(&server.url, &model).await;
    server.lines_until_the_end_of(&task);
    server.interrupt();
    assert_eq!(spans(&collector.until(has_run).await).len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_is_logged_and_affects_no_run() {
    let (model, collector) = (
        model().await,
        Collector::answering(StatusCode::SERVICE_UNAVAILABLE).await,
    );
    let mut server = Logging::start_with(&[(ENDPOINT, &collector.url)]);
    let (task, _) = triggered(&server.url, &model).await;
    let lines = server.lines_until_the_end_of(&task);
    assert_eq!(lines.last().unwrap()["outcome"], "success");
    let refused = server.line("spans not exported");
    assert!(
        refused["error"].as_str().unwrap().contains("503"),
        "{refused}"
    );
}

/// Asserts that the log line has the names and the usage of the model call that ended the run.
fn assert_is_the_last_model_call(line: &Value) {
    let names = [
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.response.finish_reasons",
    ];
    assert_eq!(
        names.map(|name| line[name].as_str().unwrap()),
        ["openai", "m", "m", "stop"]
    );
    assert_eq!(
        (
            &line["gen_ai.usage.input_tokens"],
            &line["gen_ai.usage.output_tokens"]
        ),
        (&json!(11), &json!(7))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_nothing_is_exported_and_the_log_has_each_call_with_the_same_names() {
    let (model, collector) = (model().await, Collector::answering(StatusCode::OK).await);
    let mut server =
        Logging::start_with(&[(ENDPOINT, &collector.url), ("OTEL_SDK_DISABLED", "true")]);
    let began = Instant::now();
    let (task, _) = triggered(&server.url, &model).await;
    let lines = server.lines_until_the_end_of(&task);
    let calls: Vec<&Value> = lines
        .iter()
        .filter(|line| line.get("gen_ai.operation.name").is_some())
        .collect();
    let values_of = |name: &str| -> Vec<&Value> { calls.iter().map(|line| &line[name]).collect() };
    assert_eq!(
        values_of("message"),
        [
            "model replied",
            "tool called",
            "tool called",
            "model replied"
        ]
    );
    assert_eq!(
        values_of("gen_ai.operation.name"),
        ["chat", "execute_tool", "execute_tool", "chat"]
    );
    assert_eq!(values_of("turn"), [1, 1, 1, 2]);
    // Concurrent calls end in any order.
    let call_of = |tool: &str| {
        *calls
            .iter()
            .find(|line| line["gen_ai.tool.name"] == tool)
            .unwrap()
    };
    assert_eq!(call_of("search_sources")["outcome"], "ok");
    assert_eq!(call_of("unknown")["error.type"], "tool_error");
    assert_is_the_last_model_call(calls[3]);
    for line in &calls {
        assert!(
            Duration::from_millis(line["duration_ms"].as_u64().unwrap()) <= began.elapsed(),
            "{line}"
        );
        assert_eq!(line["task_id"], task.as_str());
    }
    assert!(
        !Value::from(lines.clone()).to_string().contains("-secret"),
        "{lines:?}"
    );
    assert!(collector.until(|_| true).await.is_empty());
}

fn assert_span(span: &Span, name: &str, kind: SpanKind, wanted: &Value) {
    assert_eq!((span.name.as_str(), span.kind()), (name, kind));
    assert_eq!(attributes(&span.attributes), *wanted, "{name}");
    let failed = wanted.get("error.type").is_some();
    assert_eq!(
        span.status.as_ref().is_some_and(|status| status.code == 2),
        failed,
        "{name}"
    );
    assert!(span.events.is_empty() && span.start_time_unix_nano <= span.end_time_unix_nano);
}
