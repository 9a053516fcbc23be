//! Logging: one flat JSON object per line, so that a search for one field name finds every line
//! about a task, from any process.
//!
//! | field | meaning |
//! | --- | --- |
//! | `level`, `message` | what happened |
//! | `timestamp` | RFC 3339; without a valid one Lambda ignores `level` and assigns INFO |
//! | `task_id`, `agent_id`, `attempt` | the task and the attempt |
//! | `request_id` | the Lambda invocation; `record.requestId` in Lambda's own lines |
//! | `message_id` | the queue message, if it contains no task id |
//! | `error` | the error, with its chain of causes |
//! | `reference` | the reference that the caller got with a 5xx |
//! | `status`, `server` | the HTTP status; the address of the model provider |
//! | `event`, `audit_id`, `actor`, `session_id`, `address`, `fields`, `changes`, `secret_name`, `overlap_seconds`, `attempts`, `addresses` | the audit log: see docs/operations/audit.md |
//! | `source_id`, `bytes`, `passages` | the document that was stored or deleted |
//! | `replayed` | whether the trigger's idempotency key returned an existing task |
//! | `gen_ai.*`, `turn`, `duration_ms` | a call to a model or a tool, by OpenTelemetry's conventions |
//! | `error.type` | the type of the failure |
//! | `reason`, `param`, `server_request_id` | the code, the parameter and the request id in an error of a model provider |
//! | `server_text` | the error text of a server, if `AGENT_WEBHOOKS_LOG_SERVER_ERRORS` is set |
//! | `retry_in_ms` | the pause before the next attempt |
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

/// The `target` of spans for export. Their fields are not added to log lines, which have the same
/// fields already.
const TRACED: &str = "gen_ai";

/// Logs to stdout of a Lambda function. Lambda stores lines that are JSON objects unchanged, and
/// filters by `level` if `timestamp` is valid
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
pub fn to_lambda() {
    to_traced_lambda(None, None::<LevelFilter>);
}

/// Like [`to_lambda`], for the function that runs agents: with metrics and traces.
pub fn to_traced_lambda(
    metrics: Option<Metrics>,
    traces: Option<impl Layer<Registry> + Send + Sync>,
) {
    let lines = JsonLines::new(std::io::stdout).with_metrics(metrics);
    tracing_subscriber::registry()
        .with(traces)
        .with(levels())
        .with(untraced(lines))
        .init();
}

/// Logs JSON to stderr, for the local server.
pub fn to_stderr(traces: Option<impl Layer<Registry> + Send + Sync>) {
    let lines = JsonLines::new(std::io::stderr);
    tracing_subscriber::registry()
        .with(traces)
        .with(levels())
        .with(untraced(lines))
        .init();
}

/// Logs text to stderr, for people.
pub fn to_terminal(traces: Option<impl Layer<Registry> + Send + Sync>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    tracing_subscriber::registry()
        .with(traces)
        .with(levels())
        .with(untraced(lines))
        .init();
}

/// The minimum level. The MCP SDK (`rmcp`) is silenced because it quotes responses of servers.
pub fn levels() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("rmcp", LevelFilter::OFF)
}

fn untraced<S>(lines: impl Layer<S> + Send + Sync) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    lines.with_filter(filter_fn(|metadata: &Metadata<'_>| {
        !metadata.is_span() || metadata.target() != TRACED
    }))
}
