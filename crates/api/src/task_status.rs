//! `GET /api/task_status?task_id=…`: a task's status. `GET /api/health`.

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

use crate::openapi::parameters::TaskStatusParams;
use crate::{Problem, cors};

/// Dependencies of the status route.
#[derive(Clone, Debug)]
pub struct Statuses {
    pub tasks: Tasks,
    pub clock: Clock,
}

/// The status of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskStatus<'a> {
    /// `SUCCESS` and `FAILURE` are final.
    status: Status,
    /// The answer of a SUCCESS, or the error message of a FAILURE.
    #[schema(required = true)]
    result: Option<TaskResult<'a>>,
    /// The task's id.
    #[schema(format = "uuid")]
    task_id: String,
    /// The agent's id.
    #[schema(format = "uuid")]
    agent_id: String,
    /// Number of attempts that were started.
    attempt: u32,
    /// When the task was triggered.
    #[schema(format = "date-time")]
    created_at: String,
    /// When the first attempt started.
    #[schema(format = "date-time", required = true)]
    started_at: Option<String>,
    /// When the task ended.
    #[schema(format = "date-time", required = true)]
    finished_at: Option<String>,
    /// The error of a FAILURE.
    #[schema(required = true)]
    error: Option<&'a Failure>,
    /// Token counts from the model provider, also of a FAILURE. `null` if no model was called.
    #[schema(required = true)]
    usage: Option<&'a Usage>,
}

/// The result of a task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TaskResult<'a> {
    /// The answer of a SUCCESS.
    Answered(Answered<'a>),
    /// The error message of a FAILURE.
    Failed(&'a str),
}

/// An agent's answer, in the format of DocsGPT.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answered<'a> {
    /// Always `success`.
    status: &'static str,
    /// The answer.
    result: &'a Answer,
}

/// The health of the service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The version of Agent Webhooks.
    version: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("Task ID is required")]
    NoId,
    #[error("Task not found")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The routes, for pages of any origin.
pub fn router(statuses: Statuses) -> Router {
    Router::new()
        .route("/api/task_status", get(task_status))
        .route("/api/health", get(health))
        .with_state(statuses)
        .method_not_allowed_fallback(async || Problem::method_not_allowed(None))
        .layer(cors::any_origin())
}

/// Returns the status of a task.
///
/// Until the task has ended, `Retry-After` says when to poll again.
#[utoipa::path(get, path = "/api/task_status", tag = "Webhooks", operation_id = "get_task_status",
    params(TaskStatusParams),
    responses((status = 200, description = "The status.", body = TaskStatus,
        headers(("Retry-After" = u32, description = "Seconds until the next poll. Absent once the task has ended.")))),
    security(()))]
pub(crate) async fn task_status(
    State(statuses): State<Statuses>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = task_id(query.as_deref().unwrap_or_default())?;
    let task = statuses.tasks.get(id).await.map_err(StatusError::Store)?;
    let task = task
        .filter(|task| task.is_visible(id, statuses.clock.now()))
        .ok_or(StatusError::NotFound)?;
    let mut response = Json(TaskStatus::from_task(&task)).into_response();
    if !task.status.has_ended() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
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
    pub(crate) fn from_task(task: &'a Task) -> Self {
        let (result, error) = match task.ended.as_ref().map(|ended| &ended.outcome) {
            None => (None, None),
            Some(Outcome::Success(answer)) => {
                (Some(TaskResult::Answered(Answered::new(answer))), None)
            }
            Some(Outcome::Failure(failure)) => {
                (Some(TaskResult::Failed(&failure.message)), Some(failure))
            }
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
    const fn new(result: &'a Answer) -> Self {
        Self {
            status: "success",
            result,
        }
    }
}

/// Returns the health and the version of the service.
#[utoipa::path(get, path = "/api/health", tag = "Service", operation_id = "get_health",
    responses((status = 200, description = "The service is available.", body = Health)),
    security(()))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
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
