//! Checks the model in every scenario, and each rule's absence.

use std::process::ExitCode;

use clap::Parser;
use protocol::{Bounds, Config, Rule, Scenario, Verdict, check};

/// Visits every state of the protocol's model within its bounds, then leaves out
/// one rule of the protocol at a time
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bounds: Wider,
    /// Leave the rules alone: the protocol as it is, nothing else
    #[arg(long)]
    as_built: bool,
}

/// Bounds in place of the default ones.
#[derive(clap::Args)]
struct Wider {
    /// Requests with the one idempotency key, retries of the caller included
    #[arg(long)]
    triggers: Option<u8>,
    /// Messages that can be taken at once
    #[arg(long)]
    runners: Option<u8>,
    /// Claims a task may have
    #[arg(long)]
    attempts: Option<u32>,
    /// Receives before a message is a dead letter
    #[arg(long)]
    receives: Option<u8>,
    /// Messages that the queue duplicates
    #[arg(long)]
    duplicates: Option<u8>,
    /// Times that 24 hours pass
    #[arg(long)]
    days: Option<u8>,
    /// Times that the one process dies or is stopped
    #[arg(long)]
    restarts: Option<u8>,
    /// Times that a model wants tools called
    #[arg(long)]
    turns: Option<u8>,
}

impl Wider {
    fn instead_of(&self, bounds: Bounds) -> Bounds {
        Bounds {
            triggers: self.triggers.unwrap_or(bounds.triggers),
            runners: self.runners.unwrap_or(bounds.runners),
            attempts: self.attempts.unwrap_or(bounds.attempts),
            receives: self.receives.unwrap_or(bounds.receives),
            duplicates: self.duplicates.unwrap_or(bounds.duplicates),
            days: self.days.unwrap_or(bounds.days),
            restarts: self.restarts.unwrap_or(bounds.restarts),
            turns: self.turns.unwrap_or(bounds.turns),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    print("model                                states  depth   time  verdict\n");
    let as_built = Scenario::CHECKED.map(|(scenario, bounds)| {
        let config = Config::correct(scenario, args.bounds.instead_of(bounds));
        let verdict = check(config);
        row(&config, &verdict);
        verdict.holds()
    });
    let all_hold = as_built.into_iter().all(|holds| holds);
    if all_hold && (args.as_built || all_missed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether each rule of the protocol is needed; how, is told at the end.
fn all_missed() -> bool {
    let mut told = String::new();
    let mut all = true;
    for (rule, scenario) in Rule::ALL {
        let config = Config::without(rule, scenario, rule.bounds(scenario));
        let verdict = check(config);
        row(&config, &verdict);
        match verdict.counterexample {
            Some((property, trace)) => told += &format!("\n{config}: not \"{property}\"\n{trace}"),
            None => all = false,
        }
    }
    print(&told);
    all
}

fn row(config: &Config, verdict: &Verdict) {
    let said = match (&verdict.counterexample, config.without) {
        (Some((property, trace)), None) => format!("FAILED: not \"{property}\"\n{trace}"),
        (Some((property, _)), Some(_)) => format!("missed: not \"{property}\""),
        (None, Some(_)) => "FAILED: not missed".to_owned(),
        (None, None) if verdict.holds() => format!("holds within {}", config.bounds),
        (None, None) => format!("FAILED: never occurs: {}", verdict.missing.join("; ")),
    };
    let (states, depth, took) = (verdict.states, verdict.depth, verdict.took.as_secs_f32());
    print(&format!("{config:<34} {states:>8} {depth:>6} {took:>5.1}s  {said}\n"));
}

#[expect(clippy::print_stdout, reason = "the report is what this command is for")]
fn print(text: &str) {
    print!("{text}");
}
