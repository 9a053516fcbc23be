//! A model that answers at once, in the format of OpenAI.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Failure;

/// Its server, on loopback.
pub(crate) struct Model {
    /// An agent's `base_url`.
    pub(crate) url: String,
    says: Arc<Mutex<Says>>,
}

/// What it answers to every request.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Text(String),
    /// A refusal that a retry does not fix.
    Refusal,
}

impl Model {
    pub(crate) async fn serve() -> Result<Self, Failure> {
        let says = Arc::new(Mutex::new(Says::Refusal));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let app = Router::new().fallback(answer).with_state(Arc::clone(&says));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, says })
    }

    pub(crate) fn will_say(&self, says: &Says) {
        self.says
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(says);
    }
}

/// Reads the whole request, because an earlier answer would close the connection to the client.
async fn answer(State(says): State<Arc<Mutex<Says>>>, _asked: Bytes) -> Response {
    let says = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match says {
        Says::Refusal => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": { "type": "invalid_request_error" } })),
        )
            .into_response(),
        Says::Text(text) => axum::Json(json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": text },
            }],
            "usage": { "prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180 },
        }))
        .into_response(),
    }
}
