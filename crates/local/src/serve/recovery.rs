//! Queues all unfinished tasks at the start, and releases the interrupted ones at a stop.

use store::{MemoryQueue, StoreError, Tasks, UnfinishedTask, error_chain};

use domain::{Moment, Status};

/// At a clean stop: sets tasks whose runs were interrupted to PENDING. Their attempt does not
/// count. No worker holds them any more.
pub(crate) async fn release_tasks(tasks: &Tasks, now: Moment) -> Result<(), StoreError> {
    for task in readable_tasks(tasks.unfinished_tasks().await?.tasks) {
        if task.status == Status::Started {
            tasks.give_back(&task, now).await?;
        }
    }
    Ok(())
}

/// Fills the queues from the tasks table, and returns the number of queued tasks.
///
/// The workers that held tasks ended with the previous process, as the folder's lock
/// proves. So these tasks are PENDING at once, without waiting for their leases to end. Any
/// of them may have crashed that process, so they go to the queue whose tasks run alone.
pub(crate) async fn resume_tasks(
    tasks: &Tasks,
    queue: &MemoryQueue,
    lone_queue: &MemoryQueue,
    now: Moment,
) -> Result<usize, StoreError> {
    let unfinished = tasks.unfinished_tasks().await?;
    for agent in unfinished.slots {
        tasks.forget_slots(agent).await?;
    }
    let unfinished = readable_tasks(unfinished.tasks);
    for task in &unfinished {
        let is_lost = task.status == Status::Started;
        if is_lost {
            tasks.break_lease(task.id, now).await?;
        }
        let queue = if is_lost || task.worker_lost {
            lone_queue
        } else {
            queue
        };
        queue.send(task.id, task.agent_id);
    }
    Ok(unfinished.len())
}

/// Skips records that cannot be read or were written by a later version, so that they delay
/// no other task.
fn readable_tasks(tasks: Vec<Result<UnfinishedTask, StoreError>>) -> Vec<UnfinishedTask> {
    let readable = |task: Result<UnfinishedTask, StoreError>| {
        task.inspect_err(|error| {
            tracing::error!(error = error_chain(error), "skipped unreadable task")
        })
        .ok()
    };
    tasks.into_iter().filter_map(readable).collect()
}
