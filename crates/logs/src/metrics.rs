//! Metrics in CloudWatch's embedded metric format: the line that tells how a
//! task ended is the log event and the metrics at once, so its bytes are paid
//! once and the two cannot disagree.
//!
//! The format: "Specification: Embedded metric format", Amazon CloudWatch User
//! Guide. What is named under `_aws` must stand beside it: a metric as a number,
//! a dimension as text.

use domain::Moment;
use serde_json::{Map, Value, json};
use store::env::Env;

/// Where the metrics are found in CloudWatch.
const NAMESPACE: &str = "AgentWebhooks";

/// CloudWatch charges every name with every set of dimension values ($0.30 a
/// month), so these have one, and only the count of tasks is split by outcome.
const BY_STACK: &[(&str, &str)] = &[
    ("queue_ms", "Milliseconds"),
    ("run_ms", "Milliseconds"),
    ("total_ms", "Milliseconds"),
    ("input_tokens", "Count"),
    ("output_tokens", "Count"),
];
const BY_STACK_AND_OUTCOME: &[(&str, &str)] = &[("tasks", "Count")];

/// Makes events of the target [`Metrics::TARGET`] metrics of a stack.
///
/// | metric | unit | of |
/// | --- | --- | --- |
/// | `tasks` | Count | tasks that ended, by `outcome`: `success` or the error type |
/// | `queue_ms` | Milliseconds | from the trigger to the first attempt |
/// | `run_ms` | Milliseconds | the last attempt |
/// | `total_ms` | Milliseconds | from the trigger to the end |
/// | `input_tokens`, `output_tokens` | Count | what the model's server counted |
#[derive(Clone, Debug)]
pub struct Metrics {
    stack: String,
}

impl Metrics {
    /// The `target` of an event that is a metric too.
    pub const TARGET: &'static str = "metrics";

    /// `AGENT_WEBHOOKS_METRICS_STACK`: the stack they are told of; unset, none are.
    pub fn from_env(env: &Env) -> Option<Self> {
        env.optional("AGENT_WEBHOOKS_METRICS_STACK").map(Self::of_stack)
    }

    /// The metrics of this stack.
    pub fn of_stack(stack: impl Into<String>) -> Self {
        Self { stack: stack.into() }
    }

    /// Makes a line a metric: what CloudWatch shall read of it goes under `_aws`.
    pub(crate) fn embed(&self, line: &mut Map<String, Value>, now: Moment) {
        line.insert("stack".to_owned(), self.stack.as_str().into());
        line.insert("tasks".to_owned(), 1.into());
        let directives = [
            directive(&["stack", "outcome"], BY_STACK_AND_OUTCOME, line),
            directive(&["stack"], BY_STACK, line),
        ];
        let aws = json!({ "Timestamp": now.millis(), "CloudWatchMetrics": directives });
        line.insert("_aws".to_owned(), aws);
    }
}

/// Names those of `metrics` that the line has: a task that never began has waited
/// for no attempt, and a run without a model has no tokens.
fn directive(dimensions: &[&str], metrics: &[(&str, &str)], line: &Map<String, Value>) -> Value {
    let metrics: Vec<Value> = metrics
        .iter()
        .filter(|(name, _)| line.get(*name).is_some_and(Value::is_number))
        .map(|(name, unit)| json!({ "Name": name, "Unit": unit }))
        .collect();
    json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(line: Value) -> Value {
        let Value::Object(mut line) = line else { panic!("no object") };
        Metrics::of_stack("agents").embed(&mut line, Moment::from_millis(1_767_225_600_042));
        Value::Object(line)
    }

    fn a_task_with_everything() -> Value {
        json!({
            "level": "INFO", "message": "task ended", "task_id": "t", "attempt": 2, "outcome": "success",
            "queue_ms": 3, "run_ms": 40, "total_ms": 50, "input_tokens": 11, "output_tokens": 4,
        })
    }

    /// The rules of the specification, for every metric of a line.
    fn check(line: &Value) {
        assert!(line["_aws"]["Timestamp"].is_u64(), "milliseconds since 1970");
        assert!(line.to_string().len() < 256 * 1024, "the smallest limit documented for an event");
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert!(!directives.is_empty());
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap();
            assert!((1..=255).contains(&namespace.len()));
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap();
                assert!(set.len() <= 30, "at most 30 dimensions in a set");
                for dimension in set {
                    let value = line[dimension.as_str().unwrap()].as_str().expect("a target is text");
                    assert!((1..=1024).contains(&value.len()));
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(metrics.len() <= 100, "at most 100 metrics in a directive");
            for metric in metrics {
                assert!(line[metric["Name"].as_str().unwrap()].is_number(), "a target is a number");
                assert!(["Count", "Milliseconds"].contains(&metric["Unit"].as_str().unwrap()));
            }
        }
    }

    #[test]
    fn a_task_that_ended_is_one_count_by_outcome_and_five_measures_of_the_stack() {
        let line = embedded(a_task_with_everything());
        check(&line);
        assert_eq!(
            line["_aws"],
            json!({
                "Timestamp": 1_767_225_600_042_u64,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "AgentWebhooks",
                        "Dimensions": [["stack", "outcome"]],
                        "Metrics": [{ "Name": "tasks", "Unit": "Count" }],
                    },
                    {
                        "Namespace": "AgentWebhooks",
                        "Dimensions": [["stack"]],
                        "Metrics": [
                            { "Name": "queue_ms", "Unit": "Milliseconds" },
                            { "Name": "run_ms", "Unit": "Milliseconds" },
                            { "Name": "total_ms", "Unit": "Milliseconds" },
                            { "Name": "input_tokens", "Unit": "Count" },
                            { "Name": "output_tokens", "Unit": "Count" },
                        ],
                    },
                ],
            })
        );
        assert_eq!((&line["stack"], &line["tasks"]), (&json!("agents"), &json!(1)));
    }

    #[test]
    fn what_a_task_has_not_is_not_named() {
        let line = embedded(json!({ "outcome": "worker_lost", "total_ms": 50 }));
        check(&line);
        let measures = &line["_aws"]["CloudWatchMetrics"][1]["Metrics"];
        assert_eq!(measures, &json!([{ "Name": "total_ms", "Unit": "Milliseconds" }]));
    }

    #[test]
    fn the_event_stays_what_it_was() {
        let line = embedded(a_task_with_everything());
        for (name, value) in a_task_with_everything().as_object().unwrap() {
            assert_eq!(&line[name], value);
        }
    }
}
