//! At the start every task that has not ended goes to the queue again; at the
//! end those under way are given back.

use store::{MemoryQueue, StoreError, Tasks, Unended, error_chain};

use domain::{Moment, Status};

/// At a clean stop: tasks whose runs were broken off are PENDING again, their
/// attempt not counted. Nobody holds them any more.
pub(crate) async fn give_back(tasks: &Tasks, now: Moment) -> Result<(), StoreError> {
    for task in readable(tasks.left().await?.unended) {
        if task.status == Status::Started {
            tasks.give_back(&task, now).await?;
        }
    }
    Ok(())
}

/// Fills the queues from the tasks table. The runners that held tasks died with
/// the process before this one (the folder's lock says so), so they are
/// PENDING now rather than when their leases were due. Any of them may be what ended
/// that process, so they go to the queue of those that run alone. Returns how many
/// tasks go on.
pub(crate) async fn resume(
    tasks: &Tasks,
    queue: &MemoryQueue,
    lone_queue: &MemoryQueue,
    now: Moment,
) -> Result<usize, StoreError> {
    let left = tasks.left().await?;
    for agent in left.slots {
        tasks.forget_slots(agent).await?;
    }
    let unended = readable(left.unended);
    for task in &unended {
        let is_lost = task.status == Status::Started;
        if is_lost {
            tasks.break_lease(task.id, now).await?;
        }
        let queue = if is_lost || task.worker_lost { lone_queue } else { queue };
        queue.send(task.id, task.agent_id);
    }
    Ok(unended.len())
}

/// One record that cannot be read, or is a later version's, keeps no other waiting.
fn readable(unended: Vec<Result<Unended, StoreError>>) -> Vec<Unended> {
    let readable = |found: Result<Unended, StoreError>| {
        found.inspect_err(|error| tracing::error!(error = error_chain(error), "task left alone")).ok()
    };
    unended.into_iter().filter_map(readable).collect()
}
