//! From counts to dollars for a million tasks.

use super::counts::{Count, Counts};
use super::prices::Prices;
use super::profile::Profile;
use crate::Failure;

/// What a call takes a function that waits for it: assumed, as no figure from this
/// machine can show. DynamoDB promises single-digit milliseconds.
const DYNAMODB_SECONDS: f64 = 0.005;
const SQS_SECONDS: f64 = 0.010;

/// A function of `template.yaml`.
struct Function {
    name: &'static str,
    megabytes: f64,
    /// Of a whole CPU, for one event of a small task: what `benches/bench/run cold` finds
    /// for a warm call, rounded. Assumed to be the same on AWS's machines, and for larger
    /// payloads, which take longer to be deflated.
    cpu_seconds: f64,
}

const WEBHOOK: Function = Function {
    name: "webhook",
    megabytes: 256.0,
    cpu_seconds: 0.000_42,
};
const AGENT: Function = Function {
    name: "agent",
    megabytes: 512.0,
    cpu_seconds: 0.000_53,
};
const TASK_STATUS: Function = Function {
    name: "task-status",
    megabytes: 256.0,
    cpu_seconds: 0.000_28,
};

/// With so much memory Lambda gives a function one CPU, with less a share of it
/// ("Configure Lambda function memory", Lambda Developer Guide).
const MEGABYTES_OF_A_CPU: f64 = 1769.0;
const MEGABYTES_OF_A_GB: f64 = 1024.0;
/// An HTTP API's request is metered in such pieces.
const API_PIECE: f64 = 512.0 * 1024.0;
/// Lambda's own two lines about each batch (`platform.start`, `platform.report`),
/// about; the other functions are configured to leave theirs out.
const BATCH_LOG_BYTES: f64 = 650.0;
/// What CloudWatch counts for a line beside the line
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>).
const EVENT_BYTES: f64 = 26.0;

/// What a line is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// The trigger, the queue, the run and its result.
    Records,
    /// The door that triggers come through.
    Door,
    /// Asking for the status, door included.
    Polls,
    Logs,
    /// Waiting for the model.
    Model,
}

/// A line of the bill of a million tasks.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// Of one task.
    pub(crate) count: f64,
    pub(crate) price: &'static str,
    pub(crate) share: Share,
    /// Of a million tasks.
    pub(crate) dollars: f64,
}

/// The bill of a million tasks of a profile.
pub(crate) struct Bill(pub(crate) Vec<Line>);

impl Bill {
    pub(crate) fn of(profile: &Profile, counts: &Counts, prices: &Prices) -> Result<Self, Failure> {
        let counted = [
            of_trigger(profile, counts),
            of_queue_and_run(profile, counts),
            of_polls(profile, counts),
            of_logs(profile, counts),
        ];
        let lines = counted
            .into_iter()
            .flatten()
            .map(|(what, (unit, price), share, count)| {
                let dollars = count * prices.of_million(price)?;
                Ok(Line {
                    what,
                    unit,
                    count,
                    price,
                    share,
                    dollars,
                })
            });
        Ok(Self(lines.collect::<Result<_, Failure>>()?))
    }

    /// Dollars for these shares of a million tasks.
    pub(crate) fn sum(&self, shares: &[Share]) -> f64 {
        self.0
            .iter()
            .filter(|line| shares.contains(&line.share))
            .map(|line| line.dollars)
            .sum()
    }
}

/// One put, one send and two updates of a kilobyte, without receiving and without Lambda.
pub(crate) fn bare_calls(prices: &Prices) -> Result<f64, Failure> {
    Ok(3.0 * prices.of_million("dynamodb_write")? + prices.of_million("sqs_request")?)
}

/// A unit, and the name of its price.
type Unit = (&'static str, &'static str);

const API: Unit = ("request", "api_request");
const LAMBDA: Unit = ("request", "lambda_request");
const TIME: Unit = ("GB-s", "lambda_gb_second");
const WRITE: Unit = ("WRU", "dynamodb_write");
const READ: Unit = ("RRU", "dynamodb_read");
const SQS: Unit = ("request", "sqs_request");
const FAIR: Unit = ("request", "sqs_fair");
const LOG: Unit = ("GB", "log_gigabyte");

type Counted = (&'static str, Unit, Share, f64);

fn of_trigger(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let triggers = 1.0 + profile.repeats as f64;
    let pieces = (profile.payload.len() as f64 / API_PIECE).ceil();
    let time = WEBHOOK.gb_seconds(WEBHOOK.waiting(counts) + triggers * WEBHOOK.working());
    let units = |figure: fn(&Count) -> f64| counts.sum(figure, |name| name.starts_with("webhook"));
    vec![
        (
            "trigger, through the HTTP API",
            API,
            Share::Door,
            triggers * pieces,
        ),
        ("trigger, Lambda", LAMBDA, Share::Records, triggers),
        ("trigger, Lambda's time", TIME, Share::Records, time),
        (
            "agent read again, trigger",
            READ,
            Share::Records,
            units(|of| of.read_units),
        ),
        (
            "task put",
            WRITE,
            Share::Records,
            units(|of| of.write_units),
        ),
        (
            "put, copied to the index",
            WRITE,
            Share::Records,
            units(|of| of.index_units),
        ),
    ]
}

fn of_queue_and_run(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let batches = 1.0 / profile.batch as f64;
    // What is sent and deferred by calls of ours, and received and deleted by Lambda.
    let (called, polled) = (calls_of_sqs(counts, ""), 2.0 * batches);
    // The tasks of a batch wait at the same time, and work one after the other.
    let time = AGENT.gb_seconds(AGENT.waiting(counts) * batches + AGENT.working());
    let waiting = AGENT.gb_seconds(profile.model_takes.as_secs_f64() * batches);
    let units = |figure: fn(&Count) -> f64| counts.sum(figure, |name| name.starts_with("agent"));
    vec![
        ("id sent", SQS, Share::Records, called),
        (
            "received and deleted in batches",
            SQS,
            Share::Records,
            polled,
        ),
        (
            "fair queue, on top of these",
            FAIR,
            Share::Records,
            called + polled,
        ),
        ("run, Lambda", LAMBDA, Share::Records, batches),
        (
            "run, Lambda's time without the model",
            TIME,
            Share::Records,
            time,
        ),
        (
            "agent and payload read, run",
            READ,
            Share::Records,
            units(|of| of.read_units),
        ),
        (
            "claim and end",
            WRITE,
            Share::Records,
            units(|of| of.write_units),
        ),
        (
            "end, copied to the index",
            WRITE,
            Share::Records,
            units(|of| of.index_units),
        ),
        ("waiting for the model", TIME, Share::Model, waiting),
    ]
}

fn of_polls(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let polls = profile.polls as f64;
    let time = TASK_STATUS.gb_seconds(TASK_STATUS.waiting(counts) + polls * TASK_STATUS.working());
    let reads = counts.sum(|of| of.read_units, |name| name.starts_with("task-status"));
    vec![
        ("polls, through the HTTP API", API, Share::Polls, polls),
        ("polls, Lambda", LAMBDA, Share::Polls, polls),
        ("polls, Lambda's time", TIME, Share::Polls, time),
        ("polls, task read", READ, Share::Polls, reads),
    ]
}

/// In tens of bytes, as the last digit is another one in each run.
fn of_logs(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let lines = counts.sum_of_lines(|of| of.bytes + EVENT_BYTES * of.calls);
    let tens = ((lines + BATCH_LOG_BYTES / profile.batch as f64) / 10.0).round();
    vec![("log lines", LOG, Share::Logs, tens / 1e8)]
}

impl Function {
    fn gb_seconds(&self, seconds: f64) -> f64 {
        self.megabytes / MEGABYTES_OF_A_GB * seconds
    }

    /// Seconds that it waits for its calls of one task, made one after the other.
    fn waiting(&self, counts: &Counts) -> f64 {
        let sqs = calls_of_sqs(counts, self.name);
        let all = counts.sum(|of| of.calls, |name| name.starts_with(self.name));
        SQS_SECONDS * sqs + DYNAMODB_SECONDS * (all - sqs)
    }

    /// Seconds that it works for one event, with its share of a CPU.
    fn working(&self) -> f64 {
        self.cpu_seconds * MEGABYTES_OF_A_CPU / self.megabytes
    }
}

fn calls_of_sqs(counts: &Counts, function: &str) -> f64 {
    let is_sqs = |name: &str| {
        ["SendMessage", "ChangeMessageVisibility"]
            .iter()
            .any(|call| name.ends_with(call))
    };
    counts.sum(
        |of| of.calls,
        |name| name.starts_with(function) && is_sqs(name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_have_the_memory_that_the_template_gives_them() {
        let template = include_str!("../../../../template.yaml");
        for (name, function) in [
            ("WebhookFunction", WEBHOOK),
            ("AgentFunction", AGENT),
            ("TaskStatusFunction", TASK_STATUS),
        ] {
            let (_, resource) = template.split_once(&format!("\n  {name}:\n")).unwrap();
            let (_, memory) = resource.split_once("MemorySize: ").unwrap();
            assert_eq!(
                memory.lines().next(),
                Some(function.megabytes.to_string().as_str()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_function_works_longer_with_less_of_a_cpu() {
        assert_eq!((WEBHOOK.working() * 1e6).round(), 2902.0);
        assert_eq!((AGENT.working() * 1e6).round(), 1831.0);
    }
}
