//! From a request's body or query to a payload.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use domain::{Payload, PayloadError};
use futures::StreamExt as _;
use tokio::task::{JoinError, spawn_blocking};

use crate::Problem;

/// A body over the limit is read on and thrown away up to here, so that its
/// sender is still there to read the answer.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// From this many bytes on, reading a payload takes so long that other requests on
/// the same thread would notice.
const LARGE_PAYLOAD: usize = 64 * 1024;

/// Why a request has no payload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("The request body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error(
        "The Content-Type {0:?} is not supported; send application/json or application/x-www-form-urlencoded, as UTF-8"
    )]
    MediaType(String),
    #[error("The Content-Encoding is not supported; send the body uncompressed")]
    Encoded,
    #[error("The connection ended before the request body did")]
    Incomplete,
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("failed to read the request body")]
    Unread(#[source] JoinError),
}

enum Format {
    Json,
    Form,
}

pub(super) async fn payload(parts: &Parts, body: Body, limit: usize) -> Result<Payload, BodyError> {
    if parts.method == Method::GET {
        return Ok(Payload::from_form(parts.uri.query().unwrap_or_default().as_bytes()));
    }
    let format = format(&parts.headers)?;
    if announced_length(&parts.headers).is_some_and(|length| length > MAX_DISCARDED_BYTES) {
        return Err(BodyError::TooLarge { limit });
    }
    let bytes = read(body, limit).await?;
    match bytes.len() < LARGE_PAYLOAD {
        true => parse(format, &bytes),
        false => spawn_blocking(move || parse(format, &bytes)).await.map_err(BodyError::Unread)?,
    }
}

fn parse(format: Format, bytes: &[u8]) -> Result<Payload, BodyError> {
    match format {
        Format::Json => Ok(Payload::from_json(bytes)?),
        Format::Form if std::str::from_utf8(bytes).is_err() => Err(PayloadError::NotUtf8.into()),
        Format::Form if bytes.is_empty() => Err(PayloadError::Empty.into()),
        Format::Form => Ok(Payload::from_form(bytes)),
    }
}

/// JSON (RFC 8259, and any `+json` suffix of RFC 6839), a form, or nothing said:
/// then JSON. Text is UTF-8 or refused.
fn format(headers: &HeaderMap) -> Result<Format, BodyError> {
    let identity = |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| !identity(value)) {
        return Err(BodyError::Encoded);
    }
    let Some(header) = headers.get(CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = String::from_utf8_lossy(header.as_bytes()).to_ascii_lowercase();
    let mut pieces = text.split(';').map(str::trim);
    let media_type = pieces.next().unwrap_or_default();
    let utf8 = pieces
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim() == "charset")
        .all(|(_, charset)| matches!(charset.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    match media_type {
        _ if !utf8 => Err(BodyError::MediaType(text)),
        "" | "application/json" | "text/json" => Ok(Format::Json),
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        other if other.ends_with("+json") && other.contains('/') => Ok(Format::Json),
        _ => Err(BodyError::MediaType(text)),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, BodyError> {
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Incomplete)?;
        seen = seen.saturating_add(chunk.len());
        if seen > MAX_DISCARDED_BYTES {
            break;
        }
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        }
    }
    if seen > limit { Err(BodyError::TooLarge { limit }) } else { Ok(kept) }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = match &error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            BodyError::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            BodyError::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            BodyError::Incomplete => (StatusCode::BAD_REQUEST, "incomplete_body"),
            BodyError::Payload(_) => (StatusCode::BAD_REQUEST, "invalid_payload"),
            BodyError::Unread(_) => return Self::internal(error),
        };
        Self::caller(status, code, error.to_string())
    }
}
