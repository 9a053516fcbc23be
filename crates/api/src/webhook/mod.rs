//! `GET, POST /api/webhooks/agents/{token}`: triggers a task.

mod body;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use domain::{AgentId, IdempotencyKey, Payload, Status, TaskId, TaskKey, WebhookToken};
use serde::Serialize;
use store::env::{Env, EnvError};
use store::{Admission, Agents, Clock, Queue, Rate, StoreError, Tasks, TokenRecord};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::Problem;
use crate::cors::{self, IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED};
pub(crate) use body::BodyError;

/// How long after the start of the lookup an invalid token gets its response. The lookup of
/// a disabled or expired token reads an item. The lookup of an unknown one finds none, which
/// is some microseconds faster. Without this delay, 1,000 requests would show the difference.
/// On AWS a read takes longer, and its time varies by more than that.
const UNKNOWN_AGENT_AFTER: Duration = Duration::from_millis(2);

/// Dependencies of the webhook route.
#[derive(Clone, Debug)]
pub struct Triggers {
    pub agents: Arc<Agents>,
    pub tasks: Tasks,
    pub queue: Arc<Queue>,
    pub clock: Clock,
    pub max_body_bytes: usize,
}

/// `AGENT_WEBHOOKS_MAX_BODY_BYTES`: the limit for request bodies. The default is 1 MiB. The
/// maximum is 4 MiB, because a Lambda function cannot receive more.
pub fn max_body_bytes(env: &Env) -> Result<usize, EnvError> {
    env.number(
        "AGENT_WEBHOOKS_MAX_BODY_BYTES",
        1024 * 1024,
        1,
        4 * 1024 * 1024,
    )
}

/// A trigger that is stored and queued.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Always `true`.
    success: bool,
    /// The task's id, for polling. A repeated `Idempotency-Key` returns the first task's id.
    #[schema(format = "uuid")]
    task_id: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TriggerError {
    #[error("Method not allowed")]
    Method,
    #[error("Agent not found")]
    UnknownAgent,
    #[error(transparent)]
    Key(#[from] domain::KeyError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("Rate limit exceeded; try again in {} s", whole_seconds(*retry_after))]
    RateExceeded { retry_after: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to read random bytes from the operating system")]
    Entropy(#[from] getrandom::Error),
}

/// The route, for pages of any origin. It takes any method, so that the handler can return 405
/// for HEAD: otherwise link checkers would run the agent.
pub fn router(triggers: Triggers) -> Router {
    Router::new()
        .route("/api/webhooks/agents/{token}", any(trigger))
        .with_state(triggers)
        .layer(cors::any_origin())
}

async fn trigger(
    State(triggers): State<Triggers>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(TriggerError::Method.into());
    }
    let agent = triggers.find_agent(token.ok()).await?;
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts)?;
    let payload = body::parse_payload(&parts, body, triggers.max_body_bytes)
        .await
        .map_err(TriggerError::Body)?;
    let id = TaskId::new(triggers.clock.now(), task_key(&agent, key.as_ref())?);
    let admission = triggers.admit(id, &agent, &payload, key.is_some()).await?;
    Ok(triggers
        .accept(admission, id, agent.agent_id, key.is_some())
        .await?)
}

impl Triggers {
    async fn find_agent(&self, token: Option<Path<String>>) -> Result<TokenRecord, TriggerError> {
        let token = token
            .and_then(|Path(text)| WebhookToken::parse(&text))
            .ok_or(TriggerError::UnknownAgent)?;
        let answer_at = Instant::now() + UNKNOWN_AGENT_AFTER;
        if let Some(found) = self
            .agents
            .by_token(&token.hash(), self.clock.now())
            .await?
        {
            return Ok(found);
        }
        tokio::time::sleep_until(answer_at).await;
        Err(TriggerError::UnknownAgent)
    }

    /// Stores the task if its agent's rate limit allows it. A repeated key gets its task even
    /// over the limit, because the first response may have been lost.
    async fn admit(
        &self,
        id: TaskId,
        agent: &TokenRecord,
        payload: &Payload,
        has_key: bool,
    ) -> Result<Admission, TriggerError> {
        if let Some(limit) = agent.triggers_per_minute
            && let Rate::Exceeded { retry_after } = self
                .tasks
                .count_trigger(agent.agent_id, limit, id.created_at())
                .await?
        {
            let earlier = if has_key {
                self.tasks.find_by_key(id.key(), id.created_at()).await?
            } else {
                None
            };
            return earlier.ok_or(TriggerError::RateExceeded { retry_after });
        }
        Ok(self.tasks.admit(id, agent.agent_id, payload).await?)
    }

    /// Queues the task and responds with its id. A repeated trigger whose task is PENDING
    /// queues it again, because the first trigger may have failed to do so. A duplicate message
    /// is harmless, so a retry after a 503 is safe.
    async fn accept(
        &self,
        admission: Admission,
        offered: TaskId,
        agent: AgentId,
        has_key: bool,
    ) -> Result<Response, TriggerError> {
        let (id, is_queued) = match admission {
            Admission::Created => (offered, false),
            // A task that waits for a run slot has a message in the queue.
            Admission::Repeated { id, status, waits } => (id, waits || status != Status::Pending),
        };
        if !is_queued {
            self.queue.send(id, agent).await?;
        }
        // Without a key, a repeat can only be our own write, retried after a lost response.
        let replayed = has_key && matches!(admission, Admission::Repeated { .. });
        tracing::info!(task_id = %id, agent_id = %agent, replayed, "trigger accepted");
        let mut response = Json(Accepted {
            success: true,
            task_id: id.to_string(),
        })
        .into_response();
        if replayed {
            response
                .headers_mut()
                .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

fn idempotency_key(parts: &Parts) -> Result<Option<IdempotencyKey>, TriggerError> {
    let headers = parts
        .headers
        .get_all(IDEMPOTENCY_KEY)
        .iter()
        .map(HeaderValue::as_bytes);
    Ok(IdempotencyKey::parse(headers)?)
}

fn task_key(agent: &TokenRecord, key: Option<&IdempotencyKey>) -> Result<TaskKey, TriggerError> {
    match key {
        Some(key) => Ok(TaskKey::derived(&agent.salt, key)),
        None => {
            let mut entropy = [0; 10];
            getrandom::fill(&mut entropy)?;
            Ok(TaskKey::random(entropy))
        }
    }
}

fn whole_seconds(pause: Duration) -> u64 {
    u64::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl From<TriggerError> for Problem {
    fn from(error: TriggerError) -> Self {
        match error {
            TriggerError::Method => Self::method_not_allowed(Some("GET, POST, OPTIONS")),
            TriggerError::UnknownAgent => Self::not_found("agent_not_found", "Agent not found"),
            TriggerError::Key(error) => {
                Self::bad_request("invalid_idempotency_key", error.to_string())
            }
            TriggerError::Body(error) => error.into(),
            TriggerError::RateExceeded { retry_after } => Self::client_error(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                error.to_string(),
            )
            .with_header(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after))),
            TriggerError::Store(error) => error.into(),
            TriggerError::Entropy(_) => Self::internal(error),
        }
    }
}
