//! What an HTTP response of a server is, as far as its status and headers say.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};

use super::error::McpServerError;
use crate::model::retry_after;
use crate::tools::failed::status_text;

/// Most bytes of a media type in an error.
const MAX_TYPE_BYTES: usize = 60;

/// Type and subtype in lower case.
fn media_type(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn is_event_stream(response: &Response) -> bool {
    media_type(response) == "text/event-stream"
}

/// The error for a response whose body is not a message.
pub(super) fn not_mcp(response: &Response) -> McpServerError {
    let kind = media_type(response);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/+.-".contains(&byte);
    let status = response.status();
    McpServerError::NotMcp(match kind.as_str() {
        _ if response.content_length() == Some(0) || status == StatusCode::NO_CONTENT => {
            format!("{} and an empty body", status_text(status))
        }
        "text/html" => "an HTML page".to_owned(),
        "application/json" => "JSON of another kind".to_owned(),
        kind if (1..=MAX_TYPE_BYTES).contains(&kind.len()) && kind.bytes().all(is_name) => {
            format!("content of type {kind}")
        }
        _ => "content of unknown type".to_owned(),
    })
}

/// The error for a status that is not a success.
pub(super) fn refusal(response: &Response) -> McpServerError {
    McpServerError::Status {
        status: response.status(),
        detail: None,
        retry_after: retry_after(response.status(), response.headers()),
    }
}
