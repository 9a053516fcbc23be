//! Servers of models and tools that send endless interim responses (1xx) and endless
//! comments in event streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::api::{Call, FakeApi, api_response};
use crate::support::others::{MIB, Site};
use crate::support::{Agent, FakeModel, Reply, accepted, client};
use crate::turns::wants;

const TIMEOUT: u64 = 3;
const BUDGET: u64 = 256 * MIB;

/// Sends `piece` repeatedly on each connection, and counts the closed connections.
struct EndlessServer {
    url: String,
    closed: watch::Receiver<usize>,
}

impl EndlessServer {
    async fn start(piece: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (closing, closed) = watch::channel(0);
        let (piece, closing) = (Arc::new(piece.repeat(1000)), Arc::new(closing));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (piece, closing) = (Arc::clone(&piece), Arc::clone(&closing));
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 64 * 1024]).await;
                    while stream.write_all(piece.as_bytes()).await.is_ok() {}
                    closing.send_modify(|closed| *closed += 1);
                });
            }
        });
        Self { url, closed }
    }

    /// Asserts that the product closes this many connections within 15 s.
    async fn assert_closed(&self, connections: usize) {
        let mut closed = self.closed.clone();
        let left = tokio::time::timeout(
            Duration::from_secs(15),
            closed.wait_for(|closed| *closed >= connections),
        );
        assert!(
            left.await.is_ok(),
            "{} connections were closed",
            *self.closed.borrow()
        );
    }
}

/// Seconds of processor time that the server has used.
fn processor_seconds(site: &Site) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.pid)).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 = [fields[11], fields[12]]
        .iter()
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

async fn run(site: &Site, agent: &Agent) -> Value {
    let triggered = client().post(&agent.url).body("1").send().await.unwrap();
    site.ended(&accepted(triggered).await, Duration::from_secs(60))
        .await
}

async fn ask_once(tool: &'static str) -> FakeModel {
    FakeModel::start(move |number, _| match number {
        0 => wants(&[(tool, "{}")]),
        _ => Reply::Text("It did not answer."),
    })
    .await
}

#[tokio::test]
async fn endless_interim_responses_end_at_the_time_limit_and_delay_no_other_caller() {
    let server = EndlessServer::start("HTTP/1.1 102 Processing\r\n\r\n").await;
    let model = ask_once("wait").await;
    let site = Site::start().await;
    let tool = json!({
        "type": "http", "name": "api", "base_url": server.url, "timeout_seconds": TIMEOUT,
        "operations": [{ "name": "wait", "description": "Waits", "path": "/wait" }],
    });
    let by_tool = json!({
        "name": "waits for a tool", "model": { "base_url": model.url, "name": "m" }, "tools": [tool],
    });
    let by_model = json!({
        "name": "waits for a model", "model": { "base_url": server.url, "name": "m" },
        "limits": { "timeout_seconds": TIMEOUT },
    });
    let (by_tool, by_model) = (site.agent(by_tool).await, site.agent(by_model).await);
    let watch = site.watch();
    let (began, before) = (Instant::now(), processor_seconds(&site));
    let (tool_ended, model_ended) = tokio::join!(run(&site, &by_tool), run(&site, &by_model));
    let used = processor_seconds(&site) - before;
    println!(
        "{used:.1} s of processor time in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(tool_ended["status"], "SUCCESS", "{tool_ended}");
    let result = &tool_ended["result"]["result"]["tool_calls"][0]["result"];
    assert_eq!(
        result, "The server did not answer within 3 seconds.",
        "{tool_ended}"
    );
    assert_eq!(model_ended["error"]["type"], "timeout", "{model_ended}");
    server.assert_closed(2).await;
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

/// Responds to a call with comments as fast as they are read.
fn comment(call: &Call) -> axum::response::Response {
    let id = &call.body["id"];
    let result = match call.body["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "fake", "version": "1" },
        }),
        Some("tools/list") => {
            json!({ "tools": [{ "name": "wait", "inputSchema": { "type": "object" } }] })
        }
        Some("tools/call") => {
            let comments = Bytes::from(": keep-alive\n\n".repeat(1000));
            let endless =
                futures::stream::repeat_with(move || Ok::<_, std::io::Error>(comments.clone()));
            return api_response(200, "text/event-stream", Body::from_stream(endless));
        }
        Some("notifications/initialized" | "notifications/cancelled") => {
            return api_response(202, "text/plain", "");
        }
        _ => {
            return api_response(
                400,
                "application/json",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"No"}}"#,
            );
        }
    };
    api_response(
        200,
        "application/json",
        json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string(),
    )
}

#[tokio::test]
async fn endless_comments_of_an_event_stream_end_the_call() {
    let server = FakeApi::start(|_, call| comment(call)).await;
    let model = ask_once("wait").await;
    let site = Site::start().await;
    let tool = json!({
        "type": "mcp", "name": "desk", "url": format!("{}/mcp", server.url()), "allow": ["wait"],
        "timeout_seconds": TIMEOUT,
    });
    let definition = json!({
        "name": "waits for events", "model": { "base_url": model.url, "name": "m" }, "tools": [tool],
    });
    let agent = site.agent(definition).await;
    let watch = site.watch();
    let (began, before) = (Instant::now(), processor_seconds(&site));
    let ended = run(&site, &agent).await;
    let used = processor_seconds(&site) - before;
    println!(
        "{used:.1} s of processor time in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    assert_eq!(
        ended["result"]["result"]["tool_calls"][0]["status"], "error",
        "{ended}"
    );
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}
