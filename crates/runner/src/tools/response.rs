//! Turns the response of a tool's server into a text for the model. Reads only as much as the
//! model gets.

use std::sync::Arc;

use domain::cut;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};

use super::call::{CallError, not_scrubbed};
use super::content::{BodyReader, Coding, charset, decode, encoding_of, is_utf_16};
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
        let target = redirect_target(&response, &scrubber);
        return Err(CallError(format!(
            "The server answered {status}: a redirect{target}, which is not followed."
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

/// Where a redirect leads, without its query, which may have credentials.
fn redirect_target(response: &Response, scrubber: &SecretScrubber) -> String {
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let Some(target) = location.and_then(|location| response.url().join(location).ok()) else {
        return String::new();
    };
    let origin = target.origin().ascii_serialization();
    let target = format!("{origin}{}", target.path());
    format!(
        " to {}",
        cut(&scrubber.scrub_part(&target, TextEnd::Whole), 300)
    )
}

async fn read_body(
    response: Response,
    status: StatusCode,
    kind: &str,
    most: usize,
    scrubber: Arc<SecretScrubber>,
) -> Result<String, CallError> {
    let declared = charset(response.headers());
    // Some frameworks add a charset to everything.
    if !is_text(kind) && (declared.is_none() || is_binary(kind)) {
        let length = response
            .content_length()
            .map(|length| format!(" of {length} bytes"))
            .unwrap_or_default();
        return Ok(format!(
            "The server answered {status} with {kind}{length}, which is not text."
        ));
    }
    // UTF-16 has two bytes for most characters that are one in UTF-8.
    let bytes = match declared {
        Some(encoding) if is_utf_16(encoding) => most.saturating_mul(2),
        _ => most,
    };
    let (body, end) = read_beginning(response, status, bytes, &scrubber).await?;
    let encoding = encoding_of(&body, kind, declared);
    if kind.is_empty() && !is_utf_16(encoding) && body.contains(&0) {
        return Ok(format!(
            "The server answered {status} with content that is not text."
        ));
    }
    if end == TextEnd::Whole && body.is_empty() && status.is_success() {
        return Ok(format!("The server answered {status} without a body."));
    }
    let scrub = move |scrubber: &SecretScrubber, body: Vec<u8>| {
        let text = decode(&body, encoding);
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

/// Up to `most` bytes of the body, decompressed.
async fn read_beginning(
    mut response: Response,
    status: StatusCode,
    most: usize,
    scrubber: &SecretScrubber,
) -> Result<(Vec<u8>, TextEnd), CallError> {
    let coding = Coding::of(response.headers());
    if let Coding::Unsupported(name) = &coding {
        let name = cut(&scrubber.scrub(name), 100);
        return Err(CallError(format!(
            "The server answered {status} with a body that is compressed as `{name}`, which was not asked for and is not supported."
        )));
    }
    let damaged = |_| {
        CallError(format!(
            "The server answered {status} with a damaged compressed body."
        ))
    };
    let memory = RunMemory::current();
    let (mut reader, mut room) = (BodyReader::new(&coding, most), most);
    let is_compressed = coding != Coding::Identity;
    while let Some(chunk) = response.chunk().await.map_err(connection_failed)? {
        // A chunk can decompress to any size.
        let stored = if is_compressed {
            room
        } else {
            chunk.len().min(room)
        };
        memory.before_storing(stored, 0).await;
        room -= stored;
        if !reader.push(&chunk).map_err(damaged)? {
            break;
        }
    }
    let (body, is_cut) = reader.finish().map_err(damaged)?;
    let end = if is_cut { TextEnd::Cut } else { TextEnd::Whole };
    Ok((body, end))
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

fn is_binary(kind: &str) -> bool {
    ["image/", "audio/", "video/", "font/"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
        || ["pdf", "zip", "gzip", "officedocument", "msword", "ms-excel"]
            .iter()
            .any(|part| kind.contains(part))
}

fn is_text(kind: &str) -> bool {
    const TEXTS: [&str; 10] = [
        "",
        "application/json",
        "application/xml",
        "application/yaml",
        "application/javascript",
        "application/jsonl",
        "application/x-ndjson",
        "application/csv",
        "application/x-yaml",
        "application/x-www-form-urlencoded",
    ];
    kind.starts_with("text/")
        || TEXTS.contains(&kind)
        || ["+json", "+xml", "+yaml"]
            .iter()
            .any(|suffix| kind.ends_with(suffix))
}
