//! Responds with a file of `web/dist`.

use std::io::Read as _;
use std::sync::{LazyLock, OnceLock};

use api::{Problem, accepts_gzip};
use axum::Extension;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

/// A file that `build.rs` compressed.
struct PackedFile {
    name: &'static str,
    gzip: &'static [u8],
    etag: &'static str,
    /// For callers that do not accept gzip. Decompressed at the first such request, then shared.
    plain: OnceLock<Vec<u8>>,
}

static FILES: LazyLock<Vec<PackedFile>> =
    LazyLock::new(|| include!(concat!(env!("OUT_DIR"), "/files.rs")));

/// Extension of a response whose body is static data of the program. All concurrent
/// responses share that memory.
#[derive(Clone, Copy, Debug)]
pub struct StaticBody;

/// A year: caches store nothing longer.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Browsers store the file and revalidate it each time: its name does not change with its content.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) fn respond(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::not_found("not_found", "Path not found").into_response();
    };
    let mut response = match matches_etag(headers, file.etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.content(accepts_gzip(headers)),
    };
    let is_hashed = name.contains("assets/");
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        if is_hashed { IMMUTABLE } else { REVALIDATE },
    );
    headers.insert(ETAG, HeaderValue::from_static(file.etag));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

impl PackedFile {
    fn content(&'static self, as_gzip: bool) -> Response {
        let kind = (
            Extension(StaticBody),
            [(CONTENT_TYPE, media_type(self.name))],
        );
        if as_gzip {
            return (kind, [(CONTENT_ENCODING, "gzip")], self.gzip).into_response();
        }
        match self.plain() {
            Ok(plain) => (kind, plain).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }

    fn plain(&self) -> std::io::Result<&[u8]> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let mut plain = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut plain)?;
        Ok(self.plain.get_or_init(|| plain))
    }
}

fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers
        .get_all(IF_NONE_MATCH)
        .into_iter()
        .filter_map(|header| header.to_str().ok());
    known.flat_map(|header| header.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn every_file_has_a_media_type_and_can_be_decompressed() {
        for file in FILES.iter() {
            assert_ne!(
                media_type(file.name),
                "application/octet-stream",
                "{}",
                file.name
            );
            assert_eq!(
                file.content(false).status(),
                StatusCode::OK,
                "{}",
                file.name
            );
            assert!(matches_etag(
                &headers_with("if-none-match", file.etag),
                file.etag
            ));
        }
        assert!(FILES.iter().any(|file| file.name == "index.html"));
    }
}
