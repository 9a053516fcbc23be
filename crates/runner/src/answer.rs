//! Validates answers against the agent's schema.

use std::sync::Arc;

use domain::{AnswerSchema, ErrorType, Fault, ModelReply, Provider, ToolSpec};
use serde_json::Value;

use crate::memory::RunMemory;

/// Checks the answer of a reply against its schema, and finds tool calls that the model wrote
/// as text. A text that matches the schema is the answer.
pub(crate) async fn check_answer(
    schema: Option<&Arc<AnswerSchema>>,
    tools: &[ToolSpec],
    mut reply: ModelReply,
) -> Result<ModelReply, Fault> {
    let schema = schema.filter(|_| reply.calls.is_empty()).cloned();
    let tools = match reply.may_have_written_calls() {
        true => tools.to_vec(),
        false => Vec::new(),
    };
    if schema.is_none() && tools.is_empty() {
        return Ok(reply);
    }
    let bytes = reply.text.len();
    let cost = schema.as_ref().map_or(bytes, |schema| schema.cost(bytes));
    let check = move || {
        if let Some(schema) = schema {
            reply.check(&schema);
        }
        if !matches!(reply.checked, Some(Ok(_))) {
            reply.read_written_calls(&tools);
        }
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
