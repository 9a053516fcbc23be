//! The HTTP API: one axum router per Lambda function. The local server merges the routers, so
//! both deployments run the same code.
//!
//! | routes | module | function |
//! | --- | --- | --- |
//! | `GET, POST /api/webhooks/agents/{token}` | [`webhook`] | webhook |
//! | `GET /api/task_status`, `GET /api/health` | [`task_status`] | task-status |
//! | `/api/agents…`, `GET /api/agent_webhook`, `/api/secrets…`, `POST /api/prompt_preview` | [`agents`] | console |
//! | `GET /api/tasks…`, `GET /api/stats` | [`tasks`] | console |
//! | `/api/session` | [`admin`] | console |
//! | `POST /api/models/test`, `POST /api/tools/…` | `trials` | console |
//! | `GET /api/audit` | `audit_list` | console |

pub mod admin;
pub mod agents;
pub mod audit;
mod audit_list;
mod cors;
mod document_importer;
mod gzip;
mod management;
pub mod openapi;
mod problem;
mod query;
mod router;
pub mod task_status;
mod tasks;
mod trial_runner;
mod trials;
pub mod webhook;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::Response;

pub use document_importer::DocumentImporter;
pub use gzip::accepts_gzip;
pub use management::Management;
pub use problem::Problem;
pub use router::management_routes;
pub use trial_runner::{TrialRunner, TrialRunnerError};

/// Adds the response for unknown paths and the headers of all responses.
///
/// `no-store` is the default for `Cache-Control`: a trigger must reach the server, and
/// responses contain results and webhook URLs. `nosniff` keeps browsers from guessing
/// another content type, because responses quote text of other people.
pub fn app(routes: Router) -> Router {
    routes
        .fallback(async || Problem::not_found("not_found", "Path not found"))
        .layer(map_response(async |response| with_safe_headers(response)))
}

pub(crate) fn with_safe_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
