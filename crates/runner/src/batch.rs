//! A batch of queue messages: run side by side, each succeeding or returning
//! to the queue on its own.

use std::sync::Arc;
use std::time::Duration;

use domain::{AgentId, Moment, TaskId};
use futures::future::join_all;
use store::{Queue, StoreError, error_chain};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::task::Disposition;
use crate::{Runner, told};

/// When our own storage fails, the message comes back after this long, doubled
/// at each time up to [`LONGEST_PAUSE`]: some hours in all, before it counts as
/// a dead letter.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

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
    let runs = deliveries.into_iter().map(|delivery| {
        let (runner, queue) = (Arc::clone(runner), Arc::clone(queue));
        // A task of its own: a panic in one run must not end the others. It does not
        // outlive the batch: who breaks that off takes the runs for dead.
        let (id, span) = (delivery.id.clone(), told::span(&delivery));
        let run = async move { deliver(&runner, &queue, delivery, deadline).await };
        let run = AbortOnDropHandle::new(tokio::spawn(run.instrument(span)));
        async move { (id, run.await) }
    });
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

enum Verdict {
    Done,
    Again,
}

async fn deliver(runner: &Runner, queue: &Queue, delivery: Delivery, deadline: Moment) -> Verdict {
    let Some(id) = TaskId::parse(&delivery.body) else {
        // Nothing of ours sends this, and it will not read better next time.
        tracing::warn!(message_id = delivery.id, "dropped a message that is no task id");
        return Verdict::Done;
    };
    let disposition = match delivery.dead_lettered {
        false => runner.run(id, delivery.agent, deadline).await,
        true => runner.bury(id).await,
    };
    let pause = match disposition {
        Ok(Disposition::Done) => return Verdict::Done,
        Ok(Disposition::ComeBackIn(pause)) => pause,
        Ok(Disposition::SendAgain { agent, pause }) => match queue.send_later(id, agent, pause).await {
            Ok(()) => return Verdict::Done,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "message kept, as no new one can be sent");
                pause
            }
        },
        Err(error @ StoreError::Newer { .. }) => {
            tracing::warn!(error = error_chain(&error), "task left alone for the newer version");
            // However long that takes: it must not become a dead letter meanwhile.
            match delivery.agent.filter(|_| !delivery.dead_lettered) {
                Some(agent) if queue.send_later(id, agent, LONGEST_PAUSE).await.is_ok() => {
                    return Verdict::Done;
                }
                _ => LONGEST_PAUSE,
            }
        }
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(error, "task returns to the queue");
            storage_pause(delivery.receives)
        }
    };
    if let Err(error) = queue.defer(&delivery.receipt, pause).await {
        // It comes back all the same, when its visibility timeout is over.
        tracing::warn!(error = error_chain(&error), "visibility unchanged");
    }
    Verdict::Again
}

fn storage_pause(receives: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << receives.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}
