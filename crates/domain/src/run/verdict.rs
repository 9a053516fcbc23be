//! Failures of a run. The texts are for readers of the task.

use super::talk::{ModelReply, StopReason};
use super::{MAX_CALLS, Rules};
use crate::{AnswerSchema, ErrorType, Failure, Limits, SchemaMismatch, cut};

/// Why a reply cannot be used.
pub(super) fn failure_in(reply: &ModelReply, rules: Rules<'_>) -> Option<Failure> {
    let permanent = |kind, message: &str| Some(Failure::permanent(kind, message));
    match reply.stop {
        StopReason::ContextFull => permanent(
            ErrorType::BudgetExceeded,
            "The model's context window is full; shorten the prompt, the sources or the tool responses",
        ),
        StopReason::Refused => permanent(ErrorType::ModelError, "The model refused to answer"),
        StopReason::Broken => Some(Failure::transient(
            ErrorType::ModelError,
            "The model provider aborted the reply or returned an unusable one",
        )),
        StopReason::BrokenCall => Some(Failure::transient(
            ErrorType::ModelError,
            "The model wrote a tool call as text, and it is not valid; use a model or a server that supports tool calls",
        )),
        StopReason::Length => permanent(
            ErrorType::BudgetExceeded,
            "The model's answer was truncated at the limit of output tokens; raise limits.max_output_tokens",
        ),
        StopReason::Filtered => permanent(
            ErrorType::ModelError,
            "The model provider withheld the answer because of its content filter",
        ),
        StopReason::Stop => match reply.calls.first() {
            Some(call) if !rules.has_tools => Some(no_tools(&call.name)),
            Some(_) if reply.calls.len() > MAX_CALLS => permanent(
                ErrorType::BudgetExceeded,
                "The model asked for more than 32 tool calls in one turn",
            ),
            None if reply.text.trim().is_empty() => {
                permanent(ErrorType::EmptyAnswer, "The model returned an empty answer")
            }
            _ => None,
        },
    }
}

pub(super) fn nothing_found() -> Failure {
    Failure::permanent(
        ErrorType::EmptyAnswer,
        "No passage of the agent's sources matches this payload; add sources or configure a model",
    )
}

fn no_tools(tool: &str) -> Failure {
    let tool = cut(tool, 64);
    let message = format!("The model called the tool `{tool}`, which this agent does not have");
    Failure::permanent(ErrorType::ToolError, message)
        .logged_as("The model called a tool that this agent does not have")
}

pub(super) fn needs_approval(tool: &str) -> Failure {
    let message = format!(
        "The model called the tool `{tool}`, which needs a person's approval; approval is not available in webhook runs"
    );
    Failure::permanent(ErrorType::ToolError, message)
}

pub(super) fn keeps_failing(tool: &str) -> Failure {
    let tool = cut(tool, 64);
    let message =
        format!("Every tool call failed in three turns in a row, the last one of `{tool}`");
    Failure::permanent(ErrorType::ToolError, message)
        .logged_as("Every tool call failed in three turns in a row")
}

pub(super) fn correction(schema: &AnswerSchema, mismatch: &SchemaMismatch) -> String {
    format!(
        "Your answer does not match the required JSON schema:\n{}\n\nAnswer again, with JSON only and no \
         other text. The JSON must match this schema:\n{}",
        mismatch.for_model,
        schema.json()
    )
}

pub(super) fn does_not_fit(mismatch: &SchemaMismatch, corrections: u32) -> Failure {
    let message = format!(
        "The model's answer does not match the agent's output_schema after {corrections} corrections: {}",
        mismatch.for_reader
    );
    Failure::transient(ErrorType::ModelError, message)
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

pub(super) fn conversation_too_long() -> Failure {
    Failure::permanent(
        ErrorType::BudgetExceeded,
        "The conversation exceeded 4194304 bytes; reduce the size of tool responses",
    )
}
