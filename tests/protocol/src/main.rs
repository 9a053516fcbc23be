//! Checks the model in all scenarios, and without each rule.

use std::process::ExitCode;

use clap::Parser;
use protocol::{Bounds, Config, Rule, Scenario, Verdict, check};

/// Visits all states of the protocol's model within the bounds, then leaves out one rule of
/// the protocol at a time
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bounds: BoundArgs,
    /// Check only the protocol as built, without leaving out rules
    #[arg(long)]
    as_built: bool,
}

#[derive(clap::Args)]
struct BoundArgs {
    /// Number of triggers with the idempotency key, including the caller's retries
    #[arg(long)]
    triggers: Option<u8>,
    /// Number of runners, each with one message at a time
    #[arg(long)]
    runners: Option<u8>,
    /// Maximum number of claims of a task
    #[arg(long)]
    attempts: Option<u32>,
    /// Number of receives before a message becomes a dead letter
    #[arg(long)]
    receives: Option<u8>,
    /// Number of messages that the queue duplicates
    #[arg(long)]
    duplicates: Option<u8>,
    /// How often 24 hours pass
    #[arg(long)]
    days: Option<u8>,
    /// How often the local server dies or is stopped
    #[arg(long)]
    restarts: Option<u8>,
    /// How often the model calls tools
    #[arg(long)]
    turns: Option<u8>,
}

impl BoundArgs {
    fn override_bounds(&self, bounds: Bounds) -> Bounds {
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
    print("model                                states  depth   time  result\n");
    let as_built = Scenario::CHECKED.map(|(scenario, bounds)| {
        let config = Config::correct(scenario, args.bounds.override_bounds(bounds));
        let verdict = check(config);
        print_row(&config, &verdict);
        verdict.holds()
    });
    let all_hold = as_built.into_iter().all(|holds| holds);
    if all_hold && (args.as_built || all_rules_are_needed()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the counterexamples after the table.
fn all_rules_are_needed() -> bool {
    let mut traces = String::new();
    let mut all = true;
    for (rule, scenario) in Rule::ALL {
        let config = Config::without(rule, scenario, rule.bounds(scenario));
        let verdict = check(config);
        print_row(&config, &verdict);
        match verdict.counterexample {
            Some((property, trace)) => {
                traces += &format!("\n{config}: not \"{property}\"\n{trace}")
            }
            None => all = false,
        }
    }
    print(&traces);
    all
}

fn print_row(config: &Config, verdict: &Verdict) {
    let result = match (&verdict.counterexample, config.without) {
        (Some((property, trace)), None) => format!("FAILED: not \"{property}\"\n{trace}"),
        (Some((property, _)), Some(_)) => format!("needed: without it, not \"{property}\""),
        (None, Some(_)) => "FAILED: no counterexample".to_owned(),
        (None, None) if verdict.holds() => format!("holds within {}", config.bounds),
        (None, None) => format!("FAILED: never occurs: {}", verdict.missing.join("; ")),
    };
    let (states, depth, took) = (verdict.states, verdict.depth, verdict.took.as_secs_f32());
    print(&format!(
        "{config:<34} {states:>8} {depth:>6} {took:>5.1}s  {result}\n"
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "the report is what this command is for"
)]
fn print(text: &str) {
    print!("{text}");
}
