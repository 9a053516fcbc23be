//! Tasks for the people who own their agents: a list, and one with all there is
//! to say of it.

pub(crate) mod list;
pub(crate) mod show;
pub(crate) mod stats;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use domain::{AgentId, Brief, Entry, Failure, Moment, Span, Status, Stretch, TaskId, TaskKey, Usage};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use store::{Pick, StoreError, Tasks, error_chain};
use utoipa::ToSchema;

use crate::agents::Management;

/// Queries of one request at a time.
const QUERIES_AT_ONCE: usize = 16;

/// A task in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskSummary {
    /// The task's id.
    #[schema(format = "uuid")]
    task_id: String,
    /// Whose task it is.
    #[schema(format = "uuid")]
    agent_id: String,
    /// Never changes again once it is `SUCCESS` or `FAILURE`.
    status: Status,
    /// How often a run of it was begun.
    attempt: u32,
    /// When it was triggered.
    #[schema(format = "date-time")]
    created_at: String,
    /// When its first run began.
    #[schema(format = "date-time", required = true)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = "date-time", required = true)]
    finished_at: Option<String>,
    /// Milliseconds from the trigger to the first run.
    #[schema(required = true)]
    wait_ms: Option<u64>,
    /// Milliseconds from the first run to the end.
    #[schema(required = true)]
    run_ms: Option<u64>,
    /// Of a FAILURE, why.
    #[schema(required = true)]
    error: Option<Failure>,
    /// What the model's server counted; `null` if no model was asked.
    #[schema(required = true)]
    usage: Option<Usage>,
    /// Until when it can be read, if it has ended; until when it waits for its end, if not.
    #[schema(format = "date-time")]
    expires_at: String,
}

/// The routes, for who is let in already.
pub(crate) fn routes() -> Router<Management> {
    Router::new()
        .route("/api/tasks", get(list::list))
        .route("/api/tasks/{id}", get(show::show))
        .route("/api/stats", get(stats::show))
}

impl TaskSummary {
    fn of(task: Brief) -> Self {
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
    span: Span,
    pick: Pick,
    limit: u16,
) -> Result<Vec<Stretch>, StoreError> {
    let shards_of = |agent: AgentId| (0..TaskKey::SHARDS).map(move |shard| (agent, shard));
    let lists = agents.iter().copied().flat_map(shards_of);
    let reads = lists.map(|(agent, shard)| tasks.listed(agent, shard, span, pick, limit));
    stream::iter(reads).buffer_unordered(QUERIES_AT_ONCE).try_collect().await
}

/// What there is to say of these tasks, in their order; `None` for those that are gone.
pub(crate) async fn briefs(tasks: &Tasks, entries: &[Entry]) -> Result<Vec<Option<Brief>>, StoreError> {
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
