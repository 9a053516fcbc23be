//! A fake HTTP API that records its requests and responds by a script.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::redaction;

pub(crate) struct FakeApi {
    /// `127.0.0.1:PORT`
    pub(crate) host: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// One recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Path and query, unchanged.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// The body, unchanged.
    pub(crate) text: String,
}

type Script = dyn Fn(usize, &Call) -> BoxFuture<'static, Response> + Send + Sync;

#[derive(Clone)]
struct Shared {
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn key(&self) -> &str {
        self.header("idempotency-key")
    }
}

impl FakeApi {
    /// Responds to every request with this JSON.
    pub(crate) async fn saying(json: Value) -> Self {
        Self::start(move |_, _| axum::Json(json.clone()).into_response()).await
    }

    /// Responds by the number of the call (from 0) and its request.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Call) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::start_slow(move |number, call| {
            let response = answer(number, call);
            Box::pin(async { response })
        })
        .await
    }

    pub(crate) async fn start_slow(
        script: impl Fn(usize, &Call) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let calls = Arc::default();
        let shared = Shared {
            calls: Arc::clone(&calls),
            script: Arc::new(script),
        };
        let app = Router::new().fallback(any(respond)).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { host, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The definition of a tool with these operations of this API.
    pub(crate) fn tool(&self, operations: Value) -> Value {
        json!({ "type": "http", "name": "api", "base_url": self.url(), "operations": operations })
    }
}

async fn respond(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    };
    redaction::tool_call(&call.path, &body);
    let number = {
        let mut calls = shared.calls.lock().unwrap();
        calls.push(call.clone());
        calls.len() - 1
    };
    (shared.script)(number, &call).await
}

/// A response with this status, content type and body.
pub(crate) fn api_response(status: u16, content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}
