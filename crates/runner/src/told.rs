//! What the log is told of a task. Every line about it is written inside its
//! span, which says which task, whose, and which attempt.

use std::time::Duration;

use domain::{AgentId, Ended, ErrorType, Failure, Moment, Outcome, Task, TaskId};
use store::Claimed;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::Delivery;

/// The span of everything a message leads to.
pub(crate) fn span(delivery: &Delivery) -> Span {
    let task_id = TaskId::parse(&delivery.body).map(display);
    tracing::info_span!("task", task_id, agent_id = Empty, attempt = Empty)
}

/// An attempt begins.
pub(crate) fn start(claimed: &Claimed) {
    name(&claimed.task);
    tracing::info!("attempt started");
}

/// An attempt ended in a passing fault.
pub(crate) fn release(pause: Duration) {
    tracing::warn!(retry_in_ms = millis(pause), "task released after a passing fault");
}

/// A message is put off, because its task is held by a living runner, or rests.
pub(crate) fn left(pause: Duration) {
    tracing::info!(retry_in_ms = millis(pause), "task left alone until its lease ends");
}

/// The task ended: the one line that is a metric too.
pub(crate) fn end(claimed: &Claimed, ended: &Ended, now: Moment) {
    task_ended(&claimed.task, ended, Some(now.since(claimed.claimed_at)), now);
}

/// The task ended although no runner held it.
pub(crate) fn end_unheld(task: &Task, now: Moment) {
    name(task);
    if let Some(ended) = &task.ended {
        task_ended(task, ended, None, now);
    }
}

/// The task waits for a run slot of its agent.
pub(crate) fn no_slot(agent: AgentId, pause: Duration) {
    Span::current().record("agent_id", display(agent));
    tracing::info!(retry_in_ms = millis(pause), "task waits for a run slot of its agent");
}

/// The task lost its worker, and is to run alone.
pub(crate) fn waits_to_run_alone() {
    tracing::warn!("worker lost in an earlier attempt; task waits to run alone");
}

/// Another task of its batch runs alone.
pub(crate) fn deferred_by_run_alone(pause: Duration) {
    tracing::info!(retry_in_ms = millis(pause), "task deferred: another one of its batch runs alone");
}

fn name(task: &Task) {
    let span = Span::current();
    span.record("agent_id", display(task.agent_id));
    span.record("attempt", task.attempt);
}

fn task_ended(task: &Task, ended: &Ended, run: Option<Duration>, now: Moment) {
    let failure = match &ended.outcome {
        Outcome::Success(_) => None,
        Outcome::Failure(failure) => Some(failure),
    };
    let (created_at, usage) = (task.id.created_at(), ended.usage.as_ref());
    // A level must be a constant, and there are two.
    macro_rules! tell {
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
        // Faults of ours.
        Some(ErrorType::WorkerLost | ErrorType::Internal) => tell!(error),
        _ => tell!(info),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
