//! Checks answers against the agent's `output_schema`.

use std::sync::Arc;

use domain::{AnswerSchema, ErrorType, Fault, ModelReply, Provider};
use serde_json::Value;

use crate::memory::RunMemory;

/// Checks the answer of a reply against its schema.
pub(crate) async fn check_answer(
    schema: Option<&Arc<AnswerSchema>>,
    mut reply: ModelReply,
) -> Result<ModelReply, Fault> {
    let Some(schema) = schema.filter(|_| reply.calls.is_empty()).cloned() else {
        return Ok(reply);
    };
    let cost = schema.cost(reply.text.len());
    let check = move || {
        reply.check(&schema);
        reply
    };
    RunMemory::current()
        .off_workers(cost, check)
        .await
        .map_err(|error| {
            tracing::error!(%error, "model reply not checked against its schema");
            Fault::permanent(
                ErrorType::Internal,
                "The answer could not be checked against its schema",
            )
        })
}

/// The schema that the answer must match. It was checked when the agent was created, but not
/// for the default model of the deployment.
pub(crate) async fn parse_answer_schema(
    schema: Option<&Value>,
    provider: Provider,
) -> Result<Option<Arc<AnswerSchema>>, Fault> {
    let invalid = |message| Fault::permanent(ErrorType::InvalidAgent, message);
    let Some(schema) = schema.cloned() else {
        return Ok(None);
    };
    if provider == Provider::Extractive {
        return Err(invalid(
            "The agent has an output_schema and no model to follow it",
        ));
    }
    let cost = AnswerSchema::compilation_cost(&schema);
    let parsed = RunMemory::current()
        .off_workers(cost, move || AnswerSchema::parse(&schema))
        .await;
    match parsed {
        Ok(Ok(schema)) => Ok(Some(Arc::new(schema))),
        Ok(Err(_)) => Err(invalid("The agent's output_schema is not valid")),
        Err(error) => {
            tracing::error!(%error, "output schema not compiled");
            Err(Fault::permanent(
                ErrorType::Internal,
                "The output_schema could not be compiled",
            ))
        }
    }
}
