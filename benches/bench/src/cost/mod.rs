//! What a million tasks cost on AWS: calls and capacity units counted from the real
//! binaries, at list prices.
//!
//! Reading order: `profile` says what tasks are like, `stack` runs them on the AWS of
//! `aws`, `counts` keeps what was called, `bill` multiplies it with `prices`, `tables`
//! prints it.

mod aws;
mod bill;
mod counts;
mod idle;
mod model;
mod prices;
mod profile;
mod stack;
mod tables;

use std::path::{Path, PathBuf};

use bill::{Bill, Share};
use clap::Args;
use counts::{Counts, Snapshot};
use prices::Prices;
use profile::Profile;
use stack::Stack;

use crate::Failure;
use crate::report::Section;

/// Dollars that the records of a million small tasks may cost: trigger, queue, run
/// and result, without the HTTP API, log lines and the model's time.
const GOAL: f64 = 3.60;

/// `bench cost`.
#[derive(Args)]
pub(crate) struct Cost {
    /// Compare the counts with these instead of writing the report; wrong ones are an error.
    #[arg(long, value_name = "FILE", conflicts_with = "accept")]
    check: Option<PathBuf>,
    /// Write the counts into this file instead of writing the report.
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,
}

/// Tasks of a profile, counted and priced.
struct Priced {
    profile: Profile,
    counts: Counts,
    bill: Bill,
}

impl Cost {
    /// The report's section, unless counts are checked or accepted.
    pub(crate) fn run(&self, binaries: &Path) -> Result<Option<Section>, Failure> {
        let prices = Prices::listed()?;
        let priced = priced(binaries, &prices)?;
        let counted = priced
            .iter()
            .map(|of| (of.profile.name.to_owned(), of.counts.clone()))
            .collect();
        if let Some(file) = &self.accept {
            counts::write(file, &counted)?;
            return Ok(None);
        }
        if let Some(file) = &self.check {
            check(&counts::read(file)?, &counted, file)?;
            goal(&priced)?;
            return Ok(None);
        }
        Ok(Some(Section {
            name: "cost",
            text: tables::render(&priced, &prices)?,
        }))
    }
}

fn priced(binaries: &Path, prices: &Prices) -> Result<Vec<Priced>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut stack = Stack::start(&runtime, binaries)?;
    let mut priced = Vec::new();
    for profile in profile::all() {
        let counts = stack.measure(&profile)?;
        let bill = Bill::of(&profile, &counts, prices)?;
        priced.push(Priced {
            profile,
            counts,
            bill,
        });
    }
    Ok(priced)
}

fn check(committed: &Snapshot, counted: &Snapshot, file: &Path) -> Result<(), Failure> {
    let differences = counts::differences(committed, counted);
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("\n  ");
    Err(format!(
        "for one task the binaries do not call and log what {} says:\n  {differences}\n\
         If that is meant, write the new counts down with --accept, and the costs with benches/bench/run cost.",
        file.display()
    )
    .into())
}

fn goal(priced: &[Priced]) -> Result<(), Failure> {
    let small = priced.first().ok_or("there is no profile")?;
    let dollars = small.bill.sum(&[Share::Records]);
    println!("a million small tasks: ${dollars:.2} for their records, ${GOAL:.2} allowed");
    if dollars > GOAL {
        Err("that is more than allowed".into())
    } else {
        Ok(())
    }
}
