//! What a process logs: one JSON object per line, flat, so that one field name
//! finds every line about a task, whoever wrote it.
//!
//! | field | meaning |
//! | --- | --- |
//! | `level`, `message` | what happened |
//! | `timestamp` | when; on AWS the log stream knows |
//! | `task_id`, `agent_id`, `attempt` | what it is about |
//! | `request_id` | the Lambda invocation: `record.requestId` in Lambda's own lines |
//! | `message_id` | the queue's message, when it names no task |
//! | `error` | why, with the chain of causes |
//! | `reference` | what a caller was told with a 5xx |
//! | `status`, `server` | the HTTP status; of a model's server, which |
//! | `source_id`, `bytes`, `passages` | a document that was deleted or stored |
//! | `replayed` | the trigger's key named this task before |
//! | `retry_in_ms` | how long a task rests, or is left alone |
//! | `outcome`, `queue_ms`, `run_ms`, `total_ms`, `input_tokens`, `output_tokens` | how a task ended: see [`Metrics`] |

mod line;
mod metrics;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use line::JsonLines;
pub use metrics::Metrics;

/// A Lambda's log. Lambda takes each line of stdout that is a JSON object as it
/// is ("Sending Lambda function logs to CloudWatch Logs", JSON format).
pub fn to_lambda(metrics: Option<Metrics>) {
    let lines = JsonLines::new(std::io::stdout).with_metrics(metrics);
    tracing_subscriber::registry().with(LevelFilter::INFO).with(lines).init();
}

/// The local server's log, if JSON is asked for.
pub fn to_stderr() {
    let lines = JsonLines::new(std::io::stderr).with_timestamps();
    tracing_subscriber::registry().with(LevelFilter::INFO).with(lines).init();
}
