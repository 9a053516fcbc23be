//! The JSON response of the statistics, built from the calculated figures.

use std::collections::BTreeMap;

use domain::{ByStatus, ModelShare, Moment, Percentiles, Stats, Window};
use serde::Serialize;
use utoipa::ToSchema;

/// Statistics of the tasks of the last hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    /// Start of the period. Later than requested if there are more tasks than one request can count.
    #[schema(format = "date-time")]
    from: String,
    /// End of the period: the time of the request.
    #[schema(format = "date-time")]
    to: String,
    /// Length of an interval in seconds.
    bucket_seconds: u64,
    /// Number of tasks of the period that are still stored, of all existing agents. A task is stored for a
    /// day after its end, unless the deployment sets another time.
    tasks: u64,
    /// Number of tasks whose records were read.
    examined: u64,
    /// `true` if only a sample of the records was read. Counts are then scaled up, and percentiles are of
    /// the sample.
    sampled: bool,
    /// Tasks by status.
    by_status: StatusCounts,
    /// Tasks by interval, oldest first. Every interval of the period is included.
    buckets: Vec<StatsBucket>,
    /// Failures by `error.type`.
    errors: BTreeMap<&'static str, u64>,
    /// Time from the trigger to the start of the first attempt. `null` if no task has started.
    #[schema(required = true)]
    wait_ms: Option<DurationPercentiles>,
    /// Time from the start of the first attempt to the end. `null` if no task has ended.
    #[schema(required = true)]
    run_ms: Option<DurationPercentiles>,
    /// Input tokens of all models.
    input_tokens: u64,
    /// Output tokens of all models.
    output_tokens: u64,
    /// Usage by model.
    models: Vec<ModelFigures>,
    /// Cost of the tokens in US dollars, for agents that have a price. `null` if no agent has one.
    #[schema(required = true)]
    cost_usd: Option<f64>,
    /// Tasks that called a model although their agent has no price.
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

/// The tasks of an interval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsBucket {
    /// Start of the interval.
    #[schema(format = "date-time")]
    at: String,
    /// Tasks that were triggered in the interval, by their current status.
    #[serde(flatten)]
    by_status: StatusCounts,
}

/// Percentiles in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DurationPercentiles {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

/// Usage of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelFigures {
    /// Name of the model, as the model provider returns it.
    model: String,
    /// Tasks that called the model.
    tasks: u64,
    /// Input tokens.
    input_tokens: u64,
    /// Output tokens.
    output_tokens: u64,
    /// Cost in US dollars. `null` if no agent has a price.
    #[schema(required = true)]
    cost_usd: Option<f64>,
}

impl StatsView {
    pub(super) fn new(window: Window, figures: Stats, examined: usize, sampled: bool) -> Self {
        let tokens = |count: fn(&ModelShare) -> u64| figures.models.values().map(count).sum();
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
            buckets: figures.buckets.into_iter().map(StatsBucket::new).collect(),
            errors: figures.errors,
            wait_ms: figures.wait_ms.map(DurationPercentiles::from),
            run_ms: figures.run_ms.map(DurationPercentiles::from),
            models: figures.models.into_iter().map(ModelFigures::new).collect(),
            cost_usd: figures.cost_usd,
            unpriced_tasks: figures.unpriced_tasks,
        }
    }
}

impl From<ByStatus> for StatusCounts {
    fn from(
        ByStatus {
            pending,
            started,
            success,
            failure,
        }: ByStatus,
    ) -> Self {
        Self {
            pending,
            started,
            success,
            failure,
        }
    }
}

impl StatsBucket {
    fn new((at, by_status): (Moment, ByStatus)) -> Self {
        Self {
            at: at.rfc3339(),
            by_status: by_status.into(),
        }
    }
}

impl From<Percentiles> for DurationPercentiles {
    fn from(Percentiles { p50, p90, p99, max }: Percentiles) -> Self {
        Self { p50, p90, p99, max }
    }
}

impl ModelFigures {
    fn new((model, share): (String, ModelShare)) -> Self {
        let ModelShare {
            tasks,
            input_tokens,
            output_tokens,
            cost_usd,
        } = share;
        Self {
            model,
            tasks,
            input_tokens,
            output_tokens,
            cost_usd,
        }
    }
}
