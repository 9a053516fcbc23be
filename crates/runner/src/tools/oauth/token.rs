//! An access token (RFC 6750).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Moment;
use reqwest::header::HeaderValue;

/// Longer tokens do not fit in the headers that servers accept.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// A token is replaced this long before it expires, or a tenth of its lifetime.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// Of a token without `expires_in`. The server may end it earlier: then it answers 401.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The token and its header.
#[derive(Clone)]
pub(in crate::tools) struct AccessToken {
    /// `Bearer` and the token.
    header: HeaderValue,
    text: Arc<str>,
    fresh_until: Moment,
    /// Distinguishes the tokens of this process.
    number: u64,
}

impl AccessToken {
    /// A token that was fetched now. `None` if it cannot be sent as a header.
    pub(super) fn new(text: &str, lifetime: Option<Duration>, now: Moment) -> Option<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let is_sendable = (1..=MAX_TOKEN_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sendable {
            return None;
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        header.set_sensitive(true);
        let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME).min(LONGEST_LIFETIME);
        let margin = (lifetime / 10).min(LONGEST_MARGIN);
        Some(Self {
            header,
            text: text.into(),
            fresh_until: now.plus(lifetime.saturating_sub(margin)),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Whether it does not expire soon and is not the one that was refused.
    pub(super) fn is_usable(&self, now: Moment, refused: Option<&Self>) -> bool {
        now < self.fresh_until && refused.is_none_or(|refused| self.number != refused.number)
    }

    /// The value of the header `Authorization`.
    pub(in crate::tools) const fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1_000_000);

    #[test]
    fn a_token_that_cannot_be_sent_is_refused() {
        for text in ["", "a b", "a\n", "ä", &"t".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(AccessToken::new(text, None, NOW).is_none(), "{text:?}");
        }
        let token = AccessToken::new("t-1", None, NOW).unwrap();
        assert!(token.header().is_sensitive() && token.header() == "Bearer t-1");
        let forever = AccessToken::new("t", Some(Duration::MAX), NOW).unwrap();
        assert_eq!(
            forever.fresh_until,
            NOW.plus(Duration::from_secs(24 * 3600 - 60))
        );
    }
}
