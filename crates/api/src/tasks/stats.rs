//! `GET /api/stats`: figures over the tasks of the last hours.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::{
    AgentId, ByStatus, Entry, Examined, ModelShare, Moment, Percentiles, Price, Span, Stats, Stretch,
    TaskKey, Window, newest, sample, stats,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use store::{Pick, StoreError};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::{QUERIES_AT_ONCE, briefs};
use crate::Problem;
use crate::agents::Management;
use crate::openapi::parameters::StatsInQuery;
use crate::query::{Query, QueryError};

const HOURS: u64 = 24;
/// A queue holds a message for 14 days.
const MOST_HOURS: u64 = 336;
/// Tasks counted for one request: the index is read a megabyte, some thousands of
/// tasks, at a time.
const MOST_COUNTED: usize = 100_000;
/// Entries read of one list at a time.
const LARGEST_READ: usize = 5000;
const SMALLEST_READ: usize = 100;
/// Tasks whose records are read for one request.
const MOST_EXAMINED: usize = 1000;
/// As many as one call reads.
const BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 4;
/// One at a time: it reads so much that triggers would wait for several.
static ADDING_UP: Semaphore = Semaphore::const_new(1);

/// Figures over the tasks of the last hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    /// Where the figures begin: later than asked for if there are more tasks than are counted.
    #[schema(format = "date-time")]
    from: String,
    /// Now.
    #[schema(format = "date-time")]
    to: String,
    /// The length of an interval.
    bucket_seconds: u64,
    /// All tasks of the window that are still kept, of the agents there are: a task is kept
    /// for a day, or as long after its end as this deployment is set to.
    tasks: u64,
    /// Those of them that were looked at.
    examined: u64,
    /// Not all were looked at: figures are scaled up, percentiles are of those looked at.
    sampled: bool,
    /// The tasks by their status.
    by_status: StatusCounts,
    /// The same by interval, oldest first, none left out.
    buckets: Vec<Bucket>,
    /// Failures by `error.type`.
    errors: BTreeMap<&'static str, u64>,
    /// From the trigger to the first run; `null` if none has begun.
    #[schema(required = true)]
    wait_ms: Option<Times>,
    /// From the first run to the end; `null` if none has ended.
    #[schema(required = true)]
    run_ms: Option<Times>,
    /// Tokens that models read.
    input_tokens: u64,
    /// Tokens that models wrote.
    output_tokens: u64,
    /// The models that were asked.
    models: Vec<ModelFigures>,
    /// What the tokens cost, in US dollars, as far as agents name a price; `null` if none does.
    #[schema(required = true)]
    cost_usd: Option<f64>,
    /// Tasks that asked a model whose price their agent does not name.
    unpriced_tasks: u64,
}

/// Numbers of tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) struct StatusCounts {
    pending: u64,
    started: u64,
    success: u64,
    failure: u64,
}

/// An interval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bucket {
    /// When it begins.
    #[schema(format = "date-time")]
    at: String,
    /// The tasks triggered in it, as they stand now.
    #[serde(flatten)]
    by_status: StatusCounts,
}

/// Milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Times {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

/// What one model did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelFigures {
    /// Its name, as its server gives it.
    model: String,
    /// Tasks in which it was asked.
    tasks: u64,
    /// Tokens it read.
    input_tokens: u64,
    /// Tokens it wrote.
    output_tokens: u64,
    /// What they cost, in US dollars; `null` if no agent names a price.
    #[schema(required = true)]
    cost_usd: Option<f64>,
}

/// Adds up the tasks of the last hours.
///
/// Of very many tasks some are looked at, and figures are scaled up from them.
#[utoipa::path(get, path = "/api/stats", tag = "Tasks", operation_id = "get_stats",
    params(StatsInQuery),
    responses((status = 200, description = "The figures.", body = StatsView)))]
pub(crate) async fn show(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsView>, Problem> {
    let (agent, hours) = wanted(query.as_deref())?;
    let _turn = ADDING_UP.acquire().await.map_err(Problem::internal)?;
    let prices = prices(&management, agent).await?;
    let agents: Vec<AgentId> = prices.keys().copied().collect();
    let now = management.clock.now();
    let (window, counted) = count(&management, &agents, hours, now).await?;
    let examined = examine(&management, sample(&counted, MOST_EXAMINED), now).await?;
    let prices = prices.into_iter().filter_map(|(agent, price)| Some((agent, price?))).collect();
    let figures = stats(window, &counted, &examined, &prices);
    let sampled = examined.len() < counted.len();
    let examined = examined.iter().filter(|(_, brief)| brief.is_some()).count();
    Ok(Json(StatsView::of(window, figures, examined, sampled)))
}

fn wanted(query: Option<&str>) -> Result<(Option<AgentId>, u64), QueryError> {
    let query = Query::read(query, &["agent_id", "hours"])?;
    let hours = |text: &str| text.parse().ok().filter(|hours| (1..=MOST_HOURS).contains(hours));
    Ok((
        query.get("agent_id", "the id of an agent", AgentId::parse)?,
        query.get("hours", "a whole number from 1 to 336", hours)?.unwrap_or(HOURS),
    ))
}

/// The agents to look at, and what their models cost.
async fn prices(
    management: &Management,
    agent: Option<AgentId>,
) -> Result<HashMap<AgentId, Option<Price>>, StoreError> {
    let records = match agent {
        Some(agent) => management.agents.get(agent).await?.into_iter().collect(),
        None => management.agents.list().await?,
    };
    let price_of = |record: &store::AgentRecord| record.agent.draft().model.as_ref()?.price;
    let mut prices: HashMap<_, _> =
        records.iter().map(|record| (record.agent.id(), price_of(record))).collect();
    // One that is deleted may have left tasks.
    if let Some(agent) = agent {
        prices.entry(agent).or_default();
    }
    Ok(prices)
}

/// A list, and what was read of it so far.
struct Reading {
    agent: AgentId,
    shard: u8,
    read: Stretch,
}

/// The tasks of the last hours, and of which window that is all.
async fn count(
    management: &Management,
    agents: &[AgentId],
    hours: u64,
    now: Moment,
) -> Result<(Window, Vec<Entry>), StoreError> {
    let mut from = now.minus(Duration::from_secs(hours * 3600));
    let new = |agent| move |shard| Reading { agent, shard, read: Stretch::default() };
    let mut unread: Vec<Reading> =
        agents.iter().flat_map(|agent| (0..TaskKey::SHARDS).map(new(*agent))).collect();
    let limit = (MOST_COUNTED / unread.len().max(1)).clamp(SMALLEST_READ, LARGEST_READ);
    let (mut read, mut counted) = (Vec::new(), 0);
    while !unread.is_empty() && counted < MOST_COUNTED {
        let reads = unread.into_iter().map(|list| read_on(management, list, from, limit));
        let lists: Vec<Reading> = stream::iter(reads).buffer_unordered(QUERIES_AT_ONCE).try_collect().await?;
        counted = lists.iter().chain(&read).map(|list| list.read.entries.len()).sum();
        let (left, done): (Vec<Reading>, Vec<Reading>) =
            lists.into_iter().partition(|list| list.read.reached.is_some());
        read.extend(done);
        unread = left;
    }
    let stretches = read.into_iter().chain(unread).map(|list| list.read).collect();
    let Stretch { mut entries, reached } = newest(stretches, usize::MAX);
    if let Some(reached) = reached {
        // Of its very moment there may be more.
        from = reached.created_at().plus(Duration::from_millis(1));
        entries.retain(|entry| from <= entry.id.created_at());
    }
    Ok((Window::new(from, now), entries))
}

async fn read_on(
    management: &Management,
    mut list: Reading,
    from: Moment,
    limit: usize,
) -> Result<Reading, StoreError> {
    let span = Span { from, before: list.read.reached };
    let limit = u16::try_from(limit).unwrap_or(u16::MAX);
    let read = management.tasks.listed(list.agent, list.shard, span, Pick::All, limit).await?;
    list.read.entries.extend(read.entries);
    list.read.reached = read.reached;
    Ok(list)
}

async fn examine(
    management: &Management,
    entries: Vec<Entry>,
    now: Moment,
) -> Result<Vec<Examined>, StoreError> {
    let batches: Vec<Vec<Entry>> = entries.chunks(BATCH).map(<[Entry]>::to_vec).collect();
    let reads = batches.into_iter().map(|batch| async move {
        let found = briefs(&management.tasks, &batch).await?;
        let is_kept = move |brief: &domain::Brief| now < brief.expires_at;
        let kept = found.into_iter().map(move |brief| brief.filter(is_kept));
        Ok::<Vec<Examined>, StoreError>(batch.into_iter().zip(kept).collect())
    });
    let examined: Vec<Vec<Examined>> =
        stream::iter(reads).buffer_unordered(BATCHES_AT_ONCE).try_collect().await?;
    Ok(examined.into_iter().flatten().collect())
}

impl StatsView {
    fn of(window: Window, figures: Stats, examined: usize, sampled: bool) -> Self {
        let tokens = |of: fn(&ModelShare) -> u64| figures.models.values().map(of).sum();
        Self {
            from: window.from.rfc3339(),
            to: window.to.rfc3339(),
            bucket_seconds: window.bucket_seconds,
            tasks: figures.by_status.sum(),
            examined: examined as u64,
            sampled,
            by_status: figures.by_status.into(),
            input_tokens: tokens(|share| share.input_tokens),
            output_tokens: tokens(|share| share.output_tokens),
            buckets: figures.buckets.into_iter().map(Bucket::of).collect(),
            errors: figures.errors,
            wait_ms: figures.wait_ms.map(Times::from),
            run_ms: figures.run_ms.map(Times::from),
            models: figures.models.into_iter().map(ModelFigures::of).collect(),
            cost_usd: figures.cost_usd,
            unpriced_tasks: figures.unpriced_tasks,
        }
    }
}

impl From<ByStatus> for StatusCounts {
    fn from(ByStatus { pending, started, success, failure }: ByStatus) -> Self {
        Self { pending, started, success, failure }
    }
}

impl Bucket {
    fn of((at, by_status): (Moment, ByStatus)) -> Self {
        Self { at: at.rfc3339(), by_status: by_status.into() }
    }
}

impl From<Percentiles> for Times {
    fn from(Percentiles { p50, p90, p99, max }: Percentiles) -> Self {
        Self { p50, p90, p99, max }
    }
}

impl ModelFigures {
    fn of((model, share): (String, ModelShare)) -> Self {
        let ModelShare { tasks, input_tokens, output_tokens, cost_usd } = share;
        Self { model, tasks, input_tokens, output_tokens, cost_usd }
    }
}
