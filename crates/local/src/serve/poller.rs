//! What the event source mapping is on AWS: takes messages from the queue and
//! hands them to the runner, so many at a time.

use std::sync::Arc;
use std::time::Duration;

use runner::{Delivery, Runner, run_batch};
use store::{MemoryQueue, Message, Queue};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From the receive of a message to the end of its lease. Nothing dies here at a
/// deadline, as a Lambda does, so there is time for the longest run (14 minutes) after
/// the longest wait to run alone (45 minutes).
const INVOCATION: Duration = Duration::from_secs(3600);

/// Takes messages until `stop`, then waits up to `grace` for the runs under way.
/// Returns how many it left; they go on at the next start.
pub(crate) async fn poll(
    queue: Arc<MemoryQueue>,
    runner: Arc<Runner>,
    concurrency: usize,
    stop: CancellationToken,
    grace: Duration,
) -> usize {
    let places = Arc::new(Semaphore::new(concurrency));
    let mut runs = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, queue.receive().await)
        };
        let (place, message) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let (queue, runner) = (Arc::clone(&queue), Arc::clone(&runner));
        runs.spawn(async move {
            invoke(&queue, &runner, message).await;
            drop(place);
        });
        while runs.try_join_next().is_some() {}
    }
    // What has not started by now would only be broken off.
    runner.gate.close();
    let ended = async { while runs.join_next().await.is_some() {} };
    // Whoever is late goes on at the next start.
    let _ = tokio::time::timeout(grace, ended).await;
    let left = runs.len();
    runs.shutdown().await;
    left
}

async fn invoke(queue: &Arc<MemoryQueue>, runner: &Arc<Runner>, message: Message) {
    let deadline = runner.clock.now().plus(INVOCATION);
    let delivery = Delivery {
        id: message.receipt.clone(),
        receipt: message.receipt.clone(),
        body: message.body,
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
