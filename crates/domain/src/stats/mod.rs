//! Figures over the tasks of a stretch of time.
//!
//! Every task of the window is counted; only some are examined if there are many,
//! and what these say stands for all. How many failed is known of every task, so
//! failures are examined apart: a few of them would be lost among the rest.

mod scale;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::{AgentId, Brief, Entry, Moment, Price, Status};
pub use scale::Percentiles;
use scale::{percentiles, shared_out};
pub use window::Window;

/// Tasks by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByStatus {
    /// Stored and queued.
    pub pending: u64,
    /// Held by a runner.
    pub started: u64,
    /// Ended with an answer.
    pub success: u64,
    /// Ended without.
    pub failure: u64,
}

/// What one model did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelShare {
    /// Tasks in which it was asked.
    pub tasks: u64,
    /// Tokens it read.
    pub input_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
    /// What they cost, in US dollars, as far as agents name a price.
    pub cost_usd: Option<f64>,
}

/// Figures over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Tasks that are still kept.
    pub by_status: ByStatus,
    /// The same by interval, oldest first.
    pub buckets: Vec<(Moment, ByStatus)>,
    /// Failures by their kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// From the trigger to the first run.
    pub wait_ms: Option<Percentiles>,
    /// From the first run to the end.
    pub run_ms: Option<Percentiles>,
    /// What each model did, by its name.
    pub models: BTreeMap<String, ModelShare>,
    /// What all of them cost, as far as agents name a price.
    pub cost_usd: Option<f64>,
    /// Tasks in which a model was asked whose price no agent names.
    pub unpriced_tasks: u64,
}

/// A task looked at; `None` if it is gone.
pub type Examined = (Entry, Option<Brief>);

impl ByStatus {
    /// All of them.
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

/// Up to `most` tasks that stand for all: any, as their keys are random, but at
/// least a quarter of them such as failed, if there are so many.
pub fn sample(counted: &[Entry], most: usize) -> Vec<Entry> {
    let (mut failed, mut others): (Vec<Entry>, Vec<Entry>) = counted.iter().partition(|entry| entry.failed);
    let failures = (most / 4).max(most.saturating_sub(others.len()));
    keep(&mut failed, failures);
    keep(&mut others, most - failed.len());
    [failed, others].concat()
}

/// Keeps those with the smallest keys.
fn keep(entries: &mut Vec<Entry>, most: usize) {
    if entries.len() > most {
        entries.select_nth_unstable_by_key(most, |entry| entry.id.key());
        entries.truncate(most);
    }
}

/// The figures, of all tasks `counted` in the window and those of them `examined`.
pub fn stats(
    window: Window,
    counted: &[Entry],
    examined: &[Examined],
    prices: &HashMap<AgentId, Price>,
) -> Stats {
    let buckets = buckets(window, counted, examined);
    let mut by_status = ByStatus::default();
    buckets.iter().for_each(|(_, bucket)| by_status.add(*bucket));
    let weights = Weights::new(counted, examined);
    let weighed: Vec<(&Brief, f64)> =
        examined.iter().filter_map(|(entry, brief)| Some((brief.as_ref()?, weights.of(*entry)))).collect();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let times = |time: fn(&Brief) -> Option<Duration>| {
        percentiles(weighed.iter().filter_map(|(brief, weight)| Some((millis(time(brief)?), *weight))))
    };
    Stats {
        errors: errors(by_status.failure, &weighed),
        wait_ms: times(Brief::waited),
        run_ms: times(Brief::ran),
        by_status,
        buckets,
        ..spending(&weighed, prices)
    }
}

/// How many tasks each examined one stands for.
struct Weights {
    failed: f64,
    other: f64,
}

#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 tasks")]
impl Weights {
    fn new(counted: &[Entry], examined: &[Examined]) -> Self {
        let weight = |failed: bool| {
            let all = counted.iter().filter(|entry| entry.failed == failed).count();
            let some = examined.iter().filter(|(entry, _)| entry.failed == failed).count();
            all as f64 / some.max(1) as f64
        };
        Self { failed: weight(true), other: weight(false) }
    }

    const fn of(&self, entry: Entry) -> f64 {
        if entry.failed { self.failed } else { self.other }
    }
}

/// What the tasks of one interval, or of all, were found to be.
#[derive(Clone, Copy, Default)]
struct Found {
    by_status: ByStatus,
    gone: u64,
}

impl Found {
    fn add(&mut self, brief: Option<&Brief>) {
        match brief.map(|brief| brief.status) {
            None => self.gone += 1,
            Some(Status::Pending) => self.by_status.pending += 1,
            Some(Status::Started) => self.by_status.started += 1,
            Some(Status::Success) => self.by_status.success += 1,
            Some(Status::Failure) => self.by_status.failure += 1,
        }
    }

    /// So many tasks, if they are as these were found to be.
    fn scaled_to(self, tasks: u64) -> ByStatus {
        let ByStatus { pending, started, success, failure } = self.by_status;
        match shared_out(tasks, &[pending, started, success, failure, self.gone])[..] {
            [pending, started, success, failure, _] => ByStatus { pending, started, success, failure },
            _ => ByStatus::default(),
        }
    }

    const fn sum(self) -> u64 {
        self.by_status.sum() + self.gone
    }
}

fn buckets(window: Window, counted: &[Entry], examined: &[Examined]) -> Vec<(Moment, ByStatus)> {
    let mut buckets: Vec<(Moment, ByStatus)> = window.buckets().map(|at| (at, ByStatus::default())).collect();
    for failed in [false, true] {
        let (mut all, mut found) = (vec![0; buckets.len()], vec![Found::default(); buckets.len()]);
        let mut overall = Found::default();
        for entry in counted.iter().filter(|entry| entry.failed == failed) {
            if let Some(all) = all.get_mut(window.index(entry.id.created_at())) {
                *all += 1;
            }
        }
        for (entry, brief) in examined.iter().filter(|(entry, _)| entry.failed == failed) {
            overall.add(brief.as_ref());
            if let Some(found) = found.get_mut(window.index(entry.id.created_at())) {
                found.add(brief.as_ref());
            }
        }
        for (((_, bucket), all), found) in buckets.iter_mut().zip(all).zip(found) {
            bucket.add(if found.sum() > 0 { found } else { overall }.scaled_to(all));
        }
    }
    buckets
}

fn errors(failures: u64, weighed: &[(&Brief, f64)]) -> BTreeMap<&'static str, u64> {
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (brief, _) in weighed {
        if let Some(kind) = brief.failure.as_ref().map(|failure| failure.kind) {
            *seen.entry(kind.as_str()).or_default() += 1;
        }
    }
    let counts: Vec<u64> = seen.values().copied().collect();
    seen.into_keys().zip(shared_out(failures, &counts)).filter(|(_, count)| *count > 0).collect()
}

/// What models were paid for.
fn spending(weighed: &[(&Brief, f64)], prices: &HashMap<AgentId, Price>) -> Stats {
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
                let cost = weight * price.of(usage.input_tokens, usage.output_tokens);
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is cut to what fits")]
const fn rounded(count: f64) -> u64 {
    count.round() as u64
}

/// A millionth of a dollar is the price of a token at a dollar per million.
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
        Window::new(Moment::from_millis(NOW - hours * HOUR), Moment::from_millis(NOW))
    }

    /// A task triggered so many milliseconds ago, that stands as `status` says by number.
    fn task(ago: u64, key: [u8; 10], status: u8) -> Examined {
        let id = TaskId::new(Moment::from_millis(NOW - ago), TaskKey::random(key));
        let (status, kind) = match status % 6 {
            0 => (Status::Pending, None),
            1 => (Status::Started, None),
            2 | 3 => (Status::Success, None),
            4 => (Status::Failure, Some(ErrorType::ModelError)),
            _ => (Status::Failure, Some(ErrorType::Timeout)),
        };
        let started_at = (status != Status::Pending).then(|| id.created_at().plus(Duration::from_millis(5)));
        let brief = Brief {
            id,
            agent_id: agent(),
            status,
            attempt: 1,
            started_at,
            finished_at: started_at.filter(|_| status.has_ended()).map(|at| at.plus(Duration::from_secs(1))),
            failure: kind.map(|kind| Failure::passing(kind, "f")),
            usage: status.has_ended().then(|| Usage {
                model: "m".to_owned(),
                turns: 1,
                input_tokens: 1000,
                output_tokens: 100,
            }),
            expires_at: Moment::from_millis(NOW + HOUR),
        };
        (Entry { id, failed: status == Status::Failure }, Some(brief))
    }

    fn tasks() -> impl Strategy<Value = Vec<Examined>> {
        let some = (0..24 * HOUR, any::<[u8; 10]>(), any::<u8>(), any::<bool>());
        proptest::collection::vec(some, 0..80).prop_map(|tasks| {
            let made = tasks.into_iter().map(|(ago, key, status, gone)| {
                let (entry, brief) = task(ago, key, status);
                (entry, brief.filter(|_| !gone))
            });
            made.collect()
        })
    }

    fn entries(examined: &[Examined]) -> Vec<Entry> {
        examined.iter().map(|(entry, _)| *entry).collect()
    }

    proptest! {
        #[test]
        fn figures_of_tasks_that_were_all_looked_at_are_exact(examined in tasks()) {
            let figures = stats(window(24), &entries(&examined), &examined, &HashMap::new());
            let kept: Vec<&Brief> = examined.iter().filter_map(|(_, brief)| brief.as_ref()).collect();
            let of = |status: Status| kept.iter().filter(|brief| brief.status == status).count() as u64;
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
        fn parts_add_up_to_their_wholes_also_when_only_some_were_looked_at(
            examined in tasks(), most in 1_usize..40,
        ) {
            let counted = entries(&examined);
            let sampled: BTreeSet<TaskId> = sample(&counted, most).into_iter().map(|entry| entry.id).collect();
            let seen: Vec<Examined> =
                examined.iter().filter(|(entry, _)| sampled.contains(&entry.id)).cloned().collect();
            let figures = stats(window(24), &counted, &seen, &HashMap::new());
            prop_assert!(figures.by_status.sum() <= counted.len() as u64);
            let mut sum = ByStatus::default();
            figures.buckets.iter().for_each(|(_, bucket)| sum.add(*bucket));
            prop_assert_eq!(sum, figures.by_status);
            let errors = figures.errors.values().sum::<u64>();
            prop_assert!(errors == figures.by_status.failure, "{} of {:?}", errors, figures.by_status);
        }

        #[test]
        fn a_sample_holds_no_task_twice_all_if_they_are_few_and_failures_if_there_are_any(
            examined in tasks(), most in 4_usize..60,
        ) {
            let counted = entries(&examined);
            let sampled = sample(&counted, most);
            let ids: BTreeSet<TaskId> = sampled.iter().map(|entry| entry.id).collect();
            let all: BTreeSet<TaskId> = counted.iter().map(|entry| entry.id).collect();
            prop_assert_eq!(sampled.len(), counted.len().min(most));
            prop_assert!(ids.is_subset(&all));
            let failed = |entries: &[Entry]| entries.iter().filter(|entry| entry.failed).count();
            prop_assert!(failed(&sampled) >= failed(&counted).min(most / 4));
        }

        #[test]
        fn intervals_are_at_most_96_and_hold_every_moment_of_their_window(millis in 1_u64..400 * HOUR) {
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
        assert_eq!([1, 6, 24, 72, 168, 336].map(seconds), [60, 300, 1800, 3600, 7200, 14_400]);
    }

    #[test]
    fn what_a_sample_says_stands_for_all() {
        let key = |n: u32| {
            let mut key = [0; 10];
            key[3..7].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
            key
        };
        // In a thousand: 3 failures, 2 that run, 1 that waits.
        let status = |n: u32| match n % 1000 {
            0..3 => 4,
            3..5 => 1,
            5 => 0,
            _ => 2,
        };
        let examined: Vec<Examined> =
            (0..10_000_u32).map(|n| task(u64::from(n) * 8000, key(n), status(n))).collect();
        let counted = entries(&examined);
        let picked: BTreeSet<TaskId> = sample(&counted, 1000).into_iter().map(|entry| entry.id).collect();
        let seen: Vec<Examined> =
            examined.into_iter().filter(|(entry, _)| picked.contains(&entry.id)).collect();
        let prices = HashMap::from([(agent(), Price { input: 0.5, output: 10.0 })]);
        let figures = stats(window(24), &counted, &seen, &prices);
        assert_eq!(figures.by_status.sum(), 10_000);
        assert_eq!(figures.by_status.failure, 30, "failures are counted, not guessed");
        assert_eq!(figures.errors, BTreeMap::from([("model_error", 30)]));
        let success = figures.by_status.success;
        assert!((9900..=9970).contains(&success), "{success}");
        let share = &figures.models["m"];
        assert!(share.tasks.abs_diff(success + 30) <= 40, "{share:?}");
        // 1000 read at $0.50 and 100 written at $10 a million: $0.0015 a task.
        let cost = figures.cost_usd.unwrap();
        assert!((cost - 0.0015 * 9970.0).abs() < 0.1, "{cost}");
        assert_eq!(share.cost_usd, figures.cost_usd);
        assert_eq!(figures.unpriced_tasks, 0);
    }

    #[test]
    fn a_percentile_is_the_least_value_that_so_many_do_not_exceed() {
        let of = |values: &[(u64, f64)]| percentiles(values.iter().copied());
        assert_eq!(of(&[]), None);
        let alike: Vec<(u64, f64)> = (1..=100).rev().map(|value| (value, 1.0)).collect();
        assert_eq!(of(&alike), Some(Percentiles { p50: 50, p90: 90, p99: 99, max: 100 }));
        let one_stands_for_many = [(1, 1.0), (7, 98.0), (9, 1.0)];
        assert_eq!(of(&one_stands_for_many), Some(Percentiles { p50: 7, p90: 7, p99: 7, max: 9 }));
    }
}
