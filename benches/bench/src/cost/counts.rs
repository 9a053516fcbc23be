//! What tasks ask of AWS, counted, and compared with what was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// One kind of call: how often it is made for a task, and what it consumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Count {
    pub(crate) calls: f64,
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) write_units: f64,
    /// Written to indexes.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) index_units: f64,
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) read_units: f64,
    /// Of a line logged.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) bytes: f64,
}

/// In place of a call: a line that a function logs, its message after it.
const LOG_LINE: &str = "log line:";

/// By how much of themselves lines may differ: times and ids in them are not as long
/// in every run.
const BYTES_MAY_DIFFER: f64 = 0.05;

/// By function and call, such as `webhook PutItem`; of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts(BTreeMap<String, Count>);

/// By profile.
pub(crate) type Snapshot = BTreeMap<String, Counts>;

fn is_none(units: &f64) -> bool {
    *units == 0.0
}

impl Count {
    /// A call that consumes no capacity.
    pub(crate) const ONE: Self = Self {
        calls: 1.0,
        write_units: 0.0,
        index_units: 0.0,
        read_units: 0.0,
        bytes: 0.0,
    };

    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            write_units: self.write_units + other.write_units,
            index_units: self.index_units + other.index_units,
            read_units: self.read_units + other.read_units,
            bytes: self.bytes + other.bytes,
        }
    }

    fn over(self, tasks: f64) -> Self {
        Self {
            calls: self.calls / tasks,
            write_units: self.write_units / tasks,
            index_units: self.index_units / tasks,
            read_units: self.read_units / tasks,
            bytes: (self.bytes / tasks).round(),
        }
    }

    /// But for the bytes that lines may differ by.
    fn is_as(self, committed: Self) -> bool {
        let apart = (self.bytes - committed.bytes).abs();
        Self {
            bytes: committed.bytes,
            ..self
        } == committed
            && apart <= BYTES_MAY_DIFFER * committed.bytes
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.calls)?;
        let figures = [
            (self.write_units, "WRU"),
            (self.index_units, "WRU of the index"),
            (self.read_units, "RRU"),
            (self.bytes, "bytes"),
        ];
        figures
            .iter()
            .filter(|(figure, _)| *figure > 0.0)
            .try_for_each(|(figure, name)| write!(f, ", {figure} {name}"))
    }
}

impl Counts {
    pub(crate) fn add(&mut self, function: &str, call: &str, count: Count) {
        let sum = self.0.entry(format!("{function} {call}")).or_default();
        *sum = sum.plus(count);
    }

    pub(crate) fn add_line(&mut self, function: &str, message: &str, bytes: usize) {
        let line = Count {
            bytes: bytes as f64,
            ..Count::ONE
        };
        self.add(function, &format!("{LOG_LINE} {message}"), line);
    }

    /// Of one task, if these are of several.
    pub(crate) fn over(self, tasks: f64) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|(name, count)| (name, count.over(tasks)))
                .collect(),
        )
    }

    /// The sum of a figure over the lines that are logged.
    pub(crate) fn sum_of_lines(&self, figure: impl Fn(&Count) -> f64) -> f64 {
        self.sum_of_all(figure, |name| name.contains(LOG_LINE))
    }

    /// The sum of a figure over the calls of these names.
    pub(crate) fn sum(&self, figure: impl Fn(&Count) -> f64, of: impl Fn(&str) -> bool) -> f64 {
        self.sum_of_all(figure, |name| of(name) && !name.contains(LOG_LINE))
    }

    fn sum_of_all(&self, figure: impl Fn(&Count) -> f64, of: impl Fn(&str) -> bool) -> f64 {
        // From 0, as the sum of none is -0.
        self.0
            .iter()
            .filter(|(name, _)| of(name))
            .fold(0.0, |sum, (_, count)| sum + figure(count))
    }
}

pub(crate) fn read(path: &Path) -> Result<Snapshot, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

pub(crate) fn write(path: &Path, snapshot: &Snapshot) -> Result<(), Failure> {
    Ok(fs::write(
        path,
        serde_json::to_string_pretty(snapshot)? + "\n",
    )?)
}

/// A line for each count that is not as committed.
pub(crate) fn differences(committed: &Snapshot, counted: &Snapshot) -> Vec<String> {
    let profiles: BTreeSet<&String> = committed.keys().chain(counted.keys()).collect();
    let nothing = Counts::default();
    let mut lines = Vec::new();
    for profile in profiles {
        let (before, now) = (
            committed.get(profile).unwrap_or(&nothing),
            counted.get(profile).unwrap_or(&nothing),
        );
        let names: BTreeSet<&String> = before.0.keys().chain(now.0.keys()).collect();
        for name in names {
            let of = |counts: &Counts| counts.0.get(name).copied().unwrap_or_default();
            let (before, now) = (of(before), of(now));
            if !now.is_as(before) {
                lines.push(format!("{profile}: {name}: was {before}; is {now}"));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_rises_appears_or_goes_is_reported_by_its_name() {
        let counts = |names: &[&str]| {
            let mut counts = Counts::default();
            names.iter().for_each(|name| {
                counts.add(
                    "webhook",
                    name,
                    Count {
                        write_units: 1.0,
                        ..Count::ONE
                    },
                )
            });
            Snapshot::from([("small".to_owned(), counts)])
        };
        let committed = counts(&["PutItem", "SendMessage"]);
        assert!(differences(&committed, &counts(&["PutItem", "SendMessage"])).is_empty());
        assert_eq!(
            differences(&committed, &counts(&["PutItem", "PutItem", "GetItem"])),
            [
                "small: webhook GetItem: was 0 calls; is 1 calls, 1 WRU",
                "small: webhook PutItem: was 1 calls, 1 WRU; is 2 calls, 2 WRU",
                "small: webhook SendMessage: was 1 calls, 1 WRU; is 0 calls",
            ]
        );
    }

    #[test]
    fn a_line_may_be_a_few_bytes_longer_but_not_a_tenth() {
        let line = |bytes| {
            let mut counts = Counts::default();
            counts.add_line("agent", "task ended", bytes);
            Snapshot::from([("small".to_owned(), counts)])
        };
        for bytes in [765, 774, 780] {
            assert!(differences(&line(774), &line(bytes)).is_empty(), "{bytes}");
        }
        assert_eq!(
            differences(&line(774), &line(851)),
            ["small: agent log line: task ended: was 1 calls, 774 bytes; is 1 calls, 851 bytes"]
        );
        assert_eq!(differences(&line(774), &line(697)).len(), 1);
    }
}
