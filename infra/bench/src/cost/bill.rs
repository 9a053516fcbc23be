//! From counts to dollars for a million tasks.

use super::counts::Counts;
use super::prices::Prices;
use super::profile::Profile;
use super::stack::Measured;
use crate::Failure;

/// What a call takes a function that waits for it: assumed, as no figure from this
/// machine can tell. DynamoDB promises single-digit milliseconds.
const DYNAMODB_SECONDS: f64 = 0.005;
const SQS_SECONDS: f64 = 0.010;
/// What a function takes by itself for an event, rounded up: Lambda's bill knows no
/// less (section "Cold start" of BENCHMARKS.md has the figure).
const OWN_SECONDS: f64 = 0.001;
/// Memory of the functions in `template.yaml`, in GB.
const CALLER_GB: f64 = 0.25;
const AGENT_GB: f64 = 0.5;
/// An HTTP API's request is metered in such pieces.
const API_PIECE: f64 = 512.0 * 1024.0;
/// Lambda's own two lines about each batch (`platform.start`, `platform.report`),
/// about; the other functions are told to leave theirs out.
const BATCH_LOG_BYTES: f64 = 650.0;

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
    pub(crate) fn of(profile: &Profile, measured: &Measured, prices: &Prices) -> Result<Self, Failure> {
        let lines = lines(profile, measured).into_iter().map(|(what, unit, price, share, count)| {
            let dollars = count * prices.of_million(price)?;
            Ok(Line { what, unit, count, price, share, dollars })
        });
        Ok(Self(lines.collect::<Result<_, Failure>>()?))
    }

    /// Dollars for these shares of a million tasks.
    pub(crate) fn sum(&self, shares: &[Share]) -> f64 {
        self.0.iter().filter(|line| shares.contains(&line.share)).map(|line| line.dollars).sum()
    }
}

/// What no run can do without: one put, one send and two updates of a kilobyte each.
pub(crate) fn limit(prices: &Prices) -> Result<f64, Failure> {
    Ok(3.0 * prices.of_million("dynamodb_write")? + prices.of_million("sqs_request")?)
}

type Counted = (&'static str, &'static str, &'static str, Share, f64);

fn lines(profile: &Profile, measured: &Measured) -> Vec<Counted> {
    use Share::{Door, Logs, Model, Polls, Records};
    let counts = &measured.counts;
    let (batches, polls) = (1.0 / profile.batch as f64, profile.polls as f64);
    let triggers = 1.0 + profile.repeats as f64;
    let pieces = (profile.payload.len() as f64 / API_PIECE).ceil();
    let of = |function: &'static str| move |name: &str| name.starts_with(function);
    let calls_of_sqs = calls_of_sqs(counts);
    vec![
        ("trigger, through the HTTP API", "request", "api_request", Door, triggers * pieces),
        ("trigger, Lambda", "request", "lambda_request", Records, triggers),
        ("trigger, Lambda's time", "GB-s", "lambda_gb_second", Records, CALLER_GB * busy(counts, "webhook", triggers)),
        ("agent read anew, trigger", "RRU", "dynamodb_read", Records, counts.sum(|of| of.read_units, of("webhook"))),
        ("task put", "WRU", "dynamodb_write", Records, counts.sum(|of| of.write_units, of("webhook"))),
        ("put, copied to the index", "WRU", "dynamodb_write", Records, counts.sum(|of| of.index_units, of("webhook"))),
        ("id sent, and what else is asked of SQS", "request", "sqs_request", Records, calls_of_sqs),
        ("received and deleted by the batch", "request", "sqs_request", Records, 2.0 * batches),
        ("fair queue, on top of these", "request", "sqs_fair", Records, calls_of_sqs + 2.0 * batches),
        ("run, Lambda", "request", "lambda_request", Records, batches),
        ("run, Lambda's time without the model", "GB-s", "lambda_gb_second", Records,
            AGENT_GB * busy(counts, "agent", 1.0) * batches),
        ("agent and payload read, run", "RRU", "dynamodb_read", Records, counts.sum(|of| of.read_units, of("agent"))),
        ("claim and end", "WRU", "dynamodb_write", Records, counts.sum(|of| of.write_units, of("agent"))),
        ("end, copied to the index", "WRU", "dynamodb_write", Records, counts.sum(|of| of.index_units, of("agent"))),
        ("waiting for the model", "GB-s", "lambda_gb_second", Model,
            AGENT_GB * profile.model_takes.as_secs_f64() * batches),
        ("polls, through the HTTP API", "request", "api_request", Polls, polls),
        ("polls, Lambda", "request", "lambda_request", Polls, polls),
        ("polls, Lambda's time", "GB-s", "lambda_gb_second", Polls, CALLER_GB * busy(counts, "task-status", polls)),
        ("polls, task read", "RRU", "dynamodb_read", Polls, counts.sum(|of| of.read_units, of("task-status"))),
        ("log lines", "GB", "log_gigabyte", Logs, (measured.log_bytes + BATCH_LOG_BYTES * batches) / 1e9),
    ]
}

/// Seconds that a function is at work for one task: its calls one after the other,
/// and its own for each of `events`.
fn busy(counts: &Counts, function: &str, events: f64) -> f64 {
    let sqs = ["SendMessage", "ChangeMessageVisibility"].map(|call| format!("{function} {call}"));
    let sqs_calls: f64 = sqs.iter().map(|name| counts.calls(name)).sum();
    let log_lines = counts.calls(&format!("{function} log line"));
    let all = counts.sum(|of| of.calls, |name| name.starts_with(function));
    SQS_SECONDS * sqs_calls + DYNAMODB_SECONDS * (all - sqs_calls - log_lines) + OWN_SECONDS * events
}

fn calls_of_sqs(counts: &Counts) -> f64 {
    counts.sum(|of| of.calls, |name| name.ends_with("SendMessage") || name.ends_with("ChangeMessageVisibility"))
}
