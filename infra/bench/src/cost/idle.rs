//! What a month costs in which nothing happens: what `template.yaml` makes and AWS
//! charges by the month, and Lambda's polling of empty queues.

use super::prices::Prices;
use crate::Failure;

const TEMPLATE: &str = include_str!("../../../../template.yaml");

/// Lambda begins with five pollers a queue, each of which waits 20 s for a message
/// ("Using Lambda with Amazon SQS", scaling; long polling).
const POLLERS: f64 = 5.0;
const POLL_SECONDS: f64 = 20.0;
const MONTH_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
/// Metrics that tasks send (`crates/logs`): five of a stack, and one for each outcome.
const TASK_METRICS: f64 = 5.0 + 9.0;

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
    // An alarm names each of the metrics it watches once.
    let watched = TEMPLATE.matches("MetricName: ").count() as f64;
    let line = |what, count: f64, price, allowance| {
        Ok(Idle { what, count, dollars: count * prices.of(price)?, allowance })
    };
    [
        line("secrets", made("AWS::SecretsManager::Secret"), "secret_month", "none"),
        line("looks into empty queues", polls, "sqs_request", "the account's first million requests a month"),
        line("metrics watched by alarms", watched, "alarm_month", "ten an account"),
        line("dashboards", made("AWS::CloudWatch::Dashboard"), "dashboard_month", "three an account"),
        line(
            "metrics of tasks, in a month in which some end",
            TASK_METRICS,
            "metric_month",
            "ten an account",
        ),
    ]
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_template_makes_is_found_in_it() {
        let month = month(&Prices::listed().unwrap()).unwrap();
        let counts: Vec<f64> = month.iter().map(|line| line.count).collect();
        assert_eq!(counts, [2.0, 1_296_000.0, 14.0, 1.0, 14.0]);
    }
}
