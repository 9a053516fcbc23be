//! One file of `web/dist` as an answer.

use std::io::Read as _;
use std::sync::{LazyLock, OnceLock};

use api::{Problem, accepts_gzip};
use axum::Extension;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

/// As `build.rs` packed it.
struct File {
    name: &'static str,
    gzip: &'static [u8],
    etag: &'static str,
    /// For who takes no gzip; one for all of them, made when the first one asks.
    plain: OnceLock<Vec<u8>>,
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| include!(concat!(env!("OUT_DIR"), "/files.rs")));

/// Among the extensions of an answer whose body is the program's own: there is one
/// of it, however many read it.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

/// A year, which is as long as caches keep anything.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Kept, but asked for each time: its name stays when it changes.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) fn answer(name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::not_found("not_found", "There is nothing at this address").into_response();
    };
    let mut response = match has(asked, file.etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.content(accepts_gzip(asked)),
    };
    let is_hashed = name.contains("assets/");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if is_hashed { FOR_EVER } else { ASK_AGAIN });
    headers.insert(ETAG, HeaderValue::from_static(file.etag));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

impl File {
    fn content(&'static self, as_gzip: bool) -> Response {
        let kind = (Extension(Shared), [(CONTENT_TYPE, media_type(self.name))]);
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

fn has(asked: &HeaderMap, etag: &str) -> bool {
    let known = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|header| header.to_str().ok());
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

    fn asking(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn every_file_has_a_media_type_and_comes_out_as_it_went_in() {
        for file in FILES.iter() {
            assert_ne!(media_type(file.name), "application/octet-stream", "{}", file.name);
            assert_eq!(file.content(false).status(), StatusCode::OK, "{}", file.name);
            assert!(has(&asking("if-none-match", file.etag), file.etag));
        }
        assert!(FILES.iter().any(|file| file.name == "index.html"));
    }
}
