//! Turns the response of a tool's server into a text for the model. Reads only as much as the
//! model gets.

use std::sync::Arc;

use domain::cut;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};

use super::call::{CallError, not_scrubbed};
use super::failed::connection_failed;
use crate::memory::RunMemory;
use crate::scrub::{SecretScrubber, TextEnd};

/// Most bytes of an error response that the model gets.
const MAX_ERROR_BYTES: usize = 2048;

/// Returns the content of a 2xx response. Any other status is an error.
pub(super) async fn read_tool_response(
    response: Response,
    most: usize,
    scrubber: Arc<SecretScrubber>,
) -> Result<String, CallError> {
    let status = response.status();
    if status.is_redirection() {
        return Err(CallError(format!(
            "The server answered {status}: a redirect, which is not followed."
        )));
    }
    let kind = content_type(response.headers(), &scrubber);
    if status.is_success() {
        return read_body(response, status, &kind, most, scrubber).await;
    }
    let server = response.url().origin().ascii_serialization();
    tracing::warn!(
        server,
        status = status.as_u16(),
        "tool server returned an error"
    );
    Err(
        match read_body(response, status, &kind, MAX_ERROR_BYTES.min(most), scrubber).await? {
            text if text.is_empty() => CallError(format!("The server answered {status}.")),
            text => CallError(format!("The server answered {status}: {text}")),
        },
    )
}

async fn read_body(
    response: Response,
    status: StatusCode,
    kind: &str,
    most: usize,
    scrubber: Arc<SecretScrubber>,
) -> Result<String, CallError> {
    if !is_text(kind) {
        let length = response
            .content_length()
            .map(|length| format!(" of {length} bytes"))
            .unwrap_or_default();
        return Ok(format!(
            "The server answered {status} with {kind}{length}, which is not text."
        ));
    }
    let (body, end) = read_beginning(response, most).await?;
    if kind.is_empty() && body.contains(&0) {
        return Ok(format!(
            "The server answered {status} with content that is not text."
        ));
    }
    if end == TextEnd::Whole && body.is_empty() && status.is_success() {
        return Ok(format!("The server answered {status} without a body."));
    }
    let scrub = move |scrubber: &SecretScrubber, body: Vec<u8>| {
        let text = String::from_utf8_lossy(&body);
        if end == TextEnd::Whole {
            return cut_at(scrubber.scrub(&text).into_owned(), most);
        }
        // The last character may be incomplete.
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        with_cut_mark(&scrubber.scrub_part(text, TextEnd::Cut), most)
    };
    let bytes = body.len();
    scrubber
        .scrub_off_workers(bytes, body, scrub)
        .await
        .map_err(|error| not_scrubbed(&error))
}

/// Cuts the text at `most` bytes and marks the cut. Secrets must have been removed before.
pub(super) fn cut_at(text: String, most: usize) -> String {
    if text.len() <= most {
        text
    } else {
        with_cut_mark(&text, most)
    }
}

fn with_cut_mark(text: &str, most: usize) -> String {
    let beginning = text
        .get(..text.floor_char_boundary(most))
        .unwrap_or_default();
    format!("{beginning}… [cut at {most} bytes]")
}

/// Up to `most` bytes of the body.
async fn read_beginning(
    mut response: Response,
    most: usize,
) -> Result<(Vec<u8>, TextEnd), CallError> {
    let memory = RunMemory::current();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connection_failed)? {
        let room = most - body.len();
        memory.before_storing(chunk.len().min(room), 0).await;
        body.extend(chunk.iter().take(room));
        if chunk.len() > room {
            return Ok((body, TextEnd::Cut));
        }
    }
    Ok((body, TextEnd::Whole))
}

/// Type and subtype in lower case. Empty without a `Content-Type`.
fn content_type(headers: &HeaderMap, scrubber: &SecretScrubber) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    cut(
        &scrubber.scrub(value.split(';').next().unwrap_or_default().trim()),
        100,
    )
    .to_lowercase()
}

fn is_text(kind: &str) -> bool {
    const TEXTS: [&str; 8] = [
        "",
        "application/json",
        "application/xml",
        "application/yaml",
        "application/javascript",
        "application/x-ndjson",
        "application/x-yaml",
        "application/x-www-form-urlencoded",
    ];
    kind.starts_with("text/")
        || TEXTS.contains(&kind)
        || ["+json", "+xml", "+yaml"]
            .iter()
            .any(|suffix| kind.ends_with(suffix))
}
