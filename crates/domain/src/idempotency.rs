//! The `Idempotency-Key` header.

use std::fmt;

const MAX_KEY_CHARS: usize = 256;

/// A caller's key for one trigger: 1 to 256 characters, case-sensitive, without surrounding
/// white space.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a header is not a valid idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("Idempotency-Key exceeds maximum length of 256 characters")]
    TooLong,
    #[error("Idempotency-Key must be UTF-8 text")]
    NotUtf8,
    /// API Gateway would join two headers with a comma.
    #[error("Send one Idempotency-Key header, not several")]
    Several,
}

impl IdempotencyKey {
    /// Parses the values of the header. An absent or blank header means no key.
    pub fn parse<'h>(
        headers: impl IntoIterator<Item = &'h [u8]>,
    ) -> Result<Option<Self>, KeyError> {
        let mut headers = headers.into_iter();
        let header = headers.next().unwrap_or_default();
        if headers.next().is_some() {
            return Err(KeyError::Several);
        }
        let text = std::str::from_utf8(header).map_err(|_| KeyError::NotUtf8)?;
        let key = text.trim();
        if key.chars().count() > MAX_KEY_CHARS {
            return Err(KeyError::TooLong);
        }
        Ok((!key.is_empty()).then(|| Self(key.to_owned())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Result<Option<String>, KeyError> {
        IdempotencyKey::parse([header.as_bytes()]).map(|key| key.map(|key| key.0))
    }

    #[test]
    fn a_blank_header_means_that_there_is_none() {
        assert_eq!(IdempotencyKey::parse([]), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse(" \t "), Ok(None));
    }

    #[test]
    fn a_key_is_trimmed_and_keeps_its_case() {
        assert_eq!(parse("  Order-42 "), Ok(Some("Order-42".into())));
    }

    #[test]
    fn the_limit_counts_characters_not_bytes() {
        assert_eq!(parse(&"日".repeat(256)), Ok(Some("日".repeat(256))));
        assert_eq!(parse(&"x".repeat(257)), Err(KeyError::TooLong));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        assert_eq!(
            IdempotencyKey::parse([&b"\xff\xfe"[..]]),
            Err(KeyError::NotUtf8)
        );
        assert_eq!(parse("order-\u{fffd}"), Ok(Some("order-\u{fffd}".into())));
    }

    #[test]
    fn several_headers_are_refused_even_if_they_are_equal() {
        assert_eq!(
            IdempotencyKey::parse([&b"a"[..], b"a"]),
            Err(KeyError::Several)
        );
        assert_eq!(
            IdempotencyKey::parse([&b""[..], b""]),
            Err(KeyError::Several)
        );
    }
}
