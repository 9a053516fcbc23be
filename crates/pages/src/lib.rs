//! The console's pages and the page of the API documentation, out of this program.
//!
//! | address | file of `web/dist` |
//! | --- | --- |
//! | `/` | none: it leads to `/console/` |
//! | `/console/assets/…` | `assets/…`, for ever: their names change with what they hold |
//! | `/console`, `/console/…` | `index.html`, whose script knows what to show |
//! | `/api/openapi.json` | none: the file of this name at the top of the repository |
//! | `/api/docs`, `/api/docs/assets/…` | `docs/index.html`, `docs/assets/…` |
//!
//! They hold no secret: everything secret comes from the API.

mod file;

pub use file::Shared;

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

/// Nothing but our own files, and no script or style that is not in one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The routes, for anybody.
pub fn router() -> Router {
    Router::new()
        .route("/", get(async || (StatusCode::FOUND, [(LOCATION, "/console/")]).into_response()))
        .route("/console", get(console))
        .route("/console/", get(console))
        .route("/console/{*path}", get(page))
        .route("/api/openapi.json", get(document))
        .route("/api/docs", get(docs))
        .route("/api/docs/", get(docs))
        .route("/api/docs/assets/{name}", get(docs_asset))
        .method_not_allowed_fallback(async || Problem::method_not_allowed(Some("GET, HEAD")))
        .layer(map_response(guarded))
}

async fn console(headers: HeaderMap) -> Response {
    file::answer("index.html", &headers)
}

async fn page(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match path.starts_with("assets/") {
        true => file::answer(&path, &headers),
        false => console(headers).await,
    }
}

async fn document(headers: HeaderMap) -> Response {
    file::answer("openapi.json", &headers)
}

async fn docs(headers: HeaderMap) -> Response {
    file::answer("docs/index.html", &headers)
}

async fn docs_asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file::answer(&format!("docs/assets/{name}"), &headers)
}

async fn guarded(mut response: Response) -> Response {
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
