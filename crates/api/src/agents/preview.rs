//! `POST /api/prompt_preview`: renders the system message of a run.

use axum::Json;
use axum::extract::State;
use domain::{Agent, AgentError, AgentId, Definition, Payload, PayloadError, TaskId, TaskKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use subprocess::RenderError;
use utoipa::ToSchema;

use super::{Body, ManageError};
use crate::openapi::webhook::AnyPayload;
use crate::{Management, Problem};

/// The name of an agent without a name.
const NAMELESS: &str = "agent";

/// A prompt, and the payload to render it with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromptPreview<'a> {
    /// A Jinja template. The default prompt if `null` or absent.
    #[serde(default)]
    prompt: Option<String>,
    /// The payload of a webhook: any JSON value except `null`.
    #[serde(borrow)]
    #[schema(value_type = AnyPayload)]
    payload: &'a RawValue,
    /// The agent's name.
    #[serde(default)]
    name: Option<String>,
}

/// The rendered prompt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenderedPrompt {
    /// The system message, without the passages of the agent's sources.
    system: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    #[error("The request body must be a JSON object")]
    NotAnObject,
    #[error("The request is not valid: {0}")]
    Request(#[from] serde_json::Error),
    #[error("The sample payload is not valid: {0}")]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("The prompt cannot be rendered with this payload: {0}")]
    Render(#[from] RenderError),
}

/// Renders the system message that a run would send to the model.
///
/// The task's id and the time are examples.
#[utoipa::path(post, path = "/api/prompt_preview", tag = "Agents", operation_id = "preview_prompt",
    request_body(content = PromptPreview, description = "A prompt, and the payload to render it with.",
        example = json!({ "prompt": "You triage orders. Order: {{ payload.order }}", "payload": { "order": { "id": 42 } } })),
    responses((status = 200, description = "The system message.", body = RenderedPrompt)))]
pub(crate) async fn show(
    State(management): State<Management>,
    body: Body,
) -> Result<Json<RenderedPrompt>, Problem> {
    let body = body.map_err(ManageError::from)?;
    let now = management.clock.now();
    let mut entropy = [0; 10];
    getrandom::fill(&mut entropy).map_err(ManageError::from)?;
    let task = TaskId::new(now, TaskKey::random(entropy));
    let (agent, payload) = parse_preview(&body)?;
    let prompt = agent.prompt(&payload, task, now);
    let system = management
        .subprocesses
        .render_prompt(agent.id(), prompt)
        .await
        .map_err(PreviewError::from)?;
    Ok(Json(RenderedPrompt { system }))
}

fn parse_preview(body: &[u8]) -> Result<(Agent, Payload), PreviewError> {
    // Only an object: serde would also accept an array, with the fields by position.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(PreviewError::NotAnObject);
    }
    let PromptPreview {
        prompt,
        payload,
        name,
    } = serde_json::from_slice(body)?;
    let payload = Payload::from_json(payload.get().as_bytes())?;
    let name = name
        .as_deref()
        .filter(|name| !name.trim().is_empty())
        .unwrap_or(NAMELESS);
    let definition = Definition {
        prompt,
        ..Definition::named(name, Vec::new())
    };
    // All previews have the same id. An agent's prompts are rendered one at a time, so previews are too.
    let agent = Agent::new(AgentId::random([0; 16]), definition)?;
    Ok((agent, payload))
}

impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        let code = match error {
            PreviewError::NotAnObject
            | PreviewError::Request(_)
            | PreviewError::Payload(_)
            | PreviewError::Agent(AgentError::Name) => "invalid_request",
            PreviewError::Render(error @ RenderError::System(_)) => return Self::internal(error),
            PreviewError::Agent(_) | PreviewError::Render(_) => "invalid_prompt",
        };
        Self::bad_request(code, error.to_string())
    }
}
