//! Time windows and their intervals.

use crate::Moment;

const MAX_BUCKETS: u64 = 96;
/// Lengths of an interval, in seconds. All are round numbers of minutes or hours.
const BUCKET_SECONDS: [u64; 9] = [60, 300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/// A time window, divided into intervals that begin at round times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Moment,
    pub to: Moment,
    pub bucket_seconds: u64,
}

impl Window {
    pub fn new(from: Moment, to: Moment) -> Self {
        let seconds = to.since(from).as_secs();
        // One interval more, because the first begins before the window.
        let fits = |length: &u64| seconds.div_ceil(*length) < MAX_BUCKETS;
        let bucket_seconds = BUCKET_SECONDS.into_iter().find(fits);
        Self {
            from,
            to,
            bucket_seconds: bucket_seconds.unwrap_or_else(|| seconds.div_ceil(MAX_BUCKETS - 1)),
        }
    }

    fn number_of(self, at: Moment) -> u64 {
        at.millis() / 1000 / self.bucket_seconds
    }

    /// The starts of the intervals.
    pub(super) fn buckets(self) -> impl Iterator<Item = Moment> {
        let numbers = self.number_of(self.from)..=self.number_of(self.to);
        numbers.map(move |number| Moment::from_millis(number * self.bucket_seconds * 1000))
    }

    pub(super) fn index(self, at: Moment) -> usize {
        // The clock of the process that created the task may be ahead.
        let number = self
            .number_of(at.min(self.to))
            .saturating_sub(self.number_of(self.from));
        usize::try_from(number).unwrap_or(usize::MAX)
    }
}
