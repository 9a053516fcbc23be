//! Parses the payload from a request's body or query.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use domain::{Payload, PayloadError};
use futures::StreamExt as _;
use tokio::task::{JoinError, spawn_blocking};

use crate::Problem;

/// A body over the limit is read and discarded up to this size, so that the caller finishes
/// sending and reads the response.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// A larger payload is parsed on another thread, because it would delay other requests on
/// this one.
const LARGE_PAYLOAD: usize = 64 * 1024;

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
    #[error("The connection closed before the request body was complete")]
    Incomplete,
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("failed to parse the request body")]
    Interrupted(#[source] JoinError),
}

enum BodyFormat {
    Json,
    Form,
}

pub(super) async fn parse_payload(
    parts: &Parts,
    body: Body,
    limit: usize,
) -> Result<Payload, BodyError> {
    if parts.method == Method::GET {
        return Ok(Payload::from_form(
            parts.uri.query().unwrap_or_default().as_bytes(),
        ));
    }
    let format = parse_format(&parts.headers)?;
    if content_length(&parts.headers).is_some_and(|length| length > MAX_DISCARDED_BYTES) {
        return Err(BodyError::TooLarge { limit });
    }
    let bytes = read_body(body, limit).await?;
    match bytes.len() < LARGE_PAYLOAD {
        true => parse_bytes(format, &bytes),
        false => spawn_blocking(move || parse_bytes(format, &bytes))
            .await
            .map_err(BodyError::Interrupted)?,
    }
}

fn parse_bytes(format: BodyFormat, bytes: &[u8]) -> Result<Payload, BodyError> {
    match format {
        BodyFormat::Json => Ok(Payload::from_json(bytes)?),
        BodyFormat::Form if std::str::from_utf8(bytes).is_err() => {
            Err(PayloadError::NotUtf8.into())
        }
        BodyFormat::Form if bytes.is_empty() => Err(PayloadError::Empty.into()),
        BodyFormat::Form => Ok(Payload::from_form(bytes)),
    }
}

/// JSON (RFC 8259, and any `+json` suffix of RFC 6839) or a form. Without a `Content-Type`
/// the body is JSON. Other charsets than UTF-8 are an error.
fn parse_format(headers: &HeaderMap) -> Result<BodyFormat, BodyError> {
    let identity =
        |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !identity(value))
    {
        return Err(BodyError::Encoded);
    }
    let Some(header) = headers.get(CONTENT_TYPE) else {
        return Ok(BodyFormat::Json);
    };
    let text = String::from_utf8_lossy(header.as_bytes()).to_ascii_lowercase();
    let mut pieces = text.split(';').map(str::trim);
    let media_type = pieces.next().unwrap_or_default();
    let utf8 = pieces
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim() == "charset")
        .all(|(_, charset)| {
            matches!(
                charset.trim().trim_matches('"'),
                "utf-8" | "utf8" | "us-ascii"
            )
        });
    match media_type {
        _ if !utf8 => Err(BodyError::MediaType(text)),
        "" | "application/json" | "text/json" => Ok(BodyFormat::Json),
        "application/x-www-form-urlencoded" => Ok(BodyFormat::Form),
        other if other.ends_with("+json") && other.contains('/') => Ok(BodyFormat::Json),
        _ => Err(BodyError::MediaType(text)),
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, BodyError> {
    let (mut bytes, mut seen) = (Vec::new(), 0_usize);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Incomplete)?;
        seen = seen.saturating_add(chunk.len());
        if seen > MAX_DISCARDED_BYTES {
            break;
        }
        if seen <= limit {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > limit {
        Err(BodyError::TooLarge { limit })
    } else {
        Ok(bytes)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = match &error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            BodyError::MediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            BodyError::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            BodyError::Incomplete => (StatusCode::BAD_REQUEST, "incomplete_body"),
            BodyError::Payload(_) => (StatusCode::BAD_REQUEST, "invalid_payload"),
            BodyError::Interrupted(_) => return Self::internal(error),
        };
        Self::client_error(status, code, error.to_string())
    }
}
