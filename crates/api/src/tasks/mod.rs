//! The task routes of the management API: the list, a task with all its details, and
//! statistics.

pub(crate) mod list;
pub(crate) mod show;
pub(crate) mod stats;

use std::time::Duration;

use domain::{
    AgentId, Failure, ListPage, ListRange, Moment, Status, TaskBrief, TaskEntry, TaskId, TaskKey,
    Usage,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use store::{FailureFilter, StoreError, Tasks, error_chain};
use utoipa::ToSchema;

/// Concurrent queries of one request.
const QUERIES_AT_ONCE: usize = 16;

/// A task in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskSummary {
    /// The task's id.
    #[schema(format = "uuid")]
    task_id: String,
    /// The agent's id.
    #[schema(format = "uuid")]
    agent_id: String,
    /// `SUCCESS` and `FAILURE` are final.
    status: Status,
    /// Number of attempts that were started.
    attempt: u32,
    /// When the task was triggered.
    #[schema(format = "date-time")]
    created_at: String,
    /// When the first attempt started.
    #[schema(format = "date-time", required = true)]
    started_at: Option<String>,
    /// When the task ended.
    #[schema(format = "date-time", required = true)]
    finished_at: Option<String>,
    /// Milliseconds from the trigger to the start of the first attempt.
    #[schema(required = true)]
    wait_ms: Option<u64>,
    /// Milliseconds from the start of the first attempt to the end.
    #[schema(required = true)]
    run_ms: Option<u64>,
    /// The error of a FAILURE.
    #[schema(required = true)]
    error: Option<Failure>,
    /// Token counts from the model provider. `null` if no model was called.
    #[schema(required = true)]
    usage: Option<Usage>,
    /// When the task can no longer be read. This time changes when the task ends.
    #[schema(format = "date-time")]
    expires_at: String,
}

impl TaskSummary {
    fn from_brief(task: TaskBrief) -> Self {
        Self {
            task_id: task.id.to_string(),
            agent_id: task.agent_id.to_string(),
            status: task.status,
            attempt: task.attempt,
            created_at: task.id.created_at().rfc3339(),
            started_at: task.started_at.map(Moment::rfc3339),
            finished_at: task.finished_at.map(Moment::rfc3339),
            wait_ms: task.waited().map(millis),
            run_ms: task.ran().map(millis),
            expires_at: task.expires_at.rfc3339(),
            error: task.failure,
            usage: task.usage,
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads up to `limit` tasks of each list of these agents.
pub(crate) async fn read_lists(
    tasks: &Tasks,
    agents: &[AgentId],
    span: ListRange,
    filter: FailureFilter,
    limit: u16,
) -> Result<Vec<ListPage>, StoreError> {
    let shards_of = |agent: AgentId| (0..TaskKey::SHARDS).map(move |shard| (agent, shard));
    let lists = agents.iter().copied().flat_map(shards_of);
    let reads = lists.map(|(agent, shard)| tasks.list(agent, shard, span, filter, limit));
    stream::iter(reads)
        .buffer_unordered(QUERIES_AT_ONCE)
        .try_collect()
        .await
}

/// Loads the records of these tasks, in the same order. `None` for tasks that no longer exist.
pub(crate) async fn load_briefs(
    tasks: &Tasks,
    entries: &[TaskEntry],
) -> Result<Vec<Option<TaskBrief>>, StoreError> {
    let ids: Vec<TaskId> = entries.iter().map(|entry| entry.id).collect();
    let mut found = std::collections::HashMap::with_capacity(ids.len());
    for brief in tasks.briefs(&ids).await? {
        match brief {
            Ok(brief) => _ = found.insert(brief.id, brief),
            Err(error) => tracing::error!(error = error_chain(&error), "task not listed"),
        }
    }
    Ok(ids.iter().map(|id| found.remove(id)).collect())
}
