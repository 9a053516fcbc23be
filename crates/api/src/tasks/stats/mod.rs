//! `GET /api/stats`: statistics of the tasks of the last hours.

mod view;

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::{
    AgentId, ExaminedTask, ListPage, ListRange, Moment, Price, TaskEntry, TaskKey, Window,
    calculate_stats, merge_newest, sample_tasks,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use store::{FailureFilter, StoreError};
use tokio::sync::Semaphore;

use super::{QUERIES_AT_ONCE, load_briefs};
use crate::openapi::parameters::StatsParams;
use crate::query::{Query, QueryError};
use crate::{Management, Problem};
use view::StatsView;

const HOURS: u64 = 24;
/// 14 days: as long as a queue stores a message.
const MOST_HOURS: u64 = 336;
/// Tasks that are counted for one request. A query reads 1 MB of the index, which is some
/// thousands of tasks.
const MOST_COUNTED: usize = 100_000;
/// Index entries that are read of one list at a time.
const LARGEST_READ: usize = 5000;
const SMALLEST_READ: usize = 100;
/// Tasks whose records are read for one request.
const MOST_EXAMINED: usize = 1000;
/// Records that one call reads.
const BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 4;
/// Limits this call to one request at a time: it reads so much that several of them would
/// delay triggers.
static RUNNING: Semaphore = Semaphore::const_new(1);

/// Returns statistics of the tasks of the last hours.
///
/// If there are very many tasks, the counts are estimated from a sample.
#[utoipa::path(get, path = "/api/stats", tag = "Tasks", operation_id = "get_stats",
    params(StatsParams),
    responses((status = 200, description = "The statistics.", body = StatsView)))]
pub(crate) async fn show(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsView>, Problem> {
    let (agent, hours) = parse_query(query.as_deref())?;
    let _permit = RUNNING.acquire().await.map_err(Problem::internal)?;
    let prices = load_prices(&management, agent).await?;
    let agents: Vec<AgentId> = prices.keys().copied().collect();
    let now = management.clock.now();
    let (window, counted) = count_tasks(&management, &agents, hours, now).await?;
    let examined = examine_tasks(&management, sample_tasks(&counted, MOST_EXAMINED), now).await?;
    let prices = prices
        .into_iter()
        .filter_map(|(agent, price)| Some((agent, price?)))
        .collect();
    let figures = calculate_stats(window, &counted, &examined, &prices);
    let sampled = examined.len() < counted.len();
    let examined = examined.iter().filter(|(_, brief)| brief.is_some()).count();
    Ok(Json(StatsView::new(window, figures, examined, sampled)))
}

fn parse_query(query: Option<&str>) -> Result<(Option<AgentId>, u64), QueryError> {
    let query = Query::parse(query, &["agent_id", "hours"])?;
    let hours = |text: &str| {
        text.parse()
            .ok()
            .filter(|hours| (1..=MOST_HOURS).contains(hours))
    };
    Ok((
        query.get("agent_id", "the id of an agent", AgentId::parse)?,
        query
            .get("hours", "a whole number from 1 to 336", hours)?
            .unwrap_or(HOURS),
    ))
}

/// The agents to include, with the prices of their models.
async fn load_prices(
    management: &Management,
    agent: Option<AgentId>,
) -> Result<HashMap<AgentId, Option<Price>>, StoreError> {
    let records = match agent {
        Some(agent) => management.agents.get(agent).await?.into_iter().collect(),
        None => management.agents.list().await?,
    };
    let price_of = |record: &store::StoredAgent| record.agent.definition().model.as_ref()?.price;
    let mut prices: HashMap<_, _> = records
        .iter()
        .map(|record| (record.agent.id(), price_of(record)))
        .collect();
    // Tasks of a deleted agent may still be stored.
    if let Some(agent) = agent {
        prices.entry(agent).or_default();
    }
    Ok(prices)
}

/// One of an agent's lists, and what was read of it so far.
struct ListReader {
    agent: AgentId,
    shard: u8,
    page: ListPage,
}

/// The tasks of the last hours, and the window for which the list is complete.
async fn count_tasks(
    management: &Management,
    agents: &[AgentId],
    hours: u64,
    now: Moment,
) -> Result<(Window, Vec<TaskEntry>), StoreError> {
    let mut from = now.minus(Duration::from_secs(hours * 3600));
    let start = |agent| {
        move |shard| ListReader {
            agent,
            shard,
            page: ListPage::default(),
        }
    };
    let mut unread: Vec<ListReader> = agents
        .iter()
        .flat_map(|agent| (0..TaskKey::SHARDS).map(start(*agent)))
        .collect();
    let limit = (MOST_COUNTED / unread.len().max(1)).clamp(SMALLEST_READ, LARGEST_READ);
    let (mut read, mut counted) = (Vec::new(), 0);
    while !unread.is_empty() && counted < MOST_COUNTED {
        let reads = unread
            .into_iter()
            .map(|list| read_next_page(management, list, from, limit));
        let lists: Vec<ListReader> = stream::iter(reads)
            .buffer_unordered(QUERIES_AT_ONCE)
            .try_collect()
            .await?;
        counted = lists
            .iter()
            .chain(&read)
            .map(|list| list.page.entries.len())
            .sum();
        let (unfinished, done): (Vec<ListReader>, Vec<ListReader>) = lists
            .into_iter()
            .partition(|list| list.page.reached.is_some());
        read.extend(done);
        unread = unfinished;
    }
    let pages = read
        .into_iter()
        .chain(unread)
        .map(|list| list.page)
        .collect();
    let ListPage {
        mut entries,
        reached,
    } = merge_newest(pages, usize::MAX);
    if let Some(reached) = reached {
        // There may be more tasks in the same millisecond, so exclude it.
        from = reached.created_at().plus(Duration::from_millis(1));
        entries.retain(|entry| from <= entry.id.created_at());
    }
    Ok((Window::new(from, now), entries))
}

async fn read_next_page(
    management: &Management,
    mut list: ListReader,
    from: Moment,
    limit: usize,
) -> Result<ListReader, StoreError> {
    let span = ListRange {
        from,
        before: list.page.reached,
    };
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    let read = management
        .tasks
        .list(list.agent, list.shard, span, FailureFilter::All, limit)
        .await?;
    list.page.entries.extend(read.entries);
    list.page.reached = read.reached;
    Ok(list)
}

async fn examine_tasks(
    management: &Management,
    entries: Vec<TaskEntry>,
    now: Moment,
) -> Result<Vec<ExaminedTask>, StoreError> {
    let batches: Vec<Vec<TaskEntry>> = entries.chunks(BATCH).map(<[TaskEntry]>::to_vec).collect();
    let reads = batches.into_iter().map(|batch| async move {
        let found = load_briefs(&management.tasks, &batch).await?;
        let is_stored = move |brief: &domain::TaskBrief| now < brief.expires_at;
        let stored = found.into_iter().map(move |brief| brief.filter(is_stored));
        Ok::<Vec<ExaminedTask>, StoreError>(batch.into_iter().zip(stored).collect())
    });
    let examined: Vec<Vec<ExaminedTask>> = stream::iter(reads)
        .buffer_unordered(BATCHES_AT_ONCE)
        .try_collect()
        .await?;
    Ok(examined.into_iter().flatten().collect())
}
