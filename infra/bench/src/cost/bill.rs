//! From counts to dollars for a million tasks.

use super::counts::{Count, Counts, LOG_LINE};
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
        let counts = &measured.counts;
        let counted = [
            of_trigger(profile, counts),
            of_queue_and_run(profile, counts),
            of_polls(profile, counts),
            of_logs(profile, measured),
        ];
        let lines = counted.into_iter().flatten().map(|(what, (unit, price), share, count)| {
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
    let time = CALLER_GB * busy(counts, "webhook", triggers);
    let units = |figure: fn(&Count) -> f64| counts.sum(figure, |name| name.starts_with("webhook"));
    vec![
        ("trigger, through the HTTP API", API, Share::Door, triggers * pieces),
        ("trigger, Lambda", LAMBDA, Share::Records, triggers),
        ("trigger, Lambda's time", TIME, Share::Records, time),
        ("agent read anew, trigger", READ, Share::Records, units(|of| of.read_units)),
        ("task put", WRITE, Share::Records, units(|of| of.write_units)),
        ("put, copied to the index", WRITE, Share::Records, units(|of| of.index_units)),
    ]
}

fn of_queue_and_run(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let batches = 1.0 / profile.batch as f64;
    // What is sent and deferred by calls of ours, and received and deleted by Lambda.
    let (called, polled) = (calls_of_sqs(counts, ""), 2.0 * batches);
    let time = AGENT_GB * busy(counts, "agent", 1.0) * batches;
    let waiting = AGENT_GB * profile.model_takes.as_secs_f64() * batches;
    let units = |figure: fn(&Count) -> f64| counts.sum(figure, |name| name.starts_with("agent"));
    vec![
        ("id sent", SQS, Share::Records, called),
        ("received and deleted in batches", SQS, Share::Records, polled),
        ("fair queue, on top of these", FAIR, Share::Records, called + polled),
        ("run, Lambda", LAMBDA, Share::Records, batches),
        ("run, Lambda's time without the model", TIME, Share::Records, time),
        ("agent and payload read, run", READ, Share::Records, units(|of| of.read_units)),
        ("claim and end", WRITE, Share::Records, units(|of| of.write_units)),
        ("end, copied to the index", WRITE, Share::Records, units(|of| of.index_units)),
        ("waiting for the model", TIME, Share::Model, waiting),
    ]
}

fn of_polls(profile: &Profile, counts: &Counts) -> Vec<Counted> {
    let polls = profile.polls as f64;
    let time = CALLER_GB * busy(counts, "task-status", polls);
    let reads = counts.sum(|of| of.read_units, |name| name.starts_with("task-status"));
    vec![
        ("polls, through the HTTP API", API, Share::Polls, polls),
        ("polls, Lambda", LAMBDA, Share::Polls, polls),
        ("polls, Lambda's time", TIME, Share::Polls, time),
        ("polls, task read", READ, Share::Polls, reads),
    ]
}

fn of_logs(profile: &Profile, measured: &Measured) -> Vec<Counted> {
    let bytes = measured.log_bytes + BATCH_LOG_BYTES / profile.batch as f64;
    vec![("log lines", LOG, Share::Logs, bytes / 1e9)]
}

/// Seconds that a function is at work for one task: its calls one after the other,
/// and its own for each of `events`.
fn busy(counts: &Counts, function: &str, events: f64) -> f64 {
    let sqs = calls_of_sqs(counts, function);
    let all = counts.sum(|of| of.calls, |name| name.starts_with(function) && !name.ends_with(LOG_LINE));
    SQS_SECONDS * sqs + DYNAMODB_SECONDS * (all - sqs) + OWN_SECONDS * events
}

fn calls_of_sqs(counts: &Counts, function: &str) -> f64 {
    let is_sqs =
        |name: &str| ["SendMessage", "ChangeMessageVisibility"].iter().any(|call| name.ends_with(call));
    counts.sum(|of| of.calls, |name| name.starts_with(function) && is_sqs(name))
}
