//! Compresses responses for callers that accept gzip.

use std::io::Write as _;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Problem;

/// A shorter response fits into one packet even without compression.
const MIN_BYTES: u64 = 1024;

/// Whether the caller accepts gzip (RFC 9110 section 12.5.3).
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let offers = headers
        .get_all(ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|header| header.to_str().ok());
    offers.flat_map(|header| header.split(',')).any(|offer| {
        let (coding, weight) = offer.split_once(';').unwrap_or((offer, "q=1"));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// Middleware of routes with long responses. Compresses a response completely before it is
/// sent, so that its length is known and a slow caller does not hold up the compression.
pub(crate) async fn compress(request: Request, next: Next) -> Result<Response, Problem> {
    let is_accepted = accepts_gzip(request.headers());
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept-encoding"));
    if !is_accepted || response.body().size_hint().lower() < MIN_BYTES {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(Problem::internal)?;
    let gzip = tokio::task::spawn_blocking(move || gzip(&text))
        .await
        .map_err(Problem::internal)?;
    let gzip = gzip.map_err(Problem::internal)?;
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(CONTENT_LENGTH, gzip.len().into());
    Ok(Response::from_parts(parts, Body::from(gzip)))
}

fn gzip(text: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_only_to_callers_that_accept_it() {
        for accepted in ["gzip", "gzip, deflate, br", "br;q=1, GZIP;q=0.5"] {
            assert!(accepts_gzip(&accepting(accepted)), "{accepted}");
        }
        for refused in ["", "br", "gzip;q=0", "identity, gzip; q=0.0"] {
            assert!(!accepts_gzip(&accepting(refused)), "{refused}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
