//! A fake model provider that supports every provider's format and records its requests.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use super::formats::completion;
use super::formats::{Format, Says};
use super::redaction;

/// Pause between two bytes of a slow response.
const DRIP: Duration = Duration::from_millis(100);

pub(crate) struct FakeModel {
    /// The base URL for the OpenAI format.
    pub(crate) url: String,
    /// The base URL for the others.
    pub(crate) origin: String,
    state: Shared,
}

type Script = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

#[derive(Clone)]
struct Shared {
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Sender<usize>,
    answer: Arc<Script>,
}

/// One recorded request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

pub(crate) enum Reply {
    Text(&'static str),
    Says(Says),
    Json(Value),
    Status(u16, Vec<(&'static str, &'static str)>),
    Refusal(u16, Value),
    Bytes(Vec<u8>),
    /// The connection breaks in the middle of the response.
    Cut(Says),
    /// The response comes one byte at a time.
    Drip(Says),
    Never,
}

impl Asked {
    pub(crate) fn format(&self) -> Format {
        Format::from_path(&self.path)
    }

    /// The user message made of the caller's payload.
    pub(crate) fn user(&self) -> &str {
        self.format().user(&self.body)
    }

    pub(crate) fn system(&self) -> &str {
        self.format().system(&self.body)
    }
}

impl FakeModel {
    /// Always answers with this text.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::start(move |_, _| Reply::Text(text)).await
    }

    /// Replies by the number of the call (from 0) and its request.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let state = Shared {
            asked: Arc::default(),
            count: watch::Sender::new(0),
            answer: Arc::new(answer),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{origin}/v1");
        let app = Router::new()
            .fallback(any(respond))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, origin, state }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Waits until there were this many requests. Waits up to 30 seconds.
    pub(crate) async fn asked_at_least(&self, wanted: usize) {
        let mut count = self.state.count.subscribe();
        let came = tokio::time::timeout(
            Duration::from_secs(30),
            count.wait_for(|count| *count >= wanted),
        );
        came.await
            .unwrap_or_else(|_| panic!("{} of {wanted} requests came", self.asked().len()))
            .unwrap();
    }
}

async fn respond(State(state): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap(),
        at: Instant::now(),
    };
    record_secrets(&asked);
    let number = {
        let mut all = state.asked.lock().unwrap();
        all.push(asked.clone());
        state.count.send_replace(all.len());
        all.len() - 1
    };
    match (state.answer)(number, &asked) {
        Reply::Text(text) => reply_json(
            &asked,
            &Says {
                text: text.into(),
                ..Says::default()
            },
        )
        .into_response(),
        Reply::Says(says) => reply_json(&asked, &says).into_response(),
        Reply::Cut(says) => partly(&reply_json(&asked, &says).0, None),
        Reply::Drip(says) => partly(&reply_json(&asked, &says).0, Some(DRIP)),
        Reply::Json(value) => axum::Json(value).into_response(),
        Reply::Refusal(status, body) => {
            (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
        }
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

fn reply_json(asked: &Asked, says: &Says) -> axum::Json<Value> {
    for text in [says.text.as_ref(), says.thought]
        .into_iter()
        .filter(|text| !text.trim().is_empty())
    {
        redaction::secret("answer", text);
    }
    axum::Json(asked.format().reply(says))
}

/// The headers have the full length. Without a pause, half of the body is sent, then the
/// connection breaks. With a pause, it is sent byte by byte.
fn partly(json: &Value, pause: Option<Duration>) -> Response {
    let bytes = json.to_string().into_bytes();
    let length = bytes.len();
    let pieces = futures::stream::unfold(0, move |sent| {
        let piece = match pause {
            None if sent > 0 => Some(Err(std::io::Error::other("cut"))),
            None => Some(Ok(bytes[..length / 2].to_vec())),
            Some(_) => bytes.get(sent).map(|byte| Ok(vec![*byte])),
        };
        async move {
            tokio::time::sleep(pause.unwrap_or_default()).await;
            Some((piece?, sent + 1))
        }
    });
    let length = [("content-length", length.to_string())];
    (length, axum::body::Body::from_stream(pieces)).into_response()
}

/// No log may contain the payload and the API key of a request.
fn record_secrets(asked: &Asked) {
    redaction::payload(asked.user().as_bytes());
    if let Some(key) = asked.format().key(&asked.headers) {
        redaction::secret("API key", key);
    }
}
