//! `GET /api/tasks/{id}`: one task, with what it was triggered with and what befell it.

use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use domain::{Brief, ErrorType, Event, EventKind, Moment, TaskId, fits_an_answer};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Shown, StoreError};
use utoipa::ToSchema;

use super::millis;
use crate::Problem;
use crate::agents::Management;
use crate::openapi::parameters::OfTask;
use crate::task_status::TaskStatus;

/// All there is to say of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskDetail<'a> {
    #[serde(flatten)]
    status: TaskStatus<'a>,
    /// What it was triggered with, as it was sent.
    #[schema(value_type = Value, required = true)]
    payload: Option<&'a RawValue>,
    /// The length of the payload.
    payload_bytes: usize,
    /// The payload is left out, as it and the result do not fit one answer.
    payload_omitted: bool,
    /// Milliseconds from the trigger to the first run.
    #[schema(required = true)]
    wait_ms: Option<u64>,
    /// Milliseconds from the first run to the end.
    #[schema(required = true)]
    run_ms: Option<u64>,
    /// Until when it can be read, if it has ended; until when it waits for its end, if not.
    #[schema(format = "date-time")]
    expires_at: String,
    /// Its agent has as many runs as it may have; when it looks for a free one again.
    #[schema(format = "date-time", required = true)]
    waits_until: Option<String>,
    /// What befell it, in order.
    events: Vec<TaskEvent>,
}

/// One thing that befell a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskEvent {
    /// What.
    r#type: TaskEventType,
    /// When.
    #[schema(format = "date-time")]
    at: String,
    /// Which attempt it belongs to.
    #[schema(required = true)]
    attempt: Option<u32>,
    /// Why an attempt was given back; absent if its server stopped in good order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ErrorType, nullable = false, required = false)]
    error_type: Option<&'static str>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
    /// When the next attempt may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    resumes_at: Option<String>,
}

/// The kinds of things that befall a task.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TaskEventType {
    /// It was triggered.
    Created,
    /// A run of it began.
    Claimed,
    /// The run was given up, and another may follow.
    Released,
    /// It ended.
    Finished,
}

/// Shows a task: how it stands, what it was triggered with, and what befell it.
#[utoipa::path(get, path = "/api/tasks/{id}", tag = "Tasks", operation_id = "get_task",
    params(OfTask),
    responses((status = 200, description = "The task.", body = TaskDetail)))]
pub(crate) async fn show(
    State(management): State<Management>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let not_found = || Problem::not_found("task_not_found", "Task not found");
    let id = id.ok().and_then(|Path(id)| TaskId::parse(&id)).ok_or_else(not_found)?;
    let now = management.clock.now();
    let shown = management.tasks.show(id).await?;
    let shown = shown.filter(|shown| shown.task.is_visible(id, now)).ok_or_else(not_found)?;
    Ok(([(CONTENT_TYPE, "application/json")], TaskDetail::json(&shown)?).into_response())
}

impl<'a> TaskDetail<'a> {
    /// The answer, without the payload if it does not fit beside the result.
    fn json(shown: &'a Shown) -> Result<String, StoreError> {
        let damaged = |_| StoreError::Damaged { id: shown.task.id.key().as_hex(), attribute: "payload" };
        let payload = serde_json::from_str(shown.payload.as_json()).map_err(damaged)?;
        let whole = serde_json::to_string(&Self::of(shown, Some(payload))).map_err(damaged)?;
        match fits_an_answer(&whole) {
            true => Ok(whole),
            false => serde_json::to_string(&Self::of(shown, None)).map_err(damaged),
        }
    }

    fn of(shown: &'a Shown, payload: Option<&'a RawValue>) -> Self {
        let brief = Brief::of(shown.task.clone());
        Self {
            status: TaskStatus::of(&shown.task),
            payload,
            payload_bytes: shown.payload.as_json().len(),
            payload_omitted: payload.is_none(),
            wait_ms: brief.waited().map(millis),
            run_ms: brief.ran().map(millis),
            expires_at: brief.expires_at.rfc3339(),
            waits_until: shown.waits_until.map(Moment::rfc3339),
            events: shown.events.iter().map(TaskEvent::of).collect(),
        }
    }
}

impl TaskEvent {
    fn of(event: &Event) -> Self {
        let (r#type, fault, resumes_at) = match &event.kind {
            EventKind::Created => (TaskEventType::Created, None, None),
            EventKind::Claimed => (TaskEventType::Claimed, None, None),
            EventKind::Released { fault, resumes_at } => {
                (TaskEventType::Released, fault.clone(), *resumes_at)
            }
            EventKind::Finished => (TaskEventType::Finished, None, None),
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
