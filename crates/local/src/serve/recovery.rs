//! At the start: every task that has not ended goes to the queue again.

use store::{MemoryQueue, StoreError, Tasks};

use domain::Status;

/// Fills the queue from the tasks table. The runners that held tasks died with
/// the process before this one (the folder's lock says so), so their leases end
/// now rather than when they were due. Returns how many tasks go on.
pub(crate) async fn resume(tasks: &Tasks, queue: &MemoryQueue) -> Result<usize, StoreError> {
    let unended = tasks.unended().await?;
    for task in &unended {
        if task.status == Status::Started {
            tasks.break_lease(task.id).await?;
        }
        queue.send(task.id, task.agent_id);
    }
    Ok(unended.len())
}
