//! `GET /api/task_status?task_id=…`: how a task stands. `GET /api/health`.

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::{Answer, Failure, Moment, Outcome, Status, Task, TaskId, Usage};
use serde::Serialize;
use store::{Clock, StoreError, Tasks};
use utoipa::ToSchema;

use crate::openapi::parameters::TaskInQuery;
use crate::{Problem, cors};

/// What reading a status needs.
#[derive(Clone, Debug)]
pub struct Statuses {
    /// Where tasks are read.
    pub tasks: Tasks,
    /// Tells the time.
    pub clock: Clock,
}

/// How a task stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskStatus<'a> {
    /// Never changes again once it is `SUCCESS` or `FAILURE`.
    status: Status,
    /// Of a SUCCESS the answer, of a FAILURE a sentence.
    #[schema(required = true)]
    result: Option<TaskResult<'a>>,
    /// The task's id.
    #[schema(format = "uuid")]
    task_id: String,
    /// Whose task it is.
    #[schema(format = "uuid")]
    agent_id: String,
    /// How often a run of it was begun.
    attempt: u32,
    /// When it was triggered.
    #[schema(format = "date-time")]
    created_at: String,
    /// When its first run began.
    #[schema(format = "date-time", required = true)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = "date-time", required = true)]
    finished_at: Option<String>,
    /// Of a FAILURE, why.
    #[schema(required = true)]
    error: Option<&'a Failure>,
    /// What the model's server counted, for failures too; `null` if no model was asked.
    #[schema(required = true)]
    usage: Option<&'a Usage>,
}

/// What came of a task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TaskResult<'a> {
    /// An answer.
    Answered(Answered<'a>),
    /// Why there is none.
    Failed(&'a str),
}

/// What an agent answered, in DocsGPT's wrapping.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answered<'a> {
    /// Always `success`.
    status: &'static str,
    /// The answer.
    result: &'a Answer,
}

/// The service answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The version of the product.
    version: &'static str,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
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

/// Tells how a task stands.
///
/// While it has not ended, `Retry-After` says when to ask again.
#[utoipa::path(get, path = "/api/task_status", tag = "Webhooks", operation_id = "get_task_status",
    params(TaskInQuery),
    responses((status = 200, description = "How it stands.", body = TaskStatus,
        headers(("Retry-After" = u32, description = "Seconds until asking again makes sense; absent once the task has ended.")))),
    security(()))]
pub(crate) async fn task_status(
    State(statuses): State<Statuses>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = task_id(query.as_deref().unwrap_or_default())?;
    let task = statuses.tasks.get(id).await.map_err(StatusError::Store)?;
    let task = task.filter(|task| task.is_visible(id, statuses.clock.now())).ok_or(StatusError::NotFound)?;
    let mut response = Json(TaskStatus::of(&task)).into_response();
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

impl<'a> TaskStatus<'a> {
    pub(crate) fn of(task: &'a Task) -> Self {
        let (result, error) = match task.ended.as_ref().map(|ended| &ended.outcome) {
            None => (None, None),
            Some(Outcome::Success(answer)) => (Some(TaskResult::Answered(Answered::with(answer))), None),
            Some(Outcome::Failure(failure)) => (Some(TaskResult::Failed(&failure.message)), Some(failure)),
        };
        Self {
            status: task.status,
            result,
            task_id: task.id.to_string(),
            agent_id: task.agent_id.to_string(),
            attempt: task.attempt,
            created_at: task.id.created_at().rfc3339(),
            started_at: task.started_at.map(Moment::rfc3339),
            finished_at: task.finished_at.map(Moment::rfc3339),
            error,
            usage: task.ended.as_ref().and_then(|ended| ended.usage.as_ref()),
        }
    }
}

impl<'a> Answered<'a> {
    const fn with(result: &'a Answer) -> Self {
        Self { status: "success", result }
    }
}

/// Tells that the service answers, and its version.
#[utoipa::path(get, path = "/api/health", tag = "Service", operation_id = "get_health",
    responses((status = 200, description = "It does.", body = Health)),
    security(()))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
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
