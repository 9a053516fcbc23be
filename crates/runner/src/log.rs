//! The log lines about a task. Each is written inside the task's span, which adds the
//! task id, the agent id and the attempt.

use std::time::Duration;

use domain::{
    AgentId, CallOutcome, CallReport, Ended, ErrorType, Failure, Fault, Moment, Outcome, Task,
};
use store::Claimed;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::Delivery;

/// Most bytes of a server's text in the log.
const LONGEST_SERVER_TEXT: usize = 2048;

/// The span of all work that one queue message starts.
pub(crate) fn task_span(delivery: &Delivery) -> Span {
    tracing::info_span!(
        "task",
        task_id = display(delivery.task),
        agent_id = Empty,
        attempt = Empty
    )
}

pub(crate) fn log_started(claimed: &Claimed) {
    record_task(&claimed.task);
    tracing::info!("attempt started");
}

pub(crate) fn log_released(pause: Duration) {
    tracing::warn!(
        retry_in_ms = millis(pause),
        "task released after a transient error"
    );
}

/// Another worker holds the task, or the task waits before its next attempt.
pub(crate) fn log_deferred(pause: Duration) {
    tracing::info!(
        retry_in_ms = millis(pause),
        "task deferred until its lease ends"
    );
}

/// Writes the one log line that is also a metric.
pub(crate) fn log_finished(claimed: &Claimed, ended: &Ended, now: Moment) {
    log_task_ended(
        &claimed.task,
        ended,
        Some(now.since(claimed.claimed_at)),
        now,
    );
}

/// The task ended although no worker held it.
pub(crate) fn log_ended_abandoned(task: &Task, now: Moment) {
    record_task(task);
    if let Some(ended) = &task.ended {
        log_task_ended(task, ended, None, now);
    }
}

pub(crate) fn log_waits_for_slot(agent: AgentId, pause: Duration) {
    Span::current().record("agent_id", display(agent));
    tracing::info!(
        retry_in_ms = millis(pause),
        "task waits for a run slot of its agent"
    );
}

pub(crate) fn log_waits_to_run_alone() {
    tracing::warn!("worker lost in an earlier attempt; task waits to run alone");
}

pub(crate) fn log_deferred_by_run_alone(pause: Duration) {
    tracing::info!(
        retry_in_ms = millis(pause),
        "task deferred: another one of its batch runs alone"
    );
}

fn record_task(task: &Task) {
    let span = Span::current();
    span.record("agent_id", display(task.agent_id));
    span.record("attempt", task.attempt);
}

fn log_task_ended(task: &Task, ended: &Ended, run: Option<Duration>, now: Moment) {
    let failure = match &ended.outcome {
        Outcome::Success(_) => None,
        Outcome::Failure(failure) => Some(failure),
    };
    let (created_at, usage) = (task.id.created_at(), ended.usage.as_ref());
    // tracing needs the level as a constant, and there are two.
    macro_rules! log_end {
        ($level:ident) => {
            tracing::$level!(
                target: "metrics",
                outcome = failure.map_or("success", |failure| failure.kind.as_str()),
                error = failure.map(Failure::log_message),
                queue_ms = task.started_at.map(|started_at| millis(started_at.since(created_at))),
                run_ms = run.map(millis),
                total_ms = millis(now.since(created_at)),
                input_tokens = usage.map(|usage| usage.input_tokens),
                output_tokens = usage.map(|usage| usage.output_tokens),
                "task ended"
            )
        };
    }
    match failure.map(|failure| failure.kind) {
        // Our own errors.
        Some(ErrorType::WorkerLost | ErrorType::Internal) => log_end!(error),
        _ => log_end!(info),
    }
}

/// The server's own text about an error, for an operator who wants it.
pub(crate) fn log_error_text(fault: &Fault) {
    let (Fault::Permanent(failure) | Fault::Transient { failure, .. }) = fault;
    let text = failure.detail.as_ref().map(|detail| detail.text.as_str());
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        tracing::warn!(
            server_text = domain::cut(text, LONGEST_SERVER_TEXT),
            "error text of a server"
        );
    }
}

/// Like [`log_error_text`], for failed calls of tools.
pub(crate) fn log_failed_calls(called: &[CallReport]) {
    let failed = called
        .iter()
        .filter(|report| report.outcome == CallOutcome::Error);
    for report in failed {
        tracing::warn!(
            server_text = domain::cut(&report.content, LONGEST_SERVER_TEXT),
            "error text of a tool"
        );
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
