//! Metrics in CloudWatch's embedded metric format. The log line of a finished task is both the
//! log event and the metrics, so its bytes are paid once and the two cannot disagree.
//!
//! The format: "Specification: Embedded metric format", Amazon CloudWatch User Guide. Every name
//! under `_aws` must be a field of the line: a metric as a number, a dimension as a string.

use domain::Moment;
use serde_json::{Map, Value, json};
use store::env::Env;

/// The namespace in CloudWatch.
const NAMESPACE: &str = "AgentWebhooks";

/// CloudWatch charges $0.30 a month for each combination of a name and dimension values. So only
/// the number of tasks is split by outcome.
const BY_STACK: &[(&str, &str)] = &[
    ("queue_ms", "Milliseconds"),
    ("run_ms", "Milliseconds"),
    ("total_ms", "Milliseconds"),
    ("input_tokens", "Count"),
    ("output_tokens", "Count"),
];
const BY_STACK_AND_OUTCOME: &[(&str, &str)] = &[("tasks", "Count")];

/// Converts events of the target [`Metrics::TARGET`] to metrics of a stack.
///
/// | metric | unit | meaning |
/// | --- | --- | --- |
/// | `tasks` | Count | tasks that ended, by `outcome`: `success` or the error type |
/// | `queue_ms` | Milliseconds | from the trigger to the first attempt |
/// | `run_ms` | Milliseconds | the last attempt |
/// | `total_ms` | Milliseconds | from the trigger to the end |
/// | `input_tokens`, `output_tokens` | Count | as counted by the model provider |
#[derive(Clone, Debug)]
pub struct Metrics {
    stack: String,
}

impl Metrics {
    /// The `target` of events that are also metrics.
    pub const TARGET: &'static str = "metrics";

    /// From `AGENT_WEBHOOKS_METRICS_STACK`, the name of the stack. `None` if it is not set.
    pub fn from_env(env: &Env) -> Option<Self> {
        env.optional("AGENT_WEBHOOKS_METRICS_STACK")
            .map(Self::for_stack)
    }

    pub fn for_stack(stack: impl Into<String>) -> Self {
        Self {
            stack: stack.into(),
        }
    }

    /// Adds metrics to a log line, under `_aws`.
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

/// Lists the metrics that are fields of the line. A task that never started has no `queue_ms`, and
/// a run without a model has no tokens.
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
        let Value::Object(mut line) = line else {
            panic!("not an object")
        };
        Metrics::for_stack("agents").embed(&mut line, Moment::from_millis(1_767_225_600_042));
        Value::Object(line)
    }

    fn a_task_with_everything() -> Value {
        json!({
            "level": "INFO", "message": "task ended", "task_id": "t", "attempt": 2, "outcome": "success",
            "queue_ms": 3, "run_ms": 40, "total_ms": 50, "input_tokens": 11, "output_tokens": 4,
        })
    }

    /// Checks a line against the specification.
    fn check(line: &Value) {
        assert!(
            line["_aws"]["Timestamp"].is_u64(),
            "milliseconds since 1970"
        );
        assert!(
            line.to_string().len() < 256 * 1024,
            "the smallest limit documented for an event"
        );
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert!(!directives.is_empty());
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap();
            assert!((1..=255).contains(&namespace.len()));
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap();
                assert!(set.len() <= 30, "at most 30 dimensions in a set");
                for dimension in set {
                    let value = line[dimension.as_str().unwrap()]
                        .as_str()
                        .expect("a target is text");
                    assert!((1..=1024).contains(&value.len()));
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(metrics.len() <= 100, "at most 100 metrics in a directive");
            for metric in metrics {
                assert!(
                    line[metric["Name"].as_str().unwrap()].is_number(),
                    "a target is a number"
                );
                assert!(["Count", "Milliseconds"].contains(&metric["Unit"].as_str().unwrap()));
            }
        }
    }

    #[test]
    fn a_finished_task_has_one_count_by_outcome_and_five_metrics_of_the_stack() {
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
        assert_eq!(
            (&line["stack"], &line["tasks"]),
            (&json!("agents"), &json!(1))
        );
    }

    #[test]
    fn missing_fields_are_not_listed() {
        let line = embedded(json!({ "outcome": "worker_lost", "total_ms": 50 }));
        check(&line);
        let measures = &line["_aws"]["CloudWatchMetrics"][1]["Metrics"];
        assert_eq!(
            measures,
            &json!([{ "Name": "total_ms", "Unit": "Milliseconds" }])
        );
    }

    #[test]
    fn the_fields_of_the_event_are_unchanged() {
        let line = embedded(a_task_with_everything());
        for (name, value) in a_task_with_everything().as_object().unwrap() {
            assert_eq!(&line[name], value);
        }
    }
}
