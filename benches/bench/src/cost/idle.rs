//! What a month costs in which nothing happens: what `template.yaml` makes and AWS
//! charges by the month, and Lambda's polling of empty queues.

use super::prices::Prices;
use crate::Failure;

const TEMPLATE: &str = include_str!("../../../../template.yaml");
const METRICS: &str = include_str!("../../../../crates/logs/src/metrics.rs");
const OUTCOMES: &str = include_str!("../../../../crates/domain/src/outcome.rs");

/// Lambda begins with five pollers a queue, each of which waits 20 s for a message
/// ("Using Lambda with Amazon SQS", scaling; long polling).
const POLLERS: f64 = 5.0;
const POLL_SECONDS: f64 = 20.0;
const MONTH_SECONDS: f64 = 30.0 * 24.0 * 3600.0;

/// What, how many, of which price, and whether an account's free allowance may cover it.
pub(crate) struct Idle {
    pub(crate) what: &'static str,
    pub(crate) count: f64,
    pub(crate) dollars: f64,
    pub(crate) allowance: &'static str,
}

pub(crate) fn month(prices: &Prices) -> Result<Vec<Idle>, Failure> {
    let made = |kind: &str| TEMPLATE.matches(&format!("Type: {kind}\n")).count() as f64;
    let polls = made("AWS::SQS::Queue") * POLLERS * MONTH_SECONDS / POLL_SECONDS;
    // An alarm names each of the metrics it watches once. A metric filter names its own.
    let watched = TEMPLATE.matches("MetricName: ").count() as f64 - made("AWS::Logs::MetricFilter");
    let line = |what, count: f64, price, allowance| {
        Ok(Idle {
            what,
            count,
            dollars: count * prices.of(price)?,
            allowance,
        })
    };
    [
        line(
            "secrets",
            made("AWS::SecretsManager::Secret"),
            "secret_month",
            "none",
        ),
        line(
            "looks into empty queues",
            polls,
            "sqs_request",
            "the account's first million requests a month",
        ),
        line(
            "metrics watched by alarms",
            watched,
            "alarm_month",
            "ten an account",
        ),
        line(
            "dashboards",
            made("AWS::CloudWatch::Dashboard"),
            "dashboard_month",
            "three an account",
        ),
        line(
            "metrics of tasks, in a month in which some end",
            metrics_of_tasks(),
            "metric_month",
            "ten an account",
        ),
    ]
    .into_iter()
    .collect()
}

/// Metrics that tasks send at the most: those of the stack, and their number by outcome.
fn metrics_of_tasks() -> f64 {
    let list = METRICS
        .split_once("const BY_STACK: ")
        .and_then(|(_, rest)| rest.split_once("];"));
    let of_stack = list.map_or(0, |(list, _)| list.matches("(\"").count());
    let kinds = OUTCOMES.lines().filter(|line| line.contains(" => \""));
    // Provided for, but nothing ends a task so.
    let failures = kinds.filter(|kind| !kind.contains("cancelled")).count();
    let success = 1;
    (of_stack + success + failures) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paid_for_by_the_month_is_found_in_the_sources_and_as_much_as_the_runbook_says() {
        let month = month(&Prices::listed().unwrap()).unwrap();
        let counts: Vec<f64> = month.iter().map(|line| line.count).collect();
        let [secrets, polls, watched, dashboards, of_tasks] = counts[..] else {
            panic!("{counts:?}")
        };
        // The two queues' pollers, each once in 20 s.
        assert_eq!((secrets, polls, dashboards), (2.0, 1_296_000.0, 1.0));
        let runbook = include_str!("../../../../docs/operations/runbook.md");
        for said in [
            format!("| alarms | {watched} alarm metrics;"),
            format!(
                "5, and one per outcome that occurs ({} at the most)",
                of_tasks - 5.0
            ),
        ] {
            assert!(
                runbook.contains(&said),
                "docs/operations/runbook.md does not say: {said}"
            );
        }
    }
}
