//! At the start every task that has not ended goes to the queue again; at the
//! end those under way are given back.

use store::{MemoryQueue, StoreError, Tasks};

use domain::Status;

/// At a clean stop: tasks whose runs were broken off are PENDING again, their
/// attempt not counted. Nobody holds them any more.
pub(crate) async fn give_back(tasks: &Tasks) -> Result<(), StoreError> {
    for task in tasks.unended().await? {
        if task.status == Status::Started {
            tasks.give_back(task.id).await?;
        }
    }
    Ok(())
}

/// Fills the queue from the tasks table. The runners that held tasks died with
/// the process before this one (the folder's lock says so), so their leases end
/// now rather than when they were due. Returns how many tasks go on.
pub(crate) async fn resume(tasks: &Tasks, queue: &MemoryQueue) -> Result<usize, StoreError> {
    tasks.forget_slots().await?;
    let unended = tasks.unended().await?;
    for task in &unended {
        if task.status == Status::Started {
            tasks.break_lease(task.id).await?;
        }
        queue.send(task.id, task.agent_id);
    }
    Ok(unended.len())
}
