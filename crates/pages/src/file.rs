//! One file of `web/dist` as an answer.

use std::io::Read as _;

use api::Problem;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

/// As `build.rs` packed it.
struct File {
    name: &'static str,
    gzip: &'static [u8],
    etag: &'static str,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

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
    fn content(&self, as_gzip: bool) -> Response {
        let kind = [(CONTENT_TYPE, media_type(self.name))];
        if as_gzip {
            return ([(CONTENT_ENCODING, "gzip")], kind, self.gzip).into_response();
        }
        let mut content = Vec::new();
        match GzDecoder::new(self.gzip).read_to_end(&mut content) {
            Ok(_) => (kind, Body::from(content)).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

fn has(asked: &HeaderMap, etag: &str) -> bool {
    let known = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|header| header.to_str().ok());
    known.flat_map(|header| header.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag
    })
}

/// RFC 9110 section 12.5.3.
fn accepts_gzip(asked: &HeaderMap) -> bool {
    let offers = asked.get_all(ACCEPT_ENCODING).into_iter().filter_map(|header| header.to_str().ok());
    offers.flat_map(|header| header.split(',')).any(|offer| {
        let (coding, weight) = offer.split_once(';').unwrap_or((offer, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
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
    fn gzip_is_sent_to_who_takes_it() {
        for taken in ["gzip", "gzip, deflate, br", "br;q=1, GZIP;q=0.5"] {
            assert!(accepts_gzip(&asking("accept-encoding", taken)), "{taken}");
        }
        for not_taken in ["", "br", "gzip;q=0", "identity, gzip; q=0.0"] {
            assert!(!accepts_gzip(&asking("accept-encoding", not_taken)), "{not_taken}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn every_file_has_a_media_type_and_comes_out_as_it_went_in() {
        for file in FILES {
            assert_ne!(media_type(file.name), "application/octet-stream", "{}", file.name);
            assert_eq!(file.content(false).status(), StatusCode::OK, "{}", file.name);
            assert!(has(&asking("if-none-match", file.etag), file.etag));
        }
        assert!(FILES.iter().any(|file| file.name == "index.html"));
    }
}
