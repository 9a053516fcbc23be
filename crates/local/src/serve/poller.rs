//! Receives messages from the queue and passes them to the runner, a limited number at a
//! time. On AWS an event source mapping does this.

use std::sync::Arc;
use std::time::Duration;

use runner::{Delivery, Runner, run_batch};
use store::{MemoryQueue, Queue, QueueMessage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From the receipt of a message to the end of its lease. Unlike a Lambda function, this
/// process is not stopped at a deadline. The value allows for the longest run (14 minutes)
/// after the longest wait to run alone (45 minutes).
const INVOCATION: Duration = Duration::from_secs(3600);

/// Receives messages until `stop`, then waits up to `grace` for the runs in progress. Returns
/// how many runs it interrupted. They continue at the next start.
pub(crate) async fn poll_queue(
    queue: Arc<MemoryQueue>,
    runner: Arc<Runner>,
    concurrency: usize,
    stop: CancellationToken,
    grace: Duration,
) -> usize {
    let run_slots = Arc::new(Semaphore::new(concurrency));
    let mut runs = JoinSet::new();
    loop {
        let next = async {
            let run_slot = Arc::clone(&run_slots).acquire_owned().await;
            (run_slot, queue.receive().await)
        };
        let (run_slot, message) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let (queue, runner) = (Arc::clone(&queue), Arc::clone(&runner));
        runs.spawn(async move {
            run_message(&queue, &runner, message).await;
            drop(run_slot);
        });
        while runs.try_join_next().is_some() {}
    }
    // A run that starts now would only be interrupted.
    runner.gate.close();
    let ended = async { while runs.join_next().await.is_some() {} };
    // Runs that do not end within `grace` continue at the next start.
    let _ = tokio::time::timeout(grace, ended).await;
    let interrupted = runs.len();
    runs.shutdown().await;
    interrupted
}

async fn run_message(queue: &Arc<MemoryQueue>, runner: &Arc<Runner>, message: QueueMessage) {
    let deadline = runner.clock.now().plus(INVOCATION);
    let delivery = Delivery {
        message_id: message.receipt.clone(),
        receipt: message.receipt.clone(),
        task: message.task,
        agent: Some(message.agent),
        receives: message.receives,
        dead_lettered: message.dead_lettered,
    };
    let source = Arc::new(Queue::Memory(Arc::clone(queue)));
    let failed = run_batch(runner, &source, vec![delivery], deadline).await;
    if failed.is_empty() {
        queue.delete(&message.receipt);
    }
}
