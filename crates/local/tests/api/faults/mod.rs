//! Exhaustive fault injection. Each flow (`flows.rs`) runs once without faults to count
//! its calls to AWS and to the model. Then it runs once for every call and every way in
//! which that call can fail, and for a sample of pairs of such faults. The caller retries
//! and the queue redelivers. At the end, `check.rs` checks the invariants in the tables,
//! the queue, the responses and the runs that the model saw.
//!
//! A call that is added to a flow is covered automatically, because the calls are counted.
//!
//! - `AGENT_WEBHOOKS_FAULTS=all` runs 1,000 pairs of each flow instead of 8.
//! - `AGENT_WEBHOOKS_FAULTS='retry: Ghost(1) at 3'` runs only that case. A failure prints
//!   its case in this form.
//! - `AGENT_WEBHOOKS_FAULTS=retry:` runs that flow with every pair.
//! - `AGENT_WEBHOOKS_FAULTS_SEED` selects other pairs.

mod check;
mod documents;
mod flows;
mod provider;
mod world;

use std::fmt;

use futures::{StreamExt as _, stream};
use tokio::task::JoinError;

use crate::support::plan::{AT_THE_END, Fault, Strike};
use flows::{FLOWS, Flow};
use world::World;

/// Attempts of the SDK for each call. It handles fewer faults in a row by itself.
const SDK_TRIES: usize = 3;
/// Pairs of faults in each flow.
const PAIRS: usize = 8;
/// The same with `AGENT_WEBHOOKS_FAULTS=all`.
const MANY_PAIRS: usize = 1000;
/// Concurrent scenarios that wait for the SDK's timeouts in real time.
const SLOW_AT_ONCE: usize = 48;
/// Other concurrent scenarios. With more of them, calls would time out.
const QUICK_AT_ONCE: usize = 24;
/// The first fault may add calls, so the second may come after the last counted call.
const MORE_CALLS: usize = 4;

/// For calls that change something.
const WRITE_FAULTS: &[(Fault, usize)] = &[
    (Fault::Unreachable, 1),
    (Fault::Failed, SDK_TRIES),
    (Fault::Throttled, 1),
    (Fault::Throttled, SDK_TRIES),
    (Fault::Overloaded, 1),
    (Fault::AnswerLost, 1),
    (Fault::AnswerLost, SDK_TRIES),
    (Fault::Stalled, 1),
    (Fault::Stalled, SDK_TRIES),
    (Fault::Late, 1),
    (Fault::Ghost(1), 1),
    (Fault::Ghost(2), 1),
    (Fault::Ghost(3), SDK_TRIES),
    (Fault::Ghost(AT_THE_END), 1),
    (Fault::DiedBefore, 1),
    (Fault::DiedAfter, 1),
    (Fault::DiedInFlight(1), 1),
    // After the next runner's claim.
    (Fault::DiedInFlight(4), 1),
    (Fault::DiedInFlight(5), 1),
    (Fault::DiedInFlight(AT_THE_END), 1),
];

/// For calls that only read, so that a lost response has no other effect than an error.
const READ_FAULTS: &[(Fault, usize)] = &[
    (Fault::Unreachable, SDK_TRIES),
    (Fault::Failed, 1),
    (Fault::Throttled, SDK_TRIES),
    (Fault::Overloaded, 1),
    (Fault::Stalled, 1),
    (Fault::Stalled, SDK_TRIES),
    (Fault::DiedBefore, 1),
];

/// For calls to a model or a tool, which are tried once.
const MODEL_FAULTS: &[(Fault, usize)] = &[
    (Fault::Unreachable, 1),
    (Fault::Failed, 1),
    (Fault::Throttled, 1),
    (Fault::Overloaded, 1),
    (Fault::AnswerLost, 1),
    (Fault::Stalled, 1),
    (Fault::DiedBefore, 1),
];

struct Scenario {
    flow: &'static Flow,
    strikes: Vec<Strike>,
    /// Whether the model never responds in this scenario.
    impatient: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_invariants_hold_whichever_calls_fail() {
    let wish = std::env::var("AGENT_WEBHOOKS_FAULTS").unwrap_or_default();
    let seed = std::env::var("AGENT_WEBHOOKS_FAULTS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1_u64);
    let (mut scenarios, mut failures, mut explored) = (Vec::new(), Vec::new(), 0);
    for flow in FLOWS.iter() {
        match calls_of(flow).await {
            Ok(calls) => {
                let all = all_of(flow, &calls, &wish, seed);
                println!(
                    "{}: {} cases; {} calls: {}",
                    flow.name,
                    all.len(),
                    calls.len(),
                    calls.join(" ")
                );
                scenarios.extend(all);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let (slow, quick): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(Scenario::waits);
    let slow = stream::iter(slow.into_iter().map(live)).buffer_unordered(SLOW_AT_ONCE);
    let quick = stream::iter(quick.into_iter().map(live)).buffer_unordered(QUICK_AT_ONCE);
    let mut lived = stream::select(slow, quick);
    while let Some(outcome) = lived.next().await {
        match outcome {
            Ok(reached) => explored += usize::from(reached),
            Err(failure) => failures.push(failure),
        }
    }
    println!(
        "{explored} cases explored in {} flows; pairs drawn with seed {seed}",
        FLOWS.len()
    );
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The calls of the flow without faults.
async fn calls_of(flow: &'static Flow) -> Result<Vec<String>, String> {
    let scenario = Scenario {
        flow,
        strikes: Vec::new(),
        impatient: false,
    };
    let name = scenario.to_string();
    let life = tokio::spawn(async move { life(&scenario).await.wire.plan.calls() });
    life.await.map_err(|error| failure_message(&name, error))
}

/// Returns whether all of its faults happened, or an error if it violated an invariant.
async fn live(scenario: Scenario) -> Result<bool, String> {
    let name = scenario.to_string();
    let life = tokio::spawn(async move { life(&scenario).await.wire.plan.was_reached() });
    life.await.map_err(|error| failure_message(&name, error))
}

/// The case and the violated invariant.
fn failure_message(name: &str, error: JoinError) -> String {
    let panic = error.into_panic();
    let message = panic
        .downcast_ref::<String>()
        .map_or("panicked", String::as_str);
    format!(
        "{name}\n    {}",
        message.chars().take(1500).collect::<String>()
    )
}

async fn life(scenario: &Scenario) -> World {
    let flow = scenario.flow;
    let world = World::new(flow, &scenario.strikes, scenario.impatient).await;
    (flow.life)(&world).await;
    world.wire.plan.disarm();
    world.drain().await;
    let ends = world.tasks().await;
    world.wire.arrive().await;
    world.send_again(&ends);
    world.drain().await;
    let later = world.tasks().await;
    check::all(&world, flow, &ends, &later).await;
    world
}

fn all_of(flow: &'static Flow, calls: &[String], wish: &str, seed: u64) -> Vec<Scenario> {
    let strikes: Vec<Strike> = (0..calls.len() + MORE_CALLS)
        .flat_map(|at| {
            let ways = ways_to_fail(calls.get(at).map(String::as_str));
            ways.iter()
                .map(move |&(fault, times)| Strike { fault, at, times })
        })
        .collect();
    let single = strikes
        .iter()
        .filter(|strike| strike.at < calls.len())
        .map(|strike| vec![*strike]);
    let pairs = match wish {
        "" => some_pairs(PAIRS, &strikes, flow, seed),
        "all" => some_pairs(MANY_PAIRS, &strikes, flow, seed),
        _ => every_pair(&strikes),
    };
    let wished = |scenario: &Scenario| {
        let name = scenario.to_string();
        matches!(wish, "" | "all") || name == wish || wish.ends_with(':') && name.starts_with(wish)
    };
    single
        .chain(pairs)
        .map(|strikes| scenario(flow, calls, strikes))
        .filter(wished)
        .collect()
}

fn scenario(flow: &'static Flow, calls: &[String], strikes: Vec<Strike>) -> Scenario {
    let stalls_a_model = |strike: &Strike| {
        strike.stalls() && calls.get(strike.at).is_some_and(|call| call == "model")
    };
    let impatient = strikes.iter().any(stalls_a_model);
    Scenario {
        flow,
        strikes,
        impatient,
    }
}

fn ways_to_fail(call: Option<&str>) -> &'static [(Fault, usize)] {
    match call {
        Some("model" | "tool") => MODEL_FAULTS,
        Some(call) if call.starts_with("Get") => READ_FAULTS,
        Some("Scan" | "Query" | "BatchGetItem") => READ_FAULTS,
        _ => WRITE_FAULTS,
    }
}

fn every_pair(strikes: &[Strike]) -> Vec<Vec<Strike>> {
    let mut pairs = Vec::new();
    for first in strikes {
        pairs.extend(
            strikes
                .iter()
                .filter(|second| first.at < second.at)
                .map(|second| vec![*first, *second]),
        );
    }
    pairs
}

/// A sample of the pairs, the same for the same seed.
fn some_pairs(number: usize, strikes: &[Strike], flow: &Flow, seed: u64) -> Vec<Vec<Strike>> {
    let mut state = flow.name.bytes().fold(seed | 1, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        strikes[usize::try_from(state % strikes.len() as u64).unwrap()]
    };
    let mut pairs = Vec::new();
    while pairs.len() < number {
        let (first, second) = (draw(), draw());
        if first.at < second.at {
            pairs.push(vec![first, second]);
        }
    }
    pairs
}

impl Scenario {
    fn waits(&self) -> bool {
        self.strikes.iter().any(Strike::stalls)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.flow.name)?;
        for (index, strike) in self.strikes.iter().enumerate() {
            let and = if index > 0 { " and" } else { "" };
            write!(f, "{and} {:?} at {}", strike.fault, strike.at)?;
            if strike.times > 1 {
                write!(f, " x{}", strike.times)?;
            }
        }
        Ok(())
    }
}
