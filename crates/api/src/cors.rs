//! Cross-origin access to the public routes: pages of any origin may trigger agents and poll tasks.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use tower_http::cors::{Any, CorsLayer};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Also responds to every OPTIONS request.
pub(crate) fn any_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE, AUTHORIZATION, IDEMPOTENCY_KEY])
        .expose_headers([IDEMPOTENT_REPLAYED, RETRY_AFTER])
        .max_age(Duration::from_secs(600))
}
