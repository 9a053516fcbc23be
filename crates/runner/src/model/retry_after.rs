//! How long a provider asks to wait.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The limits that OpenAI, Azure and Groq report, each with what remains of it and when it is
/// reset.
const LIMITS: [(&str, &str); 2] = [
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// `retry-after-ms` (OpenAI, Azure), `Retry-After`, or the reset of the limit that is used up.
pub(crate) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let header = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = header("retry-after-ms").and_then(|text| seconds(text, 0.001));
    let retry_after = || {
        let text = header(RETRY_AFTER.as_str())?;
        // A proxy may have joined two headers.
        let first = text.split(',').next().unwrap_or(text);
        seconds(first.trim(), 1.0).or_else(|| until(text, header(DATE.as_str())))
    };
    let reset = || {
        let used_up = LIMITS
            .iter()
            .filter(|(remaining, _)| header(remaining) == Some("0"));
        used_up
            .filter_map(|(_, reset)| parse_duration(header(reset)?))
            .max()
    };
    milliseconds.or_else(retry_after).or_else(|| {
        (status == StatusCode::TOO_MANY_REQUESTS)
            .then(reset)
            .flatten()
    })
}

/// A number of seconds, or of another unit. A negative one means zero.
fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let number: f64 = text.parse().ok().filter(|_| is_number)?;
    match number > 0.0 {
        true => Some(Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX)),
        false => Some(Duration::ZERO),
    }
}

/// The time until a date (RFC 9110 section 5.6.7), by the clock of the server if it reports its
/// time. A date in the past means zero.
fn until(date: &str, now: Option<&str>) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let now = now.and_then(|now| httpdate::parse_http_date(now).ok());
    let wait = date.duration_since(now.unwrap_or_else(SystemTime::now));
    Some(wait.unwrap_or_default())
}

/// A duration such as `6m0s`, `7.66s`, `120ms` or `36s`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after
            .find(|next: char| !next.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let unit = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total = total.saturating_add(seconds(number, unit)?);
        rest = after;
    }
    (!text.trim().is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn pause(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        retry_after(StatusCode::TOO_MANY_REQUESTS, &headers.collect())
    }

    #[test]
    fn all_forms_of_retry_after_are_understood() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (value, milliseconds) in [
            ("4", 4000),
            (" 4 ", 4000),
            ("4, 4", 4000),
            ("3.5", 3500),
            ("0", 0),
            ("-1", 0),
            ("Sun, 06 Nov 1994 08:50:02 GMT", 25_000),
            ("Sunday, 06-Nov-94 08:50:02 GMT", 25_000),
            ("Sun Nov  6 08:50:02 1994", 25_000),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ] {
            let found = pause(&[("retry-after", value), ("date", now)]);
            assert_eq!(found, Some(Duration::from_millis(milliseconds)), "{value}");
        }
        for value in ["", "soon", "inf", "NaN", "1s", "06 Nov"] {
            assert_eq!(pause(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(pause(&[("retry-after", "1e300")]), Some(Duration::MAX));
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let found = pause(&[("retry-after", &in_a_minute)]).unwrap();
        assert!(
            found > Duration::from_secs(55) && found <= Duration::from_secs(60),
            "{found:?}"
        );
    }

    #[test]
    fn milliseconds_are_more_exact_and_limits_are_the_last_choice() {
        let both = [("retry-after-ms", "1500.5"), ("retry-after", "2")];
        assert_eq!(pause(&both), Some(Duration::from_micros(1_500_500)));
        let limits = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1m2.5s"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("x-ratelimit-reset-tokens", "6h"),
        ];
        assert_eq!(pause(&limits), Some(Duration::from_millis(62_500)));
        let wrong = [("retry-after-ms", "soon"), ("retry-after", "2")];
        assert_eq!(pause(&wrong), Some(Duration::from_secs(2)));
    }

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("20ms", 20),
            ("6m0s", 360_000),
            ("36s", 36_000),
            ("1h1.5s", 3_601_500),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "7", "s", "1x", "1.2.3s", "-1s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
