//! An OpenAI-compatible server that records what it is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::redaction;

pub(crate) struct FakeModel {
    pub(crate) url: String,
    state: Shared,
}

type Script = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

#[derive(Clone)]
struct Shared {
    asked: Arc<Mutex<Vec<Asked>>>,
    /// How many.
    count: watch::Sender<usize>,
    answer: Arc<Script>,
}

/// One recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) enum Reply {
    Text(&'static str),
    Json(Value),
    Status(u16, Vec<(&'static str, &'static str)>),
    Bytes(Vec<u8>),
    Never,
}

impl Asked {
    /// What the caller's payload became.
    pub(crate) fn user(&self) -> &str {
        self.body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap()
    }

    pub(crate) fn system(&self) -> &str {
        self.body["messages"][0]["content"].as_str().unwrap()
    }
}

impl FakeModel {
    /// Always says the same.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::start(move |_, _| Reply::Text(text)).await
    }

    /// Answers by the number of the call (from 0) and what was asked.
    pub(crate) async fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let state = Shared { asked: Arc::default(), count: watch::Sender::new(0), answer: Arc::new(answer) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(respond)).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Waits until this many requests came, for 30 seconds at most.
    pub(crate) async fn asked_at_least(&self, wanted: usize) {
        let mut count = self.state.count.subscribe();
        let came = tokio::time::timeout(Duration::from_secs(30), count.wait_for(|count| *count >= wanted));
        came.await.unwrap_or_else(|_| panic!("{} of {wanted} requests came", self.asked().len())).unwrap();
    }
}

async fn respond(State(state): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap(),
    };
    keep_secret(&asked);
    let number = {
        let mut all = state.asked.lock().unwrap();
        all.push(asked.clone());
        state.count.send_replace(all.len());
        all.len() - 1
    };
    match (state.answer)(number, &asked) {
        Reply::Text(text) => {
            redaction::secret("answer", text);
            axum::Json(completion(json!({ "role": "assistant", "content": text }), "stop")).into_response()
        }
        Reply::Json(value) => axum::Json(value).into_response(),
        Reply::Bytes(bytes) => bytes.into_response(),
        Reply::Status(status, headers) => {
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Never => std::future::pending().await,
    }
}

/// Whatever arrives here is its sender's own.
fn keep_secret(asked: &Asked) {
    redaction::payload(asked.user().as_bytes());
    let header = asked.headers.get("authorization").and_then(|header| header.to_str().ok());
    if let Some(key) = header.and_then(|header| header.strip_prefix("Bearer ")) {
        redaction::secret("API key", key);
    }
}

/// A chat completion with this message.
pub(crate) fn completion(message: Value, finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "test-model-2026",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 },
    })
}
