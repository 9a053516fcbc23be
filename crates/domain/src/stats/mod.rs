//! Statistics of the tasks in a time window.
//!
//! Every task of the window is counted. If there are many, only a sample is examined, and its
//! results are scaled to all tasks. Failures are known without examination, so they are sampled
//! separately. Otherwise a small number of failures could be missing from the sample.

mod scale;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::{AgentId, Moment, Price, Status, TaskBrief, TaskEntry};
pub use scale::Percentiles;
use scale::{distribute, percentiles};
pub use window::Window;

/// Numbers of tasks by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByStatus {
    pub pending: u64,
    pub started: u64,
    pub success: u64,
    pub failure: u64,
}

/// The usage of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelShare {
    /// Tasks that called the model.
    pub tasks: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In US dollars, of tasks whose agent has a price.
    pub cost_usd: Option<f64>,
}

/// Statistics of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Tasks that have not expired.
    pub by_status: ByStatus,
    /// By interval, oldest first.
    pub buckets: Vec<(Moment, ByStatus)>,
    /// Failures by error type.
    pub errors: BTreeMap<&'static str, u64>,
    /// From the trigger to the first claim.
    pub wait_ms: Option<Percentiles>,
    /// From the first claim to the end.
    pub run_ms: Option<Percentiles>,
    /// By the name of the model.
    pub models: BTreeMap<String, ModelShare>,
    /// In US dollars, of tasks whose agent has a price.
    pub cost_usd: Option<f64>,
    /// Tasks that called a model and whose agent has no price.
    pub unpriced_tasks: u64,
}

/// A task of the sample. `None` if it no longer exists.
pub type ExaminedTask = (TaskEntry, Option<TaskBrief>);

impl ByStatus {
    pub const fn sum(self) -> u64 {
        self.pending + self.started + self.success + self.failure
    }

    fn add(&mut self, other: Self) {
        self.pending += other.pending;
        self.started += other.started;
        self.success += other.success;
        self.failure += other.failure;
    }
}

/// A random sample of up to `most` tasks. At least a quarter of it are failures, if there are
/// enough.
pub fn sample_tasks(counted: &[TaskEntry], most: usize) -> Vec<TaskEntry> {
    let (mut failed, mut others): (Vec<TaskEntry>, Vec<TaskEntry>) =
        counted.iter().partition(|entry| entry.failed);
    let failures = (most / 4).max(most.saturating_sub(others.len()));
    truncate_to_sample(&mut failed, failures);
    truncate_to_sample(&mut others, most - failed.len());
    [failed, others].concat()
}

/// Retains the tasks with the smallest keys, which are random.
fn truncate_to_sample(entries: &mut Vec<TaskEntry>, most: usize) {
    if entries.len() > most {
        entries.select_nth_unstable_by_key(most, |entry| entry.id.key());
        entries.truncate(most);
    }
}

/// Calculates the statistics from all tasks of the window (`counted`) and from the sample
/// (`examined`).
pub fn calculate_stats(
    window: Window,
    counted: &[TaskEntry],
    examined: &[ExaminedTask],
    prices: &HashMap<AgentId, Price>,
) -> Stats {
    let buckets = buckets(window, counted, examined);
    let mut by_status = ByStatus::default();
    buckets
        .iter()
        .for_each(|(_, bucket)| by_status.add(*bucket));
    let weights = Weights::new(counted, examined);
    let weighed: Vec<(&TaskBrief, f64)> = examined
        .iter()
        .filter_map(|(entry, brief)| Some((brief.as_ref()?, weights.weight_of(*entry))))
        .collect();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let times = |time: fn(&TaskBrief) -> Option<Duration>| {
        percentiles(
            weighed
                .iter()
                .filter_map(|(brief, weight)| Some((millis(time(brief)?), *weight))),
        )
    };
    Stats {
        errors: errors(by_status.failure, &weighed),
        wait_ms: times(TaskBrief::waited),
        run_ms: times(TaskBrief::ran),
        by_status,
        buckets,
        ..spending(&weighed, prices)
    }
}

/// The number of tasks that each examined task represents.
struct Weights {
    failed: f64,
    other: f64,
}

#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 tasks")]
impl Weights {
    fn new(counted: &[TaskEntry], examined: &[ExaminedTask]) -> Self {
        let weight = |failed: bool| {
            let all = counted
                .iter()
                .filter(|entry| entry.failed == failed)
                .count();
            let some = examined
                .iter()
                .filter(|(entry, _)| entry.failed == failed)
                .count();
            all as f64 / some.max(1) as f64
        };
        Self {
            failed: weight(true),
            other: weight(false),
        }
    }

    const fn weight_of(&self, entry: TaskEntry) -> f64 {
        if entry.failed {
            self.failed
        } else {
            self.other
        }
    }
}

/// Examined tasks of one interval, or of the window.
#[derive(Clone, Copy, Default)]
struct SampleCounts {
    by_status: ByStatus,
    gone: u64,
}

impl SampleCounts {
    fn add(&mut self, brief: Option<&TaskBrief>) {
        match brief.map(|brief| brief.status) {
            None => self.gone += 1,
            Some(Status::Pending) => self.by_status.pending += 1,
            Some(Status::Started) => self.by_status.started += 1,
            Some(Status::Success) => self.by_status.success += 1,
            Some(Status::Failure) => self.by_status.failure += 1,
        }
    }

    /// Scales the counts to this number of tasks.
    fn scaled_to(self, tasks: u64) -> ByStatus {
        let ByStatus {
            pending,
            started,
            success,
            failure,
        } = self.by_status;
        match distribute(tasks, &[pending, started, success, failure, self.gone])[..] {
            [pending, started, success, failure, _] => ByStatus {
                pending,
                started,
                success,
                failure,
            },
            _ => ByStatus::default(),
        }
    }

    const fn sum(self) -> u64 {
        self.by_status.sum() + self.gone
    }
}

fn buckets(
    window: Window,
    counted: &[TaskEntry],
    examined: &[ExaminedTask],
) -> Vec<(Moment, ByStatus)> {
    let mut buckets: Vec<(Moment, ByStatus)> = window
        .buckets()
        .map(|at| (at, ByStatus::default()))
        .collect();
    for failed in [false, true] {
        let (mut all, mut sampled) = (
            vec![0; buckets.len()],
            vec![SampleCounts::default(); buckets.len()],
        );
        let mut overall = SampleCounts::default();
        for entry in counted.iter().filter(|entry| entry.failed == failed) {
            if let Some(all) = all.get_mut(window.index(entry.id.created_at())) {
                *all += 1;
            }
        }
        for (entry, brief) in examined.iter().filter(|(entry, _)| entry.failed == failed) {
            overall.add(brief.as_ref());
            if let Some(sampled) = sampled.get_mut(window.index(entry.id.created_at())) {
                sampled.add(brief.as_ref());
            }
        }
        for (((_, bucket), all), sampled) in buckets.iter_mut().zip(all).zip(sampled) {
            bucket.add(if sampled.sum() > 0 { sampled } else { overall }.scaled_to(all));
        }
    }
    buckets
}

fn errors(failures: u64, weighed: &[(&TaskBrief, f64)]) -> BTreeMap<&'static str, u64> {
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (brief, _) in weighed {
        if let Some(kind) = brief.failure.as_ref().map(|failure| failure.kind) {
            *seen.entry(kind.as_str()).or_default() += 1;
        }
    }
    let counts: Vec<u64> = seen.values().copied().collect();
    seen.into_keys()
        .zip(distribute(failures, &counts))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The usage and the cost of models.
fn spending(weighed: &[(&TaskBrief, f64)], prices: &HashMap<AgentId, Price>) -> Stats {
    let mut models: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    let mut priced: BTreeMap<&str, f64> = BTreeMap::new();
    let mut unpriced = 0.0;
    for (brief, weight) in weighed {
        let Some(usage) = &brief.usage else { continue };
        let sums = models.entry(usage.model.clone()).or_default();
        let counts = [1, usage.input_tokens, usage.output_tokens];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += weight * as_float(count);
        }
        match prices.get(&brief.agent_id) {
            Some(price) => {
                let cost = weight * price.cost_usd(usage.input_tokens, usage.output_tokens);
                *priced.entry(&usage.model).or_default() += cost;
            }
            None => unpriced += weight,
        }
    }
    Stats {
        cost_usd: (!priced.is_empty()).then(|| to_micros(priced.values().sum())),
        unpriced_tasks: rounded(unpriced),
        models: models
            .into_iter()
            .map(|(name, [tasks, input, output])| {
                let share = ModelShare {
                    tasks: rounded(tasks),
                    input_tokens: rounded(input),
                    output_tokens: rounded(output),
                    cost_usd: priced.get(name.as_str()).copied().map(to_micros),
                };
                (name, share)
            })
            .collect(),
        ..Stats::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 tokens")]
const fn as_float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut to what fits"
)]
const fn rounded(count: f64) -> u64 {
    count.round() as u64
}

/// Rounds to millionths of a dollar, the price of one token at $1 per million.
fn to_micros(dollars: f64) -> f64 {
    (dollars * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{ErrorType, Failure, TaskId, TaskKey, Usage};

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_000_000 * HOUR;

    fn agent() -> AgentId {
        AgentId::random([0; 16])
    }

    fn window(hours: u64) -> Window {
        Window::new(
            Moment::from_millis(NOW - hours * HOUR),
            Moment::from_millis(NOW),
        )
    }

    /// A task created `ago` milliseconds ago. `status` selects its status by number.
    fn task(ago: u64, key: [u8; 10], status: u8) -> ExaminedTask {
        let id = TaskId::new(Moment::from_millis(NOW - ago), TaskKey::random(key));
        let (status, kind) = match status % 6 {
            0 => (Status::Pending, None),
            1 => (Status::Started, None),
            2 | 3 => (Status::Success, None),
            4 => (Status::Failure, Some(ErrorType::ModelError)),
            _ => (Status::Failure, Some(ErrorType::Timeout)),
        };
        let started_at =
            (status != Status::Pending).then(|| id.created_at().plus(Duration::from_millis(5)));
        let brief = TaskBrief {
            id,
            agent_id: agent(),
            status,
            attempt: 1,
            started_at,
            finished_at: started_at
                .filter(|_| status.has_ended())
                .map(|at| at.plus(Duration::from_secs(1))),
            failure: kind.map(|kind| Failure::transient(kind, "f")),
            usage: status.has_ended().then(|| Usage {
                model: "m".to_owned(),
                turns: 1,
                input_tokens: 1000,
                output_tokens: 100,
            }),
            expires_at: Moment::from_millis(NOW + HOUR),
        };
        (
            TaskEntry {
                id,
                failed: status == Status::Failure,
            },
            Some(brief),
        )
    }

    fn tasks() -> impl Strategy<Value = Vec<ExaminedTask>> {
        let some = (0..24 * HOUR, any::<[u8; 10]>(), any::<u8>(), any::<bool>());
        proptest::collection::vec(some, 0..80).prop_map(|tasks| {
            let made = tasks.into_iter().map(|(ago, key, status, gone)| {
                let (entry, brief) = task(ago, key, status);
                (entry, brief.filter(|_| !gone))
            });
            made.collect()
        })
    }

    fn entries(examined: &[ExaminedTask]) -> Vec<TaskEntry> {
        examined.iter().map(|(entry, _)| *entry).collect()
    }

    proptest! {
        #[test]
        fn statistics_are_exact_if_all_tasks_are_examined(examined in tasks()) {
            let figures = calculate_stats(window(24), &entries(&examined), &examined, &HashMap::new());
            let present: Vec<&TaskBrief> = examined.iter().filter_map(|(_, brief)| brief.as_ref()).collect();
            let of = |status: Status| present.iter().filter(|brief| brief.status == status).count() as u64;
            let expected = ByStatus {
                pending: of(Status::Pending),
                started: of(Status::Started),
                success: of(Status::Success),
                failure: of(Status::Failure),
            };
            prop_assert_eq!(figures.by_status, expected);
            let asked = expected.success + expected.failure;
            prop_assert_eq!(figures.models.values().map(|share| share.input_tokens).sum::<u64>(), 1000 * asked);
            prop_assert_eq!(figures.unpriced_tasks, asked);
            prop_assert_eq!(figures.run_ms.map(|times| (times.p50, times.max)), (asked > 0).then_some((1000, 1000)));
        }

        #[test]
        fn parts_add_up_to_the_whole_also_for_a_sample(
            examined in tasks(), most in 1_usize..40,
        ) {
            let counted = entries(&examined);
            let sampled: BTreeSet<TaskId> = sample_tasks(&counted, most).into_iter().map(|entry| entry.id).collect();
            let seen: Vec<ExaminedTask> =
                examined.iter().filter(|(entry, _)| sampled.contains(&entry.id)).cloned().collect();
            let figures = calculate_stats(window(24), &counted, &seen, &HashMap::new());
            prop_assert!(figures.by_status.sum() <= counted.len() as u64);
            let mut sum = ByStatus::default();
            figures.buckets.iter().for_each(|(_, bucket)| sum.add(*bucket));
            prop_assert_eq!(sum, figures.by_status);
            let errors = figures.errors.values().sum::<u64>();
            prop_assert!(errors == figures.by_status.failure, "{} of {:?}", errors, figures.by_status);
        }

        #[test]
        fn a_sample_has_unique_tasks_all_of_few_and_enough_failures(
            examined in tasks(), most in 4_usize..60,
        ) {
            let counted = entries(&examined);
            let sampled = sample_tasks(&counted, most);
            let ids: BTreeSet<TaskId> = sampled.iter().map(|entry| entry.id).collect();
            let all: BTreeSet<TaskId> = counted.iter().map(|entry| entry.id).collect();
            prop_assert_eq!(sampled.len(), counted.len().min(most));
            prop_assert!(ids.is_subset(&all));
            let failed = |entries: &[TaskEntry]| entries.iter().filter(|entry| entry.failed).count();
            prop_assert!(failed(&sampled) >= failed(&counted).min(most / 4));
        }

        #[test]
        fn a_window_has_at_most_96_intervals_and_they_cover_it(millis in 1_u64..400 * HOUR) {
            let window = Window::new(Moment::from_millis(NOW - millis), Moment::from_millis(NOW));
            let buckets: Vec<Moment> = window.buckets().collect();
            prop_assert!((1..=96).contains(&buckets.len()), "{}", buckets.len());
            prop_assert!(buckets[0] <= window.from);
            prop_assert!(buckets.last().unwrap().plus(Duration::from_secs(window.bucket_seconds)) > window.to);
            prop_assert_eq!(window.index(window.from), 0);
            prop_assert_eq!(window.index(window.to), buckets.len() - 1);
        }
    }

    #[test]
    fn intervals_begin_at_round_times_of_the_clock() {
        let seconds = |hours| window(hours).bucket_seconds;
        assert_eq!(
            [1, 6, 24, 72, 168, 336].map(seconds),
            [60, 300, 1800, 3600, 7200, 14_400]
        );
    }

    #[test]
    fn a_sample_represents_all_tasks() {
        let key = |n: u32| {
            let mut key = [0; 10];
            key[3..7].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
            key
        };
        // Per thousand: 3 failures, 2 running, 1 waiting.
        let status = |n: u32| match n % 1000 {
            0..3 => 4,
            3..5 => 1,
            5 => 0,
            _ => 2,
        };
        let examined: Vec<ExaminedTask> = (0..10_000_u32)
            .map(|n| task(u64::from(n) * 8000, key(n), status(n)))
            .collect();
        let counted = entries(&examined);
        let picked: BTreeSet<TaskId> = sample_tasks(&counted, 1000)
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        let seen: Vec<ExaminedTask> = examined
            .into_iter()
            .filter(|(entry, _)| picked.contains(&entry.id))
            .collect();
        let prices = HashMap::from([(
            agent(),
            Price {
                input: 0.5,
                output: 10.0,
            },
        )]);
        let figures = calculate_stats(window(24), &counted, &seen, &prices);
        assert_eq!(figures.by_status.sum(), 10_000);
        assert_eq!(
            figures.by_status.failure, 30,
            "failures are counted, not estimated"
        );
        assert_eq!(figures.errors, BTreeMap::from([("model_error", 30)]));
        let success = figures.by_status.success;
        assert!((9900..=9970).contains(&success), "{success}");
        let share = &figures.models["m"];
        assert!(share.tasks.abs_diff(success + 30) <= 40, "{share:?}");
        // 1000 input tokens at $0.50 and 100 output tokens at $10 per million: $0.0015 per task.
        let cost = figures.cost_usd.unwrap();
        assert!((cost - 0.0015 * 9970.0).abs() < 0.1, "{cost}");
        assert_eq!(share.cost_usd, figures.cost_usd);
        assert_eq!(figures.unpriced_tasks, 0);
    }

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_tasks_do_not_exceed() {
        let of = |values: &[(u64, f64)]| percentiles(values.iter().copied());
        assert_eq!(of(&[]), None);
        let alike: Vec<(u64, f64)> = (1..=100).rev().map(|value| (value, 1.0)).collect();
        assert_eq!(
            of(&alike),
            Some(Percentiles {
                p50: 50,
                p90: 90,
                p99: 99,
                max: 100
            })
        );
        let one_represents_many = [(1, 1.0), (7, 98.0), (9, 1.0)];
        assert_eq!(
            of(&one_represents_many),
            Some(Percentiles {
                p50: 7,
                p90: 7,
                p99: 7,
                max: 9
            })
        );
    }
}
