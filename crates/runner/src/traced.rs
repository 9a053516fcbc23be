//! Spans and log lines of runs, model calls and tool calls: a span for each, and one log line
//! at the end of each call. Names follow the OpenTelemetry conventions for generative AI
//! (semantic conventions 1.41, in development). Neither contains prompts, payloads or answers.
//!
//! The model name of a response is logged only if it extends the configured name
//! ([`response_model`]), and tool calls have our own numbers as ids: text from a server may be
//! anything, such as the payload or a key.
//!
//! | span | parent |
//! | --- | --- |
//! | `invoke_agent {agent}`: one attempt | – |
//! | `chat {model}`: one call to the model | `invoke_agent` |
//! | `execute_tool {tool}` | `invoke_agent` |

use std::time::Instant;

use domain::{Agent, CallOutcome, CallReport, Fault, ModelConfig, ModelReply, Outcome, StopReason};
use store::Claimed;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};
use url::Url;

use crate::attempt::AttemptOutcome;
use crate::log::millis;

/// Most bytes of a version after a model's name. Longer than a date.
const LONGEST_VERSION: usize = 12;
/// Stands for a tool that the agent does not have, because the name is text of the model.
pub(crate) const UNKNOWN_TOOL: &str = "unknown";

pub(crate) async fn invoke_agent(
    agent: &Agent,
    claimed: &Claimed,
    model: &ModelConfig,
    attempt: impl Future<Output = AttemptOutcome>,
) -> AttemptOutcome {
    let name = agent.definition().name.as_str();
    let span = info_span!(
        target: "gen_ai", "invoke_agent", otel.name = format!("invoke_agent {name}"), otel.kind = "internal",
        gen_ai.operation.name = "invoke_agent", gen_ai.provider.name = provider_name(model),
        gen_ai.agent.id = %agent.id(), gen_ai.agent.name = name, gen_ai.request.model = model.name,
        agent_webhooks.task_id = %claimed.task.id, agent_webhooks.attempt = as_i64(claimed.task.attempt),
        gen_ai.response.model = Empty, gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
        error.r#type = Empty, otel.status_code = Empty,
    );
    let mut timed = TimedSpan::begin("invoke_agent", span);
    let attempt = attempt.instrument(timed.span.clone()).await;
    let (usage, error) = match &attempt {
        AttemptOutcome::Ended(ended) => match &ended.outcome {
            Outcome::Success(_) => (ended.usage.as_ref(), None),
            Outcome::Failure(failure) => (ended.usage.as_ref(), Some(failure.kind.as_str())),
        },
        AttemptOutcome::Faulted { fault, run } => (run.usage(), Some(fault.kind().as_str())),
        AttemptOutcome::Fenced => (None, Some("fenced")),
    };
    if let Some(usage) = usage {
        timed
            .span
            .record("gen_ai.response.model", response_model(model, &usage.model));
        timed
            .span
            .record("gen_ai.usage.input_tokens", as_i64(usage.input_tokens));
        timed
            .span
            .record("gen_ai.usage.output_tokens", as_i64(usage.output_tokens));
    }
    timed.end(error);
    attempt
}

pub(crate) async fn chat(
    model: &ModelConfig,
    turn: u32,
    max_tokens: u32,
    call: impl Future<Output = Result<ModelReply, Fault>>,
) -> Result<ModelReply, Fault> {
    let mut timed = TimedSpan::begin("chat", chat_span(model, max_tokens));
    let reply = call.instrument(timed.span.clone()).await;
    match &reply {
        Ok(reply) => record_reply(model, turn, reply, &mut timed),
        Err(fault) => {
            let error = fault.kind().as_str();
            tracing::warn!(
                turn,
                gen_ai.operation.name = "chat",
                gen_ai.provider.name = provider_name(model),
                gen_ai.request.model = model.name,
                error.r#type = error,
                duration_ms = millis(timed.began.elapsed()),
                "model failed"
            );
            timed.end(Some(error));
        }
    }
    reply
}

fn chat_span(model: &ModelConfig, max_tokens: u32) -> Span {
    let name = model.name.as_deref().unwrap_or_default();
    let server = model
        .base_url
        .as_deref()
        .and_then(|url| Url::parse(url).ok());
    info_span!(
        target: "gen_ai", "chat", otel.name = format!("chat {name}"), otel.kind = "client",
        gen_ai.operation.name = "chat", gen_ai.provider.name = provider_name(model),
        gen_ai.request.model = name, gen_ai.request.max_tokens = as_i64(max_tokens),
        server.address = server.as_ref().and_then(Url::host_str),
        server.port = server.as_ref().and_then(Url::port_or_known_default).map(as_i64),
        gen_ai.response.model = Empty, gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
        error.r#type = Empty, otel.status_code = Empty,
    )
}

fn record_reply(model: &ModelConfig, turn: u32, reply: &ModelReply, timed: &mut TimedSpan) {
    let (response_name, reason) = (response_model(model, &reply.model), finish_reason(reply));
    timed.span.record("gen_ai.response.model", response_name);
    timed.span.record("gen_ai.response.finish_reasons", reason);
    timed
        .span
        .record("gen_ai.usage.input_tokens", as_i64(reply.input_tokens));
    timed
        .span
        .record("gen_ai.usage.output_tokens", as_i64(reply.output_tokens));
    tracing::info!(
        turn,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider_name(model),
        gen_ai.request.model = model.name,
        gen_ai.response.model = response_name,
        gen_ai.response.finish_reasons = reason,
        gen_ai.usage.input_tokens = reply.input_tokens,
        gen_ai.usage.output_tokens = reply.output_tokens,
        duration_ms = millis(timed.began.elapsed()),
        "model replied"
    );
    timed.end(None);
}

/// `tool` is the name of a tool of the agent, or [`UNKNOWN_TOOL`].
pub(crate) async fn execute_tool(
    tool: &str,
    (turn, place): (u32, usize),
    called: impl Future<Output = CallReport>,
) -> CallReport {
    // The same as the end of its idempotency key.
    let id = format!("{turn}:{}", place + 1);
    let span = info_span!(
        target: "gen_ai", "execute_tool", otel.name = format!("execute_tool {tool}"), otel.kind = "internal",
        gen_ai.operation.name = "execute_tool", gen_ai.tool.name = tool, gen_ai.tool.r#type = "function",
        gen_ai.tool.call.id = id, error.r#type = Empty, otel.status_code = Empty,
    );
    let mut timed = TimedSpan::begin("execute_tool", span);
    let called = called.instrument(timed.span.clone()).await;
    let error = match called.outcome {
        CallOutcome::Ok => None,
        CallOutcome::Error | CallOutcome::Unknown => Some("tool_error"),
        CallOutcome::Refused => Some("refused"),
    };
    tracing::info!(
        turn,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool,
        gen_ai.tool.call.id = id,
        error.r#type = error,
        outcome = called.outcome.as_str(),
        duration_ms = millis(called.took),
        "tool called"
    );
    timed.end(error);
    called
}

/// The model name of the response if it is the requested name or a version of it, such as
/// `gpt-4o-2024-08-06` of `gpt-4o`. Otherwise the requested name.
fn response_model<'n>(model: &'n ModelConfig, reported: &'n str) -> &'n str {
    let requested = model.name.as_deref().unwrap_or_default();
    let base = requested.strip_suffix("-latest").unwrap_or(requested);
    match reported.strip_prefix(base) {
        Some(version) if !base.is_empty() && is_version(version) => reported,
        _ => requested,
    }
}

/// A separator and numbers, which cannot contain words.
fn is_version(text: &str) -> bool {
    let Some(number) = text.strip_prefix(['-', ':', '@']) else {
        return false;
    };
    let number = number.strip_prefix('v').unwrap_or(number);
    number.len() <= LONGEST_VERSION
        && number.starts_with(|first: char| first.is_ascii_digit())
        && number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

const fn provider_name(model: &ModelConfig) -> &'static str {
    model.provider.info().otel_name
}

const fn finish_reason(reply: &ModelReply) -> &'static str {
    match reply.stop {
        StopReason::Stop if !reply.calls.is_empty() => "tool_calls",
        StopReason::Stop => "stop",
        StopReason::Length => "length",
        StopReason::ContextFull => "context_full",
        StopReason::Filtered => "content_filter",
        StopReason::Refused => "refusal",
        StopReason::Broken | StopReason::BrokenCall => "error",
    }
}

/// The exporter supports signed numbers only, and writes all others as text.
fn as_i64(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A span that ends, or is cancelled when its time limit is over or the process stops.
struct TimedSpan {
    operation: &'static str,
    span: Span,
    began: Instant,
    is_over: bool,
}

impl TimedSpan {
    fn begin(operation: &'static str, span: Span) -> Self {
        Self {
            operation,
            span,
            began: Instant::now(),
            is_over: false,
        }
    }

    fn end(&mut self, error: Option<&str>) {
        self.is_over = true;
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Drop for TimedSpan {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Some("cancelled"));
            tracing::warn!(
                gen_ai.operation.name = self.operation,
                error.r#type = "cancelled",
                duration_ms = millis(self.began.elapsed()),
                "call broken off"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Provider;

    use super::*;

    #[test]
    fn a_model_is_logged_by_the_requested_name_or_a_version_of_it() {
        for (requested, reported, logged) in [
            ("gpt-4o", "gpt-4o", "gpt-4o"),
            ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
            (
                "claude-sonnet-4",
                "claude-sonnet-4-20250514",
                "claude-sonnet-4-20250514",
            ),
            (
                "mistral-large-latest",
                "mistral-large-2411",
                "mistral-large-2411",
            ),
            ("llama3", "llama3:8.1", "llama3:8.1"),
            ("gpt-4o", "gpt-4o-sk-live-1", "gpt-4o"),
            ("gpt-4o", "gpt-4o-4111111111111111", "gpt-4o"),
            ("gpt-4o", "gpt-4omni", "gpt-4o"),
            ("gpt-4o", "", "gpt-4o"),
            ("", "-1", ""),
        ] {
            let model = ModelConfig {
                provider: Provider::Openai,
                base_url: None,
                name: Some(requested.to_owned()),
                api_key: None,
                price: None,
            };
            assert_eq!(response_model(&model, reported), logged, "{reported}");
        }
    }
}
