//! The figures as tables.

use std::fs;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::subjects::Subject;
use super::{COLD_STARTS, Seen};
use crate::Failure;
use crate::report::Table;
use crate::summary::Samples;

pub(super) fn tables(binaries: &Path, subjects: &[(Subject, Seen)]) -> Result<String, Failure> {
    Ok(format!(
        "{COLD_STARTS} cold starts of each binary, in turns; median and, after the comma, p90. \
         CPU is that of the process, with threads that have ended.\n\n{}\n\
         {} warm calls of each, and the packages (MB are millions of bytes):\n\n{}\n{}",
        cold(subjects).into_text(),
        subjects.first().map_or(0, |(_, seen)| seen.warm.len()),
        warm(binaries, subjects)?.into_text(),
        own_cpu(subjects),
    ))
}

fn cold(subjects: &[(Subject, Seen)]) -> Table {
    let mut table = Table::new(&[
        "cold",
        "spawn to asking for work, ms",
        "spawn to first answer, ms",
        "× hello world",
        "× its limit",
        "CPU until asking, ms",
        "CPU until the answer, ms",
        "page faults",
        "peak memory by the twelfth call, MB",
    ]);
    let hello = answered(subjects, "limit-hello");
    for (subject, seen) in subjects {
        let median = seen.answered.median();
        let limit = subject
            .limit
            .map(|limit| median / answered(subjects, limit));
        table.row(&[
            format!("{} ({})", subject.binary, subject.what),
            both(&seen.asked, 1),
            both(&seen.answered, 1),
            format!("{:.2}", median / hello),
            limit.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            both(&seen.cpu_asked, 1),
            both(&seen.cpu_answered, 1),
            format!("{:.0}", seen.page_faults.median()),
            format!("{:.1}", seen.peak_mb.median()),
        ]);
    }
    table
}

fn warm(binaries: &Path, subjects: &[(Subject, Seen)]) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "warm",
        "answer: median, p90, p99, µs",
        "CPU of a call, µs",
        "binary, MB",
        "zipped, MB",
    ]);
    for (subject, seen) in subjects {
        let binary = fs::read(binaries.join(subject.binary))?;
        table.row(&[
            subject.binary.to_owned(),
            format!("{}, {:.0}", both(&seen.warm, 0), seen.warm.p99()),
            both(&seen.warm_cpu, 0),
            megabytes(binary.len()),
            megabytes(zipped(&binary)?),
        ]);
    }
    Ok(table)
}

/// What a function does beyond the calls that its limit does too.
fn own_cpu(subjects: &[(Subject, Seen)]) -> String {
    let pairs = subjects.iter().filter_map(|(subject, seen)| {
        let (_, limit) = find(subjects, subject.limit?)?;
        let own = seen.warm_cpu.median() - limit.warm_cpu.median();
        Some(format!(
            "Beyond its bare calls {} uses {own:.0} µs of CPU a call.",
            subject.what
        ))
    });
    pairs.collect::<Vec<_>>().join(" ")
}

fn find<'a>(subjects: &'a [(Subject, Seen)], binary: &str) -> Option<&'a (Subject, Seen)> {
    subjects
        .iter()
        .find(|(subject, _)| subject.binary == binary)
}

fn answered(subjects: &[(Subject, Seen)], binary: &str) -> f64 {
    find(subjects, binary).map_or(f64::NAN, |(_, seen)| seen.answered.median())
}

fn both(samples: &Samples, digits: usize) -> String {
    format!("{:.digits$}, {:.digits$}", samples.median(), samples.p90())
}

#[expect(clippy::cast_precision_loss, reason = "files are not that large")]
fn megabytes(bytes: usize) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

/// As the package that is uploaded holds it.
fn zipped(binary: &[u8]) -> Result<usize, Failure> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(9));
    std::io::Write::write_all(&mut encoder, binary)?;
    Ok(encoder.finish()?.len())
}
