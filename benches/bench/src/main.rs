//! `benches/bench/run`: measures the product beside its limits and writes the figures
//! into docs/contributing/benchmarks.md.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints what it measured"
)]

mod cold;
mod cost;
mod cpu;
mod http;
mod lambda;
mod local;
mod machine;
mod report;
mod scale;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::{Report, Section};

/// Measures the product beside its limits and writes the figures into a report.
#[derive(Parser)]
struct Arguments {
    /// The report; its sections are replaced between their markers.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "docs/contributing/benchmarks.md"
    )]
    report: PathBuf,
    /// Where the release binaries are.
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    binaries: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Dollars of a million tasks, by the counted calls of the binaries.
    Cost(cost::Cost),
    /// Cold starts and warm calls of the functions.
    Cold,
    /// The local server beside its disk and its database engine.
    Local,
    /// The local server beside few stored tasks and very many.
    Scale,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let report = Report::open(&arguments.report)?;
    // Before the load that is measured.
    let machine = machine::described();
    let mut section: Section = match arguments.what {
        What::Cost(ref cost) => match cost.run(&arguments.binaries)? {
            Some(section) => section,
            None => return Ok(()),
        },
        What::Cold => cold::measure(&arguments.binaries)?,
        What::Local => local::measure(&arguments.binaries)?,
        What::Scale => scale::measure(&arguments.binaries)?,
    };
    section.text.insert_str(0, &format!("{}\n\n", machine?));
    report.put(&section)
}
