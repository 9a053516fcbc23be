//! `GET /api/tasks`: tasks, newest first, a page at a time.

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::{AgentId, Brief, Moment, Span, Status, Stretch, TaskId, newest};
use serde::Serialize;
use store::{Pick, StoreError};
use utoipa::ToSchema;

use super::{TaskSummary, briefs, read_lists};
use crate::Problem;
use crate::agents::Management;
use crate::openapi::parameters::TasksInQuery;
use crate::query::{Query, QueryError};

/// Tasks on a page, unless the caller wants another number.
const PAGE: u16 = 25;
const LONGEST_PAGE: u16 = 100;
/// Times that all lists are read for one page, so that a rare status cannot make
/// a request read them to their ends.
const ROUNDS: usize = 5;
/// Entries of the index looked at in a round for tasks that failed, in all lists
/// together, but at least this many in each.
const FAILURES_FROM: usize = 2000;
const FAILURES_FROM_EACH: usize = 50;

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskList {
    /// Newest first.
    tasks: Vec<TaskSummary>,
    /// What to send as `cursor` for the next page; `null` if there is none.
    #[schema(required = true)]
    next_cursor: Option<String>,
    /// How far back this page looked, if there may be more: with a `status` it may
    /// hold fewer tasks than asked for, or none.
    #[schema(format = "date-time", required = true)]
    looked_back_to: Option<String>,
}

/// What is asked for.
#[derive(Debug)]
struct Wanted {
    agent: Option<AgentId>,
    status: Option<Status>,
    limit: u16,
    before: Option<TaskId>,
}

/// Lists tasks, newest first, a page at a time.
///
/// A page looks at a bounded number of tasks: with a `status` it may be short, or
/// empty, though `next_cursor` leads on.
#[utoipa::path(get, path = "/api/tasks", tag = "Tasks", operation_id = "list_tasks",
    params(TasksInQuery),
    responses((status = 200, description = "A page.", body = TaskList)))]
pub(crate) async fn list(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskList>, Problem> {
    let wanted = Wanted::read(query.as_deref())?;
    let agents = match wanted.agent {
        Some(agent) => vec![agent],
        None => management.agents.list().await?.iter().map(|record| record.agent.id()).collect(),
    };
    let page = fill(&management, &agents, &wanted).await?;
    Ok(Json(TaskList {
        next_cursor: page.next.map(|id| id.to_string()),
        looked_back_to: page.next.map(|id| id.created_at().rfc3339()),
        tasks: page.tasks.into_iter().map(TaskSummary::of).collect(),
    }))
}

/// The tasks found, and the last one looked at, if there may be more behind it.
struct Page {
    tasks: Vec<Brief>,
    next: Option<TaskId>,
}

async fn fill(management: &Management, agents: &[AgentId], wanted: &Wanted) -> Result<Page, StoreError> {
    let (pick, limit, most) = wanted.round(agents.len());
    let mut page = Page { tasks: Vec::new(), next: wanted.before };
    for _ in 0..ROUNDS {
        let span = Span { before: page.next, ..Span::ALL };
        let stretches = read_lists(&management.tasks, agents, span, pick, limit).await?;
        let looked_at = newest(stretches, most);
        let found = briefs(&management.tasks, &looked_at.entries).await?;
        page.add(&looked_at, found, wanted, management.clock.now());
        if page.next.is_none() || page.tasks.len() == usize::from(wanted.limit) {
            break;
        }
    }
    Ok(page)
}

impl Page {
    fn add(&mut self, looked_at: &Stretch, found: Vec<Option<Brief>>, wanted: &Wanted, now: Moment) {
        self.next = looked_at.reached;
        let last = looked_at.entries.last().map(|entry| entry.id);
        for (entry, brief) in looked_at.entries.iter().zip(found) {
            let Some(brief) = brief.filter(|brief| wanted.includes(brief, now)) else { continue };
            self.tasks.push(brief);
            if self.tasks.len() == usize::from(wanted.limit) {
                if last != Some(entry.id) {
                    self.next = Some(entry.id);
                }
                return;
            }
        }
    }
}

impl Wanted {
    fn read(query: Option<&str>) -> Result<Self, QueryError> {
        let query = Query::read(query, &["agent_id", "status", "limit", "cursor"])?;
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
        Ok(Self {
            agent: query.get("agent_id", "the id of an agent", AgentId::parse)?,
            status: query.get("status", "PENDING, STARTED, SUCCESS or FAILURE", Status::parse)?,
            limit: query.get("limit", "a whole number from 1 to 100", limit)?.unwrap_or(PAGE),
            before: query.get("cursor", "a `next_cursor` of an earlier page, as it was", TaskId::parse)?,
        })
    }

    /// What to look at in a round: which tasks, how many of each list, and how
    /// many in all.
    fn round(&self, agents: usize) -> (Pick, u16, usize) {
        match self.status {
            None => (Pick::All, self.limit, self.limit.into()),
            Some(Status::Failure) => {
                let each = (FAILURES_FROM / (4 * agents).max(1)).max(FAILURES_FROM_EACH);
                (Pick::Failed, u16::try_from(each).unwrap_or(u16::MAX), self.limit.into())
            }
            Some(_) => (Pick::NotFailed, LONGEST_PAGE, LONGEST_PAGE.into()),
        }
    }

    fn includes(&self, task: &Brief, now: Moment) -> bool {
        now < task.expires_at && self.status.is_none_or(|status| status == task.status)
    }
}
