//! All routes of the management API.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use sources::MAX_FILE_BYTES;

use crate::admin::{self, require_admin};
use crate::agents::{change, create, preview, read, secrets, sources as documents};
use crate::gzip::compress;
use crate::tasks::{list, show, stats};
use crate::trials::{call, inspect, model};
use crate::{Management, Problem, audit_list};

/// The largest agent definition: sources and prompt at their limits, with room for JSON escapes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The routes of the management API. Each request is authenticated first, except at
/// `/api/session`.
pub fn management_routes(management: Management) -> Router {
    let admins = management
        .admins
        .clone()
        .with_audit_log(Arc::clone(&management.agents));
    let session = admin::router(admins.clone());
    Router::new()
        .route("/api/agents", get(read::list).post(create::create))
        .route(
            "/api/agents/{id}",
            get(read::show).patch(change::update).delete(change::delete),
        )
        .route(
            "/api/agents/{id}/sources",
            get(documents::list)
                .post(documents::upload::upload)
                .layer(DefaultBodyLimit::max(MAX_FILE_BYTES)),
        )
        .route(
            "/api/agents/{id}/sources/{source_id}",
            delete(documents::delete),
        )
        .route("/api/agents/{id}/webhook/rotate", post(change::rotate))
        .route("/api/agent_webhook", get(read::webhook_url))
        .route("/api/prompt_preview", post(preview::show))
        .route("/api/models/test", post(model::test))
        .route(
            "/api/tools/inspect",
            post(inspect::inspect).layer(DefaultBodyLimit::max(MAX_FILE_BYTES)),
        )
        .route("/api/tools/call", post(call::call))
        .route("/api/secrets", get(secrets::list))
        .route(
            "/api/secrets/{*name}",
            put(secrets::store_secret).delete(secrets::delete_secret),
        )
        .route("/api/audit", get(audit_list::list))
        .route("/api/tasks", get(list::list))
        .route("/api/tasks/{id}", get(show::show))
        .route("/api/stats", get(stats::show))
        .method_not_allowed_fallback(async || Problem::method_not_allowed(None))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        // Definitions and payloads are long, so compression is worth it.
        .layer(from_fn(compress))
        .layer(from_fn_with_state(admins, require_admin))
        .with_state(management)
        .merge(session)
}
