//! The HTTP API, one axum router per function. The Lambdas serve one each, the
//! local server merges them: one code path for both.
//!
//! | routes | module | function |
//! | --- | --- | --- |
//! | `GET, POST /api/webhooks/agents/{token}` | [`webhook`] | webhook |
//! | `GET /api/task_status`, `GET /api/health` | [`task_status`] | task-status |
//! | `/api/agents…`, `GET /api/agent_webhook`, `/api/secrets…`, `POST /api/prompt_preview` | [`agents`] | console |
//! | `GET /api/tasks…`, `GET /api/stats` | [`tasks`] | console |
//! | `/api/session` | [`admin`] | console |
//! | `GET /api/audit` | [`audit`] | console |

pub mod admin;
pub mod agents;
pub mod audit;
mod cors;
mod gzip;
pub mod openapi;
mod problem;
mod query;
pub mod task_status;
mod tasks;
pub mod webhook;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::Response;

pub use gzip::accepts_gzip;
pub use problem::Problem;

/// Adds the answers for requests that no route takes, and keeps answers out of
/// caches unless they say otherwise: a trigger must arrive, and answers hold
/// results and webhook URLs. Browsers are told not to guess another type of content
/// than the one that is stated, because answers quote other people's text.
pub fn app(routes: Router) -> Router {
    routes
        .fallback(async || Problem::not_found("not_found", "There is nothing at this address"))
        .layer(map_response(async |response| with_safe_headers(response)))
}

/// Neither stored nor sniffed.
pub(crate) fn with_safe_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
