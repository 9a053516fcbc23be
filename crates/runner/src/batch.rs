//! A batch of queue messages: run side by side, each succeeding or returning
//! to the queue on its own.

use std::sync::Arc;
use std::time::Duration;

use domain::{AgentId, ClaimRefusal, Moment, Task, TaskId};
use futures::future::join_all;
use store::{Queue, StoreError, error_chain};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::gate::EnteredAlone;
use crate::task::{Disposition, RunEntry};
use crate::{Runner, told};

/// When our own storage fails, the message comes back after this long, doubled each time
/// up to [`LONGEST_PAUSE`]. That is short because receives also count throttling and
/// looks for a run slot: a message that was received often may meet its first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A task of a newer version is looked at again after this long.
const NEWER_VERSION_PAUSE: Duration = Duration::from_secs(900);
/// How often a message may be received before it becomes a dead letter: the most that
/// SQS allows. Attempts are bounded by the task's record; receives also count messages
/// that a throttled event source mapping returns, and looks for a run slot.
/// `template.yaml` has the same number in the queue's `RedrivePolicy`
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html>).
pub const MAX_RECEIVES: u32 = 1000;
/// A message that must come again after this many receives is replaced by a new one,
/// because waiting must not make it a dead letter. A task that waits for a run slot is
/// received every 8 s on average. That is 13 sends in the 24 hours that it may wait: below
/// the 16 after which Lambda stops a chain from a function to its own queue
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
pub const RECEIVES_BEFORE_RESEND: u32 = 800;
/// A send that failed is tried again this many receives later, and not at each one: an
/// invocation that dies after its send would otherwise add a message each time.
const RECEIVES_BETWEEN_RESENDS: u32 = 50;
/// A task that must run alone lets the rest of its batch go first, and comes back if too
/// little of the invocation is left then. With a long run and ever more batches that could
/// go on for a day, so at every so many receives it goes first.
const RECEIVES_BETWEEN_FIRST_TURNS: u32 = 10;
/// The others of its batch come back later if it has not ended after this long. That is
/// enough to find out that it may not run at all.
const FIRST_TURN: Duration = Duration::from_secs(1);

/// One message, as the event source hands it over.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Names the message in the batch's answer.
    pub id: String,
    /// For changing its visibility.
    pub receipt: String,
    /// A task id.
    pub body: String,
    /// Whose task it is, as the message's group says. If nothing says it, the
    /// task's record is asked.
    pub agent: Option<AgentId>,
    /// How often it was received, this time included.
    pub receives: u32,
    /// It comes from the dead-letter queue.
    pub dead_lettered: bool,
}

/// Runs every message of a batch and returns the ids of those that must come
/// again. All others are done with. `deadline` is when this process may die.
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
        runs.push(start(runner, queue, delivery, Some(RunEntry::Alone(alone)), deadline));
    }
    // All of them enter before any goes on: a task that must run alone lets the rest go first.
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
            Ok(Verdict::Done) => None,
            Ok(Verdict::Again) => Some(id),
            Err(panic) => {
                tracing::error!(message_id = id, error = %panic, "run panicked");
                Some(id)
            }
        })
        .collect()
}

/// Takes from a batch the task that goes first, if there is one, and lets it enter alone.
/// Its record is read for that.
async fn take_first(runner: &Runner, deliveries: &mut Vec<Delivery>) -> Option<(Delivery, EnteredAlone)> {
    let has_others = deliveries.len() > 1;
    for (place, delivery) in deliveries.iter().enumerate() {
        let is_its_turn = has_others && !delivery.dead_lettered && is_first_turn(delivery.receives);
        if let Some(id) = TaskId::parse(&delivery.body).filter(|_| is_its_turn)
            && must_run_alone(runner, id).await
        {
            let alone = runner.gate.enter_alone(Duration::ZERO).await?;
            return Some((deliveries.swap_remove(place), alone));
        }
    }
    None
}

async fn must_run_alone(runner: &Runner, id: TaskId) -> bool {
    // A task that cannot be read does not go first: its own run reports why.
    let Ok(task) = runner.tasks.get(id).await else { return false };
    let (now, max_attempts) = (runner.clock.now(), runner.settings.max_attempts);
    Task::claim_refusal(task.as_ref(), id, now, max_attempts) == ClaimRefusal::MustRunAlone
}

/// None for a dead letter: to end its task is no run.
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

/// Starts the run of a message. It is a task of its own: a panic in one run must not end
/// the others. It does not outlive the batch: its event source takes a batch that is
/// broken off for dead.
fn start(
    runner: &Arc<Runner>,
    queue: &Arc<Queue>,
    delivery: Delivery,
    entry: Option<RunEntry>,
    deadline: Moment,
) -> impl Future<Output = (String, Result<Verdict, JoinError>)> + use<> {
    let (runner, queue) = (Arc::clone(runner), Arc::clone(queue));
    let (id, span) = (delivery.id.clone(), told::span(&delivery));
    let run = async move { deliver(&runner, &queue, delivery, entry, deadline).await };
    let run = AbortOnDropHandle::new(tokio::spawn(run.instrument(span)));
    async move { (id, run.await) }
}

enum Verdict {
    Done,
    Again,
}

async fn deliver(
    runner: &Runner,
    queue: &Queue,
    delivery: Delivery,
    entry: Option<RunEntry>,
    deadline: Moment,
) -> Verdict {
    let Some(id) = TaskId::parse(&delivery.body) else {
        // Nothing of ours sends this, and it will not read better next time.
        tracing::warn!(message_id = delivery.id, "dropped a message that is no task id");
        return Verdict::Done;
    };
    let disposition = match entry {
        Some(entry) => runner.run(id, delivery.agent, entry, deadline).await,
        None => runner.bury(id).await,
    };
    let is_worn_out = !delivery.dead_lettered && is_worn_out(delivery.receives);
    let (pause, is_replaced) = match disposition {
        Ok(Disposition::Done) => return Verdict::Done,
        Ok(Disposition::ComeBackIn(pause)) => (pause, is_worn_out),
        Err(error @ StoreError::Newer { .. }) => {
            tracing::warn!(error = error_chain(&error), "task left alone for the newer version");
            (NEWER_VERSION_PAUSE, is_worn_out)
        }
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(error, "task returns to the queue");
            // A record that never works must become a dead letter, or it would not end.
            (storage_pause(delivery.receives), false)
        }
    };
    if is_replaced && resend(runner, queue, id, &delivery, pause).await {
        return Verdict::Done;
    }
    if let Err(error) = queue.defer(&delivery.receipt, pause).await {
        // It comes back all the same, when its visibility timeout is over.
        tracing::warn!(error = error_chain(&error), "visibility unchanged");
    }
    Verdict::Again
}

/// Replaces the message by a new one. Returns whether the old one can be deleted.
async fn resend(runner: &Runner, queue: &Queue, id: TaskId, delivery: &Delivery, pause: Duration) -> bool {
    let sent = async {
        let agent = match delivery.agent {
            Some(agent) => Some(agent),
            None => runner.tasks.owner(id).await?,
        };
        match agent {
            Some(agent) => queue.send_later(id, agent, pause).await.map(|()| true),
            None => Ok(false),
        }
    };
    sent.await.unwrap_or_else(|error| {
        tracing::warn!(error = error_chain(&error), "message kept, because no new one could be sent");
        false
    })
}

fn is_worn_out(receives: u32) -> bool {
    receives.checked_sub(RECEIVES_BEFORE_RESEND).is_some_and(|more| more % RECEIVES_BETWEEN_RESENDS == 0)
}

const fn is_first_turn(receives: u32) -> bool {
    receives.is_multiple_of(RECEIVES_BETWEEN_FIRST_TURNS)
}

fn storage_pause(receives: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << receives.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}
