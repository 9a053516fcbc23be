//! Cold starts and warm calls of the functions, beside the least that a Lambda can do:
//! each binary under a runtime API of ours (`lambda.rs`), against a DynamoDB and an SQS
//! that answer over TLS at once (`aws.rs`). So the figures are what the binaries add to
//! what Lambda, the network and the services take.

mod aws;
mod records;
mod report;
mod subjects;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Moment;

use crate::Failure;
use crate::lambda::Function;
use crate::report::Section;
use crate::summary::Samples;
use aws::Aws;
use records::Records;
use subjects::Subject;

/// Of each binary, in turns, so that a machine that slows down slows all of them.
const COLD_STARTS: usize = 40;
/// After each cold start, and after one call more that is not counted.
const WARM_CALLS: usize = 10;

/// What was seen of one binary.
#[derive(Default)]
struct Seen {
    /// From the spawn, in milliseconds.
    asked: Samples,
    answered: Samples,
    /// Used until then, in milliseconds.
    cpu_asked: Samples,
    cpu_answered: Samples,
    peak_mb: Samples,
    page_faults: Samples,
    /// Of a warm call, in microseconds.
    warm: Samples,
    warm_cpu: Samples,
}

pub(crate) fn measure(binaries: &Path) -> Result<Section, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let records = Records::new(Moment::from_millis(u64::try_from(now.as_millis())?))?;
    let folder = tempfile::tempdir()?;
    let drawn = subjects::Drawn::of(&records);
    let aws = Aws::start(records, folder.path())?;
    let mut subjects: Vec<(Subject, Seen)> = subjects::all(&aws, &drawn)
        .into_iter()
        .map(|subject| (subject, Seen::default()))
        .collect();
    for _ in 0..COLD_STARTS {
        for (subject, seen) in &mut subjects {
            seen.start(&binaries.join(subject.binary), subject)
                .map_err(|error| format!("{}: {error}", subject.binary))?;
        }
    }
    Ok(Section {
        name: "cold",
        text: report::tables(binaries, &subjects)?,
    })
}

impl Seen {
    fn start(&mut self, binary: &Path, subject: &Subject) -> Result<(), Failure> {
        let environment = subject
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let mut function = Function::spawn(binary, environment)?;
        function.ready()?;
        let asked = function.spawned.elapsed();
        self.asked.push(millis(asked));
        self.cpu_asked.push(millis(function.usage()?.cpu));
        let answer = function.invoke(&subject.event)?;
        // Without the time in which it was looked at.
        self.answered.push(millis(asked + answer.took));
        let used = function.usage()?;
        self.cpu_answered.push(millis(used.cpu));
        self.page_faults.push(count(used.page_faults));
        (subject.check)(&answer.body)?;
        function.accept()?;
        self.warm_up(&mut function, subject)?;
        self.peak_mb.push(count(function.usage()?.peak_bytes) / 1e6);
        Ok(())
    }

    fn warm_up(&mut self, function: &mut Function, subject: &Subject) -> Result<(), Failure> {
        function.invoke(&subject.event)?;
        function.accept()?;
        for _ in 0..WARM_CALLS {
            function.ready()?;
            let before = function.usage()?.cpu;
            let answer = function.invoke(&subject.event)?;
            (subject.check)(&answer.body)?;
            function.accept()?;
            function.ready()?;
            self.warm.push(millis(answer.took) * 1e3);
            self.warm_cpu
                .push(millis(function.usage()?.cpu - before) * 1e3);
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of memory and page faults are few"
)]
fn count(number: u64) -> f64 {
    number as f64
}
