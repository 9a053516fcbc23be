//! `GET /api/tasks`: lists tasks, newest first, in pages.

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::{AgentId, ListPage, ListRange, Moment, Status, TaskBrief, TaskId, merge_newest};
use serde::Serialize;
use store::{FailureFilter, StoreError};
use utoipa::ToSchema;

use super::{TaskSummary, load_briefs, read_lists};
use crate::openapi::parameters::TaskListParams;
use crate::query::{Query, QueryError};
use crate::{Management, Problem};

/// The default for `limit`.
const PAGE: u16 = 25;
const LONGEST_PAGE: u16 = 100;
/// How often all lists are read for one page. Without this limit, a rare status would make a
/// request read the lists to their ends.
const ROUNDS: usize = 5;
/// Index entries that are read in a round for failed tasks, in all lists together.
const FAILURES_FROM: usize = 2000;
/// The smallest number of entries that is read of each list.
const FAILURES_FROM_EACH: usize = 50;

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskList {
    /// Newest first.
    tasks: Vec<TaskSummary>,
    /// The `cursor` of the next page. `null` on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
    /// The creation time of the last task that was examined, `null` on the last page. With a `status`, a
    /// page may have fewer tasks than `limit`, or none.
    #[schema(format = "date-time", required = true)]
    looked_back_to: Option<String>,
}

#[derive(Debug)]
struct TaskListQuery {
    agent: Option<AgentId>,
    status: Option<Status>,
    limit: u16,
    before: Option<TaskId>,
}

/// Lists tasks, newest first, in pages.
///
/// A request examines a limited number of tasks. With a `status`, a page may therefore be short or
/// empty although `next_cursor` is not `null`.
#[utoipa::path(get, path = "/api/tasks", tag = "Tasks", operation_id = "list_tasks",
    params(TaskListParams),
    responses((status = 200, description = "A page of tasks.", body = TaskList)))]
pub(crate) async fn list(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskList>, Problem> {
    let query = TaskListQuery::parse(query.as_deref())?;
    let agents = match query.agent {
        Some(agent) => vec![agent],
        None => management
            .agents
            .list()
            .await?
            .iter()
            .map(|record| record.agent.id())
            .collect(),
    };
    let page = fill_page(&management, &agents, &query).await?;
    Ok(Json(TaskList {
        next_cursor: page.next.map(|id| id.to_string()),
        looked_back_to: page.next.map(|id| id.created_at().rfc3339()),
        tasks: page
            .tasks
            .into_iter()
            .map(TaskSummary::from_brief)
            .collect(),
    }))
}

/// Matching tasks, and the last examined task if there may be more after it.
struct TaskPage {
    tasks: Vec<TaskBrief>,
    next: Option<TaskId>,
}

async fn fill_page(
    management: &Management,
    agents: &[AgentId],
    query: &TaskListQuery,
) -> Result<TaskPage, StoreError> {
    let (filter, limit, most) = query.limits_per_round(agents.len());
    let mut page = TaskPage {
        tasks: Vec::new(),
        next: query.before,
    };
    for _ in 0..ROUNDS {
        let span = ListRange {
            before: page.next,
            ..ListRange::ALL
        };
        let lists = read_lists(&management.tasks, agents, span, filter, limit).await?;
        let examined = merge_newest(lists, most);
        let found = load_briefs(&management.tasks, &examined.entries).await?;
        page.add(&examined, found, query, management.clock.now());
        if page.next.is_none() || page.tasks.len() == usize::from(query.limit) {
            break;
        }
    }
    Ok(page)
}

impl TaskPage {
    fn add(
        &mut self,
        examined: &ListPage,
        found: Vec<Option<TaskBrief>>,
        query: &TaskListQuery,
        now: Moment,
    ) {
        self.next = examined.reached;
        let last = examined.entries.last().map(|entry| entry.id);
        for (entry, brief) in examined.entries.iter().zip(found) {
            let Some(brief) = brief.filter(|brief| query.includes(brief, now)) else {
                continue;
            };
            self.tasks.push(brief);
            if self.tasks.len() == usize::from(query.limit) {
                if last != Some(entry.id) {
                    self.next = Some(entry.id);
                }
                return;
            }
        }
    }
}

impl TaskListQuery {
    fn parse(query: Option<&str>) -> Result<Self, QueryError> {
        let query = Query::parse(query, &["agent_id", "status", "limit", "cursor"])?;
        let limit = |text: &str| {
            text.parse()
                .ok()
                .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
        };
        Ok(Self {
            agent: query.get("agent_id", "the id of an agent", AgentId::parse)?,
            status: query.get(
                "status",
                "PENDING, STARTED, SUCCESS or FAILURE",
                Status::parse,
            )?,
            limit: query
                .get("limit", "a whole number from 1 to 100", limit)?
                .unwrap_or(PAGE),
            before: query.get(
                "cursor",
                "the `next_cursor` of the previous page, unchanged",
                TaskId::parse,
            )?,
        })
    }

    /// What to read in a round: which tasks, how many of each list, and how many in total.
    fn limits_per_round(&self, agents: usize) -> (FailureFilter, u16, usize) {
        match self.status {
            None => (FailureFilter::All, self.limit, self.limit.into()),
            Some(Status::Failure) => {
                let each = (FAILURES_FROM / (4 * agents).max(1)).max(FAILURES_FROM_EACH);
                (
                    FailureFilter::Failed,
                    u16::try_from(each).unwrap_or(u16::MAX),
                    self.limit.into(),
                )
            }
            Some(_) => (FailureFilter::NotFailed, LONGEST_PAGE, LONGEST_PAGE.into()),
        }
    }

    fn includes(&self, task: &TaskBrief, now: Moment) -> bool {
        now < task.expires_at && self.status.is_none_or(|status| status == task.status)
    }
}
