//! Serves the console and the API documentation. Their files are part of this program.
//!
//! | path | file of `web/dist` |
//! | --- | --- |
//! | `/` | none: redirects to `/console/` |
//! | `/console/assets/…` | `assets/…`, cached for a year: their names have a hash of the content |
//! | `/console`, `/console/…` | `index.html`, whose script does the routing |
//! | `/api/openapi.json` | none: `openapi.json` in the root folder of the repository |
//! | `/api/docs` | `index.html` in `docs` |
//! | `/api/docs/assets/…` | `assets/…` in `docs` |
//!
//! The files contain no secrets, so these routes need no authentication.

mod file;

pub use file::StaticBody;

use api::Problem;
use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Only our own files, and no inline scripts or styles.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

pub fn router() -> Router {
    Router::new()
        .route(
            "/",
            get(async || (StatusCode::FOUND, [(LOCATION, "/console/")]).into_response()),
        )
        .route("/console", get(console))
        .route("/console/", get(console))
        .route("/console/{*path}", get(page))
        .route("/api/openapi.json", get(document))
        .route("/api/docs", get(docs))
        .route("/api/docs/", get(docs))
        .route("/api/docs/assets/{name}", get(docs_asset))
        .method_not_allowed_fallback(async || Problem::method_not_allowed(Some("GET, HEAD")))
        .layer(map_response(with_security_headers))
}

async fn console(headers: HeaderMap) -> Response {
    file::respond("index.html", &headers)
}

async fn page(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match path.starts_with("assets/") {
        true => file::respond(&path, &headers),
        false => console(headers).await,
    }
}

async fn document(headers: HeaderMap) -> Response {
    file::respond("openapi.json", &headers)
}

async fn docs(headers: HeaderMap) -> Response {
    file::respond("docs/index.html", &headers)
}

async fn docs_asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file::respond(&format!("docs/assets/{name}"), &headers)
}

async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}
