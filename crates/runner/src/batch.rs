//! Runs the messages of a batch in parallel. Each succeeds or returns to the queue
//! independently of the others.

use std::sync::Arc;
use std::time::Duration;

use domain::{ClaimRefusal, Moment, Task, TaskId};
use futures::future::join_all;
use store::{Queue, StoreError, error_chain};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::disposition::Disposition;
use crate::gate::ExclusiveRunPermit;
use crate::task::RunEntry;
use crate::{Delivery, Runner, log};

/// When our storage fails, the message is received again after this long, doubled each time
/// up to [`LONGEST_STORAGE_PAUSE`]. The pauses are short because receives also count
/// throttling and looks for a run slot: a message that was received often may meet its
/// first failure.
const FIRST_STORAGE_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_STORAGE_PAUSE: Duration = Duration::from_secs(60);
/// A task that a newer version wrote is tried again after this long.
const NEWER_VERSION_PAUSE: Duration = Duration::from_secs(900);
/// How often a message may be received before it becomes a dead letter: the most that
/// SQS allows. Attempts are bounded by the task's record; receives also count messages
/// that a throttled event source mapping returns, and looks for a run slot.
/// `template.yaml` has the same number in the queue's `RedrivePolicy`
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html>).
pub const MAX_RECEIVES: u32 = 1000;
/// A message that must be received again after this many receives is replaced by a new
/// one, so that waiting does not make it a dead letter. A task that waits for a run slot is
/// received every 8 s on average, which is 13 sends in the 24 hours that it may wait. Lambda
/// stops a function that sends to its own queue after 16
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
pub const RECEIVES_BEFORE_RESEND: u32 = 800;
/// A send that failed is tried again this many receives later, not at each receive.
/// Otherwise an invocation that dies after its send would add a message each time.
const RECEIVES_BETWEEN_RESENDS: u32 = 50;
/// A task that must run alone lets the rest of its batch run first, and is received again
/// if the rest of the invocation is then too short. With long runs and many batches that
/// could repeat for a day, so the task runs first at every so many receives.
const RECEIVES_BETWEEN_FIRST_TURNS: u32 = 10;
/// The others of its batch are received again later if it has not ended after this long.
/// This is long enough to find out that it may not run at all.
const FIRST_TURN: Duration = Duration::from_secs(1);

/// Runs every message of a batch. Returns the ids of the messages that must be received
/// again; all others can be deleted. `deadline` is when this process may be stopped.
pub async fn run_batch(
    runner: &Arc<Runner>,
    queue: &Arc<Queue>,
    deliveries: Vec<Delivery>,
    deadline: Moment,
) -> Vec<String> {
    let mut deliveries = deliveries;
    let mut runs = Vec::with_capacity(deliveries.len());
    let first = take_first(runner, &mut deliveries).await;
    let enter_until = first.is_some().then(|| Instant::now() + FIRST_TURN);
    if let Some((delivery, alone)) = first {
        runs.push(start(
            runner,
            queue,
            delivery,
            Some(RunEntry::Alone(alone)),
            deadline,
        ));
    }
    // All of them enter before any of them runs: a task that must run alone runs last.
    let mut entries = Vec::with_capacity(deliveries.len());
    for delivery in &deliveries {
        entries.push(enter(runner, delivery, enter_until).await);
    }
    let others = deliveries.into_iter().zip(entries);
    runs.extend(others.map(|(delivery, entry)| start(runner, queue, delivery, entry, deadline)));
    let outcomes = join_all(runs).await;
    outcomes
        .into_iter()
        .filter_map(|(id, outcome)| match outcome {
            Ok(DeliveryResult::Ack) => None,
            Ok(DeliveryResult::Retry) => Some(id),
            Err(panic) => {
                tracing::error!(message_id = id, error = %panic, "run panicked");
                Some(id)
            }
        })
        .collect()
}

/// Removes from the batch the task that must run first, if there is one, and lets it enter
/// alone. Reads the task's record to find out.
async fn take_first(
    runner: &Runner,
    deliveries: &mut Vec<Delivery>,
) -> Option<(Delivery, ExclusiveRunPermit)> {
    let has_others = deliveries.len() > 1;
    for (place, delivery) in deliveries.iter().enumerate() {
        let is_its_turn = has_others && !delivery.dead_lettered && is_first_turn(delivery.receives);
        if is_its_turn && must_run_alone(runner, delivery.task).await {
            let alone = runner.gate.enter_alone(Duration::ZERO).await?;
            return Some((deliveries.swap_remove(place), alone));
        }
    }
    None
}

async fn must_run_alone(runner: &Runner, id: TaskId) -> bool {
    // A task that cannot be read does not run first: its own run reports the reason.
    let Ok(task) = runner.tasks.get(id).await else {
        return false;
    };
    let (now, max_attempts) = (runner.clock.now(), runner.settings.max_attempts);
    Task::claim_refusal(task.as_ref(), id, now, max_attempts) == ClaimRefusal::MustRunAlone
}

/// Returns `None` for a dead letter, whose task is ended without a run.
async fn enter(runner: &Runner, delivery: &Delivery, until: Option<Instant>) -> Option<RunEntry> {
    if delivery.dead_lettered {
        return None;
    }
    let entering = runner.gate.enter();
    let entered = match until {
        Some(until) => timeout_at(until, entering).await,
        None => Ok(entering.await),
    };
    Some(match entered {
        Ok(Some(entered)) => RunEntry::Shared(entered),
        Ok(None) => RunEntry::Closed,
        Err(_) => RunEntry::Later,
    })
}

/// Starts the run of a message in a tokio task of its own, so that a panic in one run does
/// not end the others. The run does not outlive the batch: the event source treats a batch
/// that is cancelled as failed.
fn start(
    runner: &Arc<Runner>,
    queue: &Arc<Queue>,
    delivery: Delivery,
    entry: Option<RunEntry>,
    deadline: Moment,
) -> impl Future<Output = (String, Result<DeliveryResult, JoinError>)> + use<> {
    let (runner, queue) = (Arc::clone(runner), Arc::clone(queue));
    let (id, span) = (delivery.message_id.clone(), log::task_span(&delivery));
    let run = async move { deliver(&runner, &queue, delivery, entry, deadline).await };
    let run = AbortOnDropHandle::new(tokio::spawn(run.instrument(span)));
    async move { (id, run.await) }
}

enum DeliveryResult {
    Ack,
    Retry,
}

async fn deliver(
    runner: &Runner,
    queue: &Queue,
    delivery: Delivery,
    entry: Option<RunEntry>,
    deadline: Moment,
) -> DeliveryResult {
    let disposition = match entry {
        Some(entry) => {
            runner
                .run(delivery.task, delivery.agent, entry, deadline)
                .await
        }
        None => runner.end_worker_lost(delivery.task).await,
    };
    let is_due_for_resend = !delivery.dead_lettered && is_due_for_resend(delivery.receives);
    let (pause, is_replaced) = match disposition {
        Ok(Disposition::Ack) => return DeliveryResult::Ack,
        Ok(Disposition::RetryAfter(pause)) => (pause, is_due_for_resend),
        Err(error @ StoreError::Newer { .. }) => {
            tracing::warn!(
                error = error_chain(&error),
                "task deferred: its record was written by a newer version"
            );
            (NEWER_VERSION_PAUSE, is_due_for_resend)
        }
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(error, "task returns to the queue");
            // A record that always fails must become a dead letter, or the task would never end.
            (storage_pause(delivery.receives), false)
        }
    };
    if is_replaced && resend(runner, queue, &delivery, pause).await {
        return DeliveryResult::Ack;
    }
    if let Err(error) = queue.defer(&delivery.receipt, pause).await {
        // The message is received again anyway, after its visibility timeout.
        tracing::warn!(
            error = error_chain(&error),
            "could not change message visibility"
        );
    }
    DeliveryResult::Retry
}

/// Sends a new message for the task. Returns whether the old message can be deleted.
async fn resend(runner: &Runner, queue: &Queue, delivery: &Delivery, pause: Duration) -> bool {
    let sent = async {
        let agent = match delivery.agent {
            Some(agent) => Some(agent),
            None => runner.tasks.owner(delivery.task).await?,
        };
        match agent {
            Some(agent) => queue
                .send_later(delivery.task, agent, pause)
                .await
                .map(|()| true),
            None => Ok(false),
        }
    };
    sent.await.unwrap_or_else(|error| {
        tracing::warn!(
            error = error_chain(&error),
            "message not replaced: no new one could be sent"
        );
        false
    })
}

fn is_due_for_resend(receives: u32) -> bool {
    receives
        .checked_sub(RECEIVES_BEFORE_RESEND)
        .is_some_and(|more| more % RECEIVES_BETWEEN_RESENDS == 0)
}

const fn is_first_turn(receives: u32) -> bool {
    receives.is_multiple_of(RECEIVES_BETWEEN_FIRST_TURNS)
}

fn storage_pause(receives: u32) -> Duration {
    FIRST_STORAGE_PAUSE
        .saturating_mul(1 << receives.saturating_sub(1).min(16))
        .min(LONGEST_STORAGE_PAUSE)
}
