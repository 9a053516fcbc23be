//! `POST /api/models/test`: sends one request to a model.

use axum::extract::State;
use axum::{Extension, Json};
use domain::{
    AgentId, AuditEntry, AuditEvent, ModelConfig, ModelTrial, TrialRequest, TrialResponse,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{TrialProblem, audit_entry, check_part, origin, parse_body};
use crate::agents::{Body, ManageError};
use crate::audit::Actor;
use crate::{Management, Problem};

/// A model to test.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestModel {
    /// The agent whose stored API key `model` may refer to. Without `model`, its model is tested.
    #[serde(default)]
    #[schema(format = "uuid")]
    agent_id: Option<String>,
    /// The model, as in an agent's definition. Without `agent_id` and `model`, the deployment's
    /// default model is tested.
    #[serde(default)]
    #[schema(value_type = Option<ModelConfig>)]
    model: Option<Value>,
}

/// Sends one request to a model, and returns what its server takes.
///
/// The request has a system message, a tool and an answer schema. If the server refuses one of
/// them, it is asked again without it. The test ends after 20 seconds. It costs a few hundred tokens.
#[utoipa::path(post, path = "/api/models/test", tag = "Tests", operation_id = "test_model",
    request_body(content = TestModel, description = "A model, or an agent with a model.", example = json!({
        "model": { "provider": "openai", "base_url": "http://127.0.0.1:11434/v1", "name": "llama3.2" }
    })),
    responses((status = 200, description = "The result, also if the model did not reply.", body = ModelTrial)))]
pub(crate) async fn test(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<ModelTrial>, Problem> {
    let body = body.map_err(ManageError::from)?;
    let TestModel { agent_id, model } = parse_body(&body)?;
    let (id, of_agent) = match agent_id {
        None => (None, None),
        Some(id) => {
            let record = management.find_by_id(&id).await?;
            let model = record.agent.definition().model.clone();
            (Some(record.agent.id()), model)
        }
    };
    let model = match model {
        None => of_agent,
        Some(model) => check_model(id, model)?,
    };
    let server = model.as_ref().and_then(server_of);
    let entry = AuditEntry {
        agent_id: id.map(|id| id.to_string()),
        ..audit_entry(AuditEvent::ModelTested, server)
    };
    let request = TrialRequest::Model { model };
    match management.run_trial(&actor, entry, request).await? {
        TrialResponse::Model(trial) => Ok(Json(trial)),
        TrialResponse::Failed(error) => Ok(Json(ModelTrial::failed(error))),
        _ => Err(TrialProblem::Mismatch.into()),
    }
}

fn check_model(id: Option<AgentId>, model: Value) -> Result<Option<ModelConfig>, TrialProblem> {
    let definition = check_part(id, "model", model)?;
    Ok(definition.model)
}

fn server_of(model: &ModelConfig) -> Option<String> {
    let default = model.provider.info().default_base_url;
    origin(model.base_url.as_deref().or(default)?)
}
