//! Webhook tokens: the secret in a webhook URL.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::AgentId;
use crate::hex::hex;

/// The secret in a webhook URL. Never stored and never logged: records contain its
/// [`TokenHash`]. Case-insensitive.
#[derive(Clone)]
pub struct WebhookToken(String);

impl WebhookToken {
    pub const MIN_BYTES: usize = 16;
    pub const MAX_BYTES: usize = 128;

    /// Derives the token of this version of the agent's webhook from the deployment's signing
    /// secret, so that it can be shown again without being stored. 160 bits of HMAC-SHA-256 as 40
    /// hexadecimal digits.
    pub fn derive(signing_secret: &[u8], agent: AgentId, version: u32) -> Self {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(signing_secret) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(b"webhook-token/1\n");
        mac.update(format!("{agent}\n{version}").as_bytes());
        Self(hex(mac.finalize().into_bytes().split_at(20).0))
    }

    /// Parses a token from a URL: 16 to 128 letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        well_formed.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The hash that records contain.
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex(&Sha256::digest(self.0.as_bytes())))
    }

    /// The token, for the webhook URL that the agent's owner sees.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for WebhookToken {
    /// In constant time, as for [`TokenHash`].
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for WebhookToken {}

impl fmt::Debug for WebhookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookToken(…)")
    }
}

/// SHA-256 of a webhook token in lower-case hexadecimal. A plain hash is sufficient: tokens have
/// 160 random bits, or at least 16 characters of the owner's choice.
#[derive(Clone)]
pub struct TokenHash(String);

impl TokenHash {
    pub const fn from_stored(hex: String) -> Self {
        Self(hex)
    }

    /// As stored in a record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl PartialEq for TokenHash {
    /// In constant time, so that the response time does not reveal how many characters match.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// Compares with a secret in constant time. Both are hashed first, so that the time does not
/// depend on the secret's length either. No value matches an empty secret.
pub fn is_secret(given: &[u8], secret: &[u8]) -> bool {
    let equal = Sha256::digest(given).ct_eq(&Sha256::digest(secret));
    !secret.is_empty() && bool::from(equal)
}

/// Characters. At 500 guesses per second, 16 random hexadecimal digits are found after half a
/// billion years on average.
const MIN_ADMIN_TOKEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an admin token must have at least {MIN_ADMIN_TOKEN} characters; generate one with `openssl rand -hex 32`"
)]
pub struct WeakAdminToken;

/// Refuses an admin token that is easy to guess.
pub fn check_admin_token(token: &str) -> Result<(), WeakAdminToken> {
    if token.trim().chars().count() < MIN_ADMIN_TOKEN {
        Err(WeakAdminToken)
    } else {
        Ok(())
    }
}

impl Eq for TokenHash {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Salt;

    const AGENT: AgentId = AgentId::random([7; 16]);

    #[test]
    fn a_token_is_constant_until_its_version_changes() {
        let first = WebhookToken::derive(b"secret", AGENT, 1);
        assert_eq!(first, WebhookToken::derive(b"secret", AGENT, 1));
        assert_ne!(first, WebhookToken::derive(b"secret", AGENT, 2));
        assert_ne!(first, WebhookToken::derive(b"other", AGENT, 1));
        assert_ne!(
            first,
            WebhookToken::derive(b"secret", AgentId::random([8; 16]), 1)
        );
        assert_eq!(first.expose().len(), 40);
    }

    #[test]
    fn tokens_have_160_uniform_bits() {
        const TOKENS: u32 = 20_000;
        let mut seen = HashSet::new();
        let mut ones = [0_u32; 160];
        for version in 0..TOKENS {
            let token = WebhookToken::derive(b"secret", AGENT, version);
            let bytes: Vec<u8> = (0..40)
                .step_by(2)
                .map(|at| u8::from_str_radix(&token.expose()[at..at + 2], 16).unwrap())
                .collect();
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
            }
            assert!(seen.insert(bytes), "version {version} has an earlier token");
        }
        // 6 standard deviations (71 each): a fair bit is that far out once in 500 million.
        let fair = TOKENS / 2 - 425..=TOKENS / 2 + 425;
        assert!(ones.iter().all(|count| fair.contains(count)), "{ones:?}");
    }

    #[test]
    fn only_the_secret_itself_matches_and_an_empty_secret_never_matches() {
        assert!(is_secret(b"the admin token", b"the admin token"));
        for given in ["", "the admin toke", "the admin token2", "The admin token"] {
            assert!(!is_secret(given.as_bytes(), b"the admin token"), "{given}");
        }
        assert!(!is_secret(b"", b""));
    }

    #[test]
    fn a_short_admin_token_is_refused() {
        for weak in ["", "t", "123456789012345", "  12345678901234  "] {
            assert_eq!(check_admin_token(weak), Err(WeakAdminToken), "{weak}");
        }
        assert_eq!(check_admin_token("1234567890123456"), Ok(()));
    }

    #[test]
    fn the_case_of_a_token_does_not_matter() {
        let lower = WebhookToken::parse("abcdef0123456789").unwrap();
        let upper = WebhookToken::parse("ABCDEF0123456789").unwrap();
        assert_eq!(lower.hash(), upper.hash());
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "nope",
            "a\0bcdefghijklmnop",
            "é123456789012345",
            &"x".repeat(129),
        ] {
            assert!(WebhookToken::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_token() {
        let token = WebhookToken::parse("abcdef0123456789").unwrap();
        assert_eq!(format!("{token:?}"), "WebhookToken(…)");
        assert_eq!(format!("{:?}", Salt::new([7; 32])), "Salt(…)");
    }
}
