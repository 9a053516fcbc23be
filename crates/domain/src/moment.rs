//! Points in time.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

/// A point in time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, the unit of DynamoDB's TTL attribute.
    /// Rounded up, so that no item is deleted before it has expired.
    pub const fn ttl_seconds(self) -> u64 {
        self.0.div_ceil(1000)
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The time from `earlier` to this moment. Zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds: `2026-01-01T00:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanos = i128::from(self.0).saturating_mul(1_000_000);
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|instant| instant.format(&format).ok())
            .unwrap_or_else(|| self.0.to_string())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_formatted_as_rfc3339_in_utc_with_milliseconds() {
        assert_eq!(Moment::from_millis(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Moment::from_millis(1_767_225_600_042).rfc3339(),
            "2026-01-01T00:00:00.042Z"
        );
    }

    #[test]
    fn a_ttl_is_never_earlier_than_its_moment() {
        assert_eq!(Moment::from_millis(1001).ttl_seconds(), 2);
        assert_eq!(Moment::from_millis(2000).ttl_seconds(), 2);
    }
}
