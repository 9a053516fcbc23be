//! Why a run ends without an answer, in words for whoever asks.

use super::talk::{ModelReply, StopReason, cut};
use super::{MAX_CALLS, Rules};
use crate::{AnswerSchema, ErrorType, Failure, Limits, Misfit};

/// A reply that must not be worked with.
pub(super) fn failure_in(reply: &ModelReply, rules: Rules<'_>) -> Option<Failure> {
    let permanent = |kind, message: &str| Some(Failure::permanent(kind, message));
    match reply.stop {
        StopReason::ContextFull => permanent(
            ErrorType::BudgetExceeded,
            "The model's context window is full; let the prompt, the sources or the tools say less",
        ),
        StopReason::Refused => permanent(ErrorType::ModelError, "The model refused to answer"),
        StopReason::Broken => Some(Failure::passing(
            ErrorType::ModelError,
            "The model's server broke the answer off, or sent one that cannot be used",
        )),
        StopReason::Length => permanent(
            ErrorType::BudgetExceeded,
            "The model's answer was cut off at its limit of output tokens; raise limits.max_output_tokens",
        ),
        StopReason::Filtered => permanent(
            ErrorType::ModelError,
            "The model's server withheld the answer because of its content filter",
        ),
        StopReason::Stop => match reply.calls.first() {
            Some(call) if !rules.has_tools => Some(no_tools(&call.name)),
            Some(_) if reply.calls.len() > MAX_CALLS => permanent(
                ErrorType::BudgetExceeded,
                "The model asked for more than 32 tool calls in one turn",
            ),
            None if reply.text.trim().is_empty() => {
                permanent(ErrorType::EmptyAnswer, "The model answered nothing")
            }
            _ => None,
        },
    }
}

pub(super) fn nothing_found() -> Failure {
    Failure::permanent(
        ErrorType::EmptyAnswer,
        "No passage of the agent's sources speaks to this payload; add sources or give the agent a model",
    )
}

fn no_tools(tool: &str) -> Failure {
    let tool = cut(tool, 64);
    let message = format!("The model asked for the tool `{tool}`, which this agent does not have");
    Failure::permanent(ErrorType::ToolError, message)
        .logged_as("The model asked for a tool that this agent does not have")
}

pub(super) fn needs_approval(tool: &str) -> Failure {
    let message = format!(
        "The agent wanted to call the tool `{tool}`, which needs a person's approval; a webhook run has nobody to ask"
    );
    Failure::permanent(ErrorType::ToolError, message)
}

pub(super) fn keeps_failing(tool: &str) -> Failure {
    let tool = cut(tool, 64);
    let message = format!("Every tool call failed in three turns in a row, the last one of `{tool}`");
    Failure::permanent(ErrorType::ToolError, message)
        .logged_as("Every tool call failed in three turns in a row")
}

pub(super) fn correction(schema: &AnswerSchema, misfit: &Misfit) -> String {
    format!(
        "Your answer does not fit the JSON schema that it must fit:\n{}\n\nAnswer again, with JSON alone \
         and no other text, that fits this schema:\n{}",
        misfit.for_model,
        schema.json()
    )
}

pub(super) fn does_not_fit(misfit: &Misfit, corrections: u32) -> Failure {
    let message = format!(
        "The model's answer does not fit the agent's output_schema after {corrections} corrections: {}",
        misfit.for_reader
    );
    Failure::passing(ErrorType::ModelError, message)
}

pub(super) fn out_of_turns(limits: &Limits) -> Failure {
    let message = format!(
        "The agent had no answer after {} calls to the model; raise limits.max_turns if it needs more",
        limits.max_turns
    );
    Failure::permanent(ErrorType::BudgetExceeded, message)
}

pub(super) fn out_of_tokens(limits: &Limits) -> Failure {
    let message = format!(
        "The agent had no answer after {} tokens; raise limits.max_total_tokens if it needs more",
        limits.max_total_tokens
    );
    Failure::permanent(ErrorType::BudgetExceeded, message)
}

pub(super) fn talks_too_long() -> Failure {
    Failure::permanent(
        ErrorType::BudgetExceeded,
        "The model and its tools said more than 4194304 bytes; let the tools answer less",
    )
}
