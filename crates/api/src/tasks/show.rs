//! `GET /api/tasks/{id}`: a task with its payload and its history.

use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use domain::{
    ErrorType, HistoryEvent, HistoryEventKind, Moment, TaskBrief, TaskId, fits_lambda_response,
};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{StoreError, TaskDetails};
use utoipa::ToSchema;

use super::millis;
use crate::openapi::parameters::TaskIdParam;
use crate::task_status::TaskStatus;
use crate::{Management, Problem};

/// A task with all its details.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskDetail<'a> {
    #[serde(flatten)]
    status: TaskStatus<'a>,
    /// The payload, unchanged.
    #[schema(value_type = Value, required = true)]
    payload: Option<&'a RawValue>,
    /// Size of the payload in bytes.
    payload_bytes: usize,
    /// `true` if the payload is omitted because payload and result together are too large for one response.
    payload_omitted: bool,
    /// Milliseconds from the trigger to the start of the first attempt.
    #[schema(required = true)]
    wait_ms: Option<u64>,
    /// Milliseconds from the start of the first attempt to the end.
    #[schema(required = true)]
    run_ms: Option<u64>,
    /// When the task can no longer be read. This time changes when the task ends.
    #[schema(format = "date-time")]
    expires_at: String,
    /// When the task checks for a free run slot again. `null` unless it waits because its agent has
    /// `max_concurrent_runs` runs.
    #[schema(format = "date-time", required = true)]
    waits_until: Option<String>,
    /// The history of the task, oldest first.
    events: Vec<TaskEvent>,
}

/// An event in the history of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskEvent {
    /// The kind of event.
    r#type: TaskEventType,
    /// When it happened.
    #[schema(format = "date-time")]
    at: String,
    /// The number of the attempt.
    #[schema(required = true)]
    attempt: Option<u32>,
    /// Why an attempt was released. Absent after a clean shutdown of its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ErrorType, nullable = false, required = false)]
    error_type: Option<&'static str>,
    /// The error message of a released attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
    /// When the next attempt may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    resumes_at: Option<String>,
}

/// Kinds of history events.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TaskEventType {
    /// The task was triggered.
    Created,
    /// An attempt started.
    Claimed,
    /// The attempt was given up. Another one may follow.
    Released,
    /// The task ended.
    Finished,
}

/// Shows a task with its status, payload and history.
#[utoipa::path(get, path = "/api/tasks/{id}", tag = "Tasks", operation_id = "get_task",
    params(TaskIdParam),
    responses((status = 200, description = "The task.", body = TaskDetail)))]
pub(crate) async fn show(
    State(management): State<Management>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let not_found = || Problem::not_found("task_not_found", "Task not found");
    let id = id
        .ok()
        .and_then(|Path(id)| TaskId::parse(&id))
        .ok_or_else(not_found)?;
    let now = management.clock.now();
    let shown = management.tasks.show(id).await?;
    let shown = shown
        .filter(|shown| shown.task.is_visible(id, now))
        .ok_or_else(not_found)?;
    Ok((
        [(CONTENT_TYPE, "application/json")],
        TaskDetail::render_json(&shown)?,
    )
        .into_response())
}

impl<'a> TaskDetail<'a> {
    /// The response body. Omits the payload if payload and result together are too large.
    fn render_json(shown: &'a TaskDetails) -> Result<String, StoreError> {
        let damaged = |_| StoreError::Damaged {
            id: shown.task.id.key().as_hex(),
            attribute: "payload",
        };
        let payload = serde_json::from_str(shown.payload.as_json()).map_err(damaged)?;
        let whole = serde_json::to_string(&Self::new(shown, Some(payload))).map_err(damaged)?;
        match fits_lambda_response(&whole) {
            true => Ok(whole),
            false => serde_json::to_string(&Self::new(shown, None)).map_err(damaged),
        }
    }

    fn new(shown: &'a TaskDetails, payload: Option<&'a RawValue>) -> Self {
        let brief = TaskBrief::from_task(shown.task.clone());
        Self {
            status: TaskStatus::from_task(&shown.task),
            payload,
            payload_bytes: shown.payload.as_json().len(),
            payload_omitted: payload.is_none(),
            wait_ms: brief.waited().map(millis),
            run_ms: brief.ran().map(millis),
            expires_at: brief.expires_at.rfc3339(),
            waits_until: shown.waits_until.map(Moment::rfc3339),
            events: shown.events.iter().map(TaskEvent::from_event).collect(),
        }
    }
}

impl TaskEvent {
    fn from_event(event: &HistoryEvent) -> Self {
        let (r#type, fault, resumes_at) = match &event.kind {
            HistoryEventKind::Created => (TaskEventType::Created, None, None),
            HistoryEventKind::Claimed => (TaskEventType::Claimed, None, None),
            HistoryEventKind::Released { fault, resumes_at } => {
                (TaskEventType::Released, fault.clone(), *resumes_at)
            }
            HistoryEventKind::Finished => (TaskEventType::Finished, None, None),
        };
        let (error_type, message) = fault.unzip();
        Self {
            r#type,
            at: event.at.rfc3339(),
            attempt: event.attempt,
            error_type: error_type.map(domain::ErrorType::as_str),
            message,
            resumes_at: resumes_at.map(Moment::rfc3339),
        }
    }
}
