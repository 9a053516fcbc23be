//! Runs, calls to models and calls of tools, as traces and the log are told of them:
//! a span each, and for each call one line at its end. Names are those of the
//! OpenTelemetry conventions for generative AI (semantic conventions 1.41, in
//! development); of what was said there is not a word.
//!
//! What a model's server calls itself is logged only as far as the agent's definition says
//! it ([`response_model`]), and a call of a tool bears our own number: a server's words may
//! be anything, such as the payload or a key.
//!
//! | span | within |
//! | --- | --- |
//! | `invoke_agent {agent}`: one attempt | – |
//! | `chat {model}`: one call to the model | `invoke_agent` |
//! | `execute_tool {tool}` | `invoke_agent` |

use std::time::Instant;

use domain::{
    Agent, CallOutcome, Called, Fault, ModelConfig, ModelReply, Outcome, Provider, StopReason, ToolCall,
};
use store::Claimed;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};
use url::Url;

use crate::drive::Attempt;
use crate::told::millis;

/// Most bytes of a version behind a model's name: more than a date takes.
const LONGEST_VERSION: usize = 12;
/// A tool that the agent does not have: its name is a model's own words.
const UNKNOWN_TOOL: &str = "unknown";

/// One attempt at a run.
pub(crate) async fn invoke_agent(
    agent: &Agent,
    claimed: &Claimed,
    model: &ModelConfig,
    attempt: impl Future<Output = Attempt>,
) -> Attempt {
    let name = agent.draft().name.as_str();
    let span = info_span!(
        target: "gen_ai", "invoke_agent", otel.name = format!("invoke_agent {name}"), otel.kind = "internal",
        gen_ai.operation.name = "invoke_agent", gen_ai.provider.name = provider(model),
        gen_ai.agent.id = %agent.id(), gen_ai.agent.name = name, gen_ai.request.model = model.name,
        agent_webhooks.task_id = %claimed.task.id, agent_webhooks.attempt = int(claimed.task.attempt),
        gen_ai.response.model = Empty, gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
        error.r#type = Empty, otel.status_code = Empty,
    );
    let mut timed = Timed::begin("invoke_agent", span);
    let attempt = attempt.instrument(timed.span.clone()).await;
    let (usage, error) = match &attempt {
        Attempt::Ended(ended) => match &ended.outcome {
            Outcome::Success(_) => (ended.usage.as_ref(), None),
            Outcome::Failure(failure) => (ended.usage.as_ref(), Some(failure.kind.as_str())),
        },
        Attempt::Faulted { fault, run } => (run.usage(), Some(fault.kind().as_str())),
        Attempt::Fenced => (None, Some("fenced")),
    };
    if let Some(usage) = usage {
        timed.span.record("gen_ai.response.model", response_model(model, &usage.model));
        timed.span.record("gen_ai.usage.input_tokens", int(usage.input_tokens));
        timed.span.record("gen_ai.usage.output_tokens", int(usage.output_tokens));
    }
    timed.end(error);
    attempt
}

/// One call to a model.
pub(crate) async fn chat(
    model: &ModelConfig,
    turn: u32,
    max_tokens: u32,
    asked: impl Future<Output = Result<ModelReply, Fault>>,
) -> Result<ModelReply, Fault> {
    let mut timed = Timed::begin("chat", chat_span(model, max_tokens));
    let asked = asked.instrument(timed.span.clone()).await;
    match &asked {
        Ok(reply) => replied(model, turn, reply, &mut timed),
        Err(fault) => {
            let error = fault.kind().as_str();
            tracing::warn!(
                turn,
                gen_ai.operation.name = "chat",
                gen_ai.provider.name = provider(model),
                gen_ai.request.model = model.name,
                error.r#type = error,
                duration_ms = millis(timed.began.elapsed()),
                "model failed"
            );
            timed.end(Some(error));
        }
    }
    asked
}

fn chat_span(model: &ModelConfig, max_tokens: u32) -> Span {
    let name = model.name.as_deref().unwrap_or_default();
    let server = model.base_url.as_deref().and_then(|url| Url::parse(url).ok());
    info_span!(
        target: "gen_ai", "chat", otel.name = format!("chat {name}"), otel.kind = "client",
        gen_ai.operation.name = "chat", gen_ai.provider.name = provider(model), gen_ai.request.model = name,
        gen_ai.request.max_tokens = int(max_tokens),
        server.address = server.as_ref().and_then(Url::host_str),
        server.port = server.as_ref().and_then(Url::port_or_known_default).map(int),
        gen_ai.response.model = Empty, gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
        error.r#type = Empty, otel.status_code = Empty,
    )
}

fn replied(model: &ModelConfig, turn: u32, reply: &ModelReply, timed: &mut Timed) {
    let (said_by, reason) = (response_model(model, &reply.model), finish_reason(reply));
    timed.span.record("gen_ai.response.model", said_by);
    timed.span.record("gen_ai.response.finish_reasons", reason);
    timed.span.record("gen_ai.usage.input_tokens", int(reply.input_tokens));
    timed.span.record("gen_ai.usage.output_tokens", int(reply.output_tokens));
    tracing::info!(
        turn,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider(model),
        gen_ai.request.model = model.name,
        gen_ai.response.model = said_by,
        gen_ai.response.finish_reasons = reason,
        gen_ai.usage.input_tokens = reply.input_tokens,
        gen_ai.usage.output_tokens = reply.output_tokens,
        duration_ms = millis(timed.began.elapsed()),
        "model replied"
    );
    timed.end(None);
}

/// One call of a tool.
pub(crate) async fn execute_tool(
    call: &ToolCall,
    (turn, place): (u32, usize),
    is_known: bool,
    called: impl Future<Output = Called>,
) -> Called {
    let tool = if is_known { call.name.as_str() } else { UNKNOWN_TOOL };
    // As its idempotency key ends.
    let id = format!("{turn}:{}", place + 1);
    let span = info_span!(
        target: "gen_ai", "execute_tool", otel.name = format!("execute_tool {tool}"), otel.kind = "internal",
        gen_ai.operation.name = "execute_tool", gen_ai.tool.name = tool, gen_ai.tool.r#type = "function",
        gen_ai.tool.call.id = id, error.r#type = Empty, otel.status_code = Empty,
    );
    let mut timed = Timed::begin("execute_tool", span);
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

/// The name that a model's server gave the model, if it is the one that was asked for or a
/// version of it: `gpt-4o-2024-08-06` of `gpt-4o`. Otherwise the one that was asked for.
fn response_model<'n>(model: &'n ModelConfig, reported: &'n str) -> &'n str {
    let requested = model.name.as_deref().unwrap_or_default();
    let base = requested.strip_suffix("-latest").unwrap_or(requested);
    match reported.strip_prefix(base) {
        Some(version) if !base.is_empty() && is_version(version) => reported,
        _ => requested,
    }
}

/// A separator and numbers: too little to hold a word.
fn is_version(text: &str) -> bool {
    let Some(number) = text.strip_prefix(['-', ':', '@']) else { return false };
    let number = number.strip_prefix('v').unwrap_or(number);
    number.len() <= LONGEST_VERSION
        && number.starts_with(|first: char| first.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// As the conventions name it; of `openai` it is the protocol, whoever's the model.
fn provider(model: &ModelConfig) -> &'static str {
    match model.provider {
        Provider::Bedrock => "aws.bedrock",
        named => named.as_str(),
    }
}

const fn finish_reason(reply: &ModelReply) -> &'static str {
    match reply.stop {
        StopReason::Stop if !reply.calls.is_empty() => "tool_calls",
        StopReason::Stop => "stop",
        StopReason::Length => "length",
        StopReason::ContextFull => "context_full",
        StopReason::Filtered => "content_filter",
        StopReason::Refused => "refusal",
        StopReason::Broken => "error",
    }
}

/// The exporter knows signed numbers only; others become text.
fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Something that ends, or is broken off: when its time is over, or the process stops.
struct Timed {
    operation: &'static str,
    span: Span,
    began: Instant,
    is_over: bool,
}

impl Timed {
    fn begin(operation: &'static str, span: Span) -> Self {
        Self { operation, span, began: Instant::now(), is_over: false }
    }

    fn end(&mut self, error: Option<&str>) {
        self.is_over = true;
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Drop for Timed {
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
    use super::*;

    #[test]
    fn a_model_is_logged_by_the_name_that_was_asked_for_or_a_version_of_it() {
        for (requested, reported, logged) in [
            ("gpt-4o", "gpt-4o", "gpt-4o"),
            ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
            ("claude-sonnet-4", "claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
            ("mistral-large-latest", "mistral-large-2411", "mistral-large-2411"),
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
