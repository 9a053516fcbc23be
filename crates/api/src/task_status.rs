//! `GET /api/task_status?task_id=…`: how a task stands. `GET /api/health`.

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::{Moment, Outcome, Task, TaskId};
use serde_json::{Value, json};
use store::{Clock, StoreError, Tasks};

use crate::{Problem, cors};

/// What reading a status needs.
#[derive(Clone, Debug)]
pub struct Statuses {
    /// Where tasks are read.
    pub tasks: Tasks,
    /// Tells the time.
    pub clock: Clock,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("Task ID is required")]
    NoId,
    #[error("Task not found")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The routes, for any page.
pub fn router(statuses: Statuses) -> Router {
    Router::new()
        .route("/api/task_status", get(task_status))
        .route("/api/health", get(health))
        .with_state(statuses)
        .method_not_allowed_fallback(async || Problem::method_not_allowed(None))
        .layer(cors::any_origin())
}

async fn task_status(
    State(statuses): State<Statuses>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = task_id(query.as_deref().unwrap_or_default())?;
    let task = statuses.tasks.get(id).await.map_err(StatusError::Store)?;
    let task = task.filter(|task| task.is_visible(id, statuses.clock.now())).ok_or(StatusError::NotFound)?;
    let mut response = Json(view(&task)).into_response();
    if !task.status.has_ended() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn task_id(query: &str) -> Result<TaskId, StatusError> {
    let (_, text) = form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "task_id" && !value.is_empty())
        .ok_or(StatusError::NoId)?;
    TaskId::parse(text.trim()).ok_or(StatusError::NotFound)
}

fn view(task: &Task) -> Value {
    let (result, error) = match task.ended.as_ref().map(|ended| &ended.outcome) {
        None => (Value::Null, Value::Null),
        Some(Outcome::Success(answer)) => (json!({ "status": "success", "result": answer }), Value::Null),
        Some(Outcome::Failure(failure)) => (json!(failure.message), json!(failure)),
    };
    json!({
        "status": task.status.as_str(),
        "result": result,
        "task_id": task.id.to_string(),
        "agent_id": task.agent_id.to_string(),
        "attempt": task.attempt,
        "created_at": task.id.created_at().rfc3339(),
        "started_at": task.started_at.map(Moment::rfc3339),
        "finished_at": task.finished_at.map(Moment::rfc3339),
        "error": error,
        "usage": task.ended.as_ref().and_then(|ended| ended.usage.as_ref()),
    })
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

impl From<StatusError> for Problem {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::NoId => Self::bad_request("task_id_required", error.to_string()),
            StatusError::NotFound => Self::not_found("task_not_found", "Task not found"),
            StatusError::Store(error) => error.into(),
        }
    }
}
