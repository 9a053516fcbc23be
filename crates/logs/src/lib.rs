//! What a process logs: one JSON object per line, flat, so that one field name
//! finds every line about a task, whoever wrote it.
//!
//! | field | meaning |
//! | --- | --- |
//! | `level`, `message` | what happened |
//! | `timestamp` | when, by RFC 3339; without a valid one Lambda assigns the level INFO, whatever `level` says |
//! | `task_id`, `agent_id`, `attempt` | what it is about |
//! | `request_id` | the Lambda invocation: `record.requestId` in Lambda's own lines |
//! | `message_id` | the queue's message, when it names no task |
//! | `error` | why, with the chain of causes |
//! | `reference` | what a caller was told with a 5xx |
//! | `status`, `server` | the HTTP status; of a model's server, which |
//! | `event`, `audit_id`, `actor`, `session_id`, `address`, `fields`, `changes`, `secret_name`, `overlap_seconds`, `attempts`, `addresses` | the audit log: see docs/AUDIT.md |
//! | `source_id`, `bytes`, `passages` | a document that was deleted or stored |
//! | `replayed` | the trigger's key named this task before |
//! | `gen_ai.*`, `turn`, `duration_ms` | of a call to a model or a tool, by OpenTelemetry's conventions |
//! | `error.type` | why it failed |
//! | `retry_in_ms` | how long a task rests, or is left alone |
//! | `outcome`, `queue_ms`, `run_ms`, `total_ms`, `input_tokens`, `output_tokens` | how a task ended: see [`Metrics`] |

mod line;
mod metrics;

use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use line::JsonLines;
pub use metrics::Metrics;

/// Spans of this `target` are there to be exported. What they say, the lines within
/// them say for themselves.
const TRACED: &str = "gen_ai";

/// A Lambda's log. Lambda takes each line of stdout that is a JSON object as it is, and
/// filters by its `level` if it has a valid `timestamp`
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
pub fn to_lambda() {
    to_traced_lambda(None, None::<LevelFilter>);
}

/// The log of a Lambda that runs agents: with metrics in it, and traces beside it.
pub fn to_traced_lambda(metrics: Option<Metrics>, traces: Option<impl Layer<Registry> + Send + Sync>) {
    let lines = JsonLines::new(std::io::stdout).with_metrics(metrics);
    tracing_subscriber::registry().with(traces).with(levels()).with(untraced(lines)).init();
}

/// The local server's log, if JSON is asked for.
pub fn to_stderr(traces: Option<impl Layer<Registry> + Send + Sync>) {
    let lines = JsonLines::new(std::io::stderr);
    tracing_subscriber::registry().with(traces).with(levels()).with(untraced(lines)).init();
}

/// The same as text, for people.
pub fn to_terminal(traces: Option<impl Layer<Registry> + Send + Sync>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry().with(traces).with(levels()).with(untraced(lines)).init();
}

/// What is logged at all. The SDK of the tools' protocol quotes what servers say.
pub fn levels() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("rmcp", LevelFilter::OFF)
}

fn untraced<S>(lines: impl Layer<S> + Send + Sync) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    lines.with_filter(filter_fn(|metadata: &Metadata<'_>| !metadata.is_span() || metadata.target() != TRACED))
}
