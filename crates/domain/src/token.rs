//! Webhook tokens: the secret in a webhook URL.

use std::fmt;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::AgentId;

/// The secret in a webhook URL. Never stored and never logged: records hold its
/// [`TokenHash`]. Case does not matter.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookToken(String);

impl WebhookToken {
    /// The token of this version of the agent's webhook, derived from the
    /// deployment's signing secret: it can be shown again without being stored.
    /// 160 bits of HMAC-SHA-256 as 40 hexadecimal digits.
    pub fn derive(signing_secret: &[u8], agent: AgentId, version: u32) -> Self {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(signing_secret) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(b"webhook-token/1\n");
        mac.update(format!("{agent}\n{version}").as_bytes());
        Self(hex(mac.finalize().into_bytes().split_at(20).0))
    }

    /// Reads a token from a URL: 16 to 128 letters, digits, `-` and `_`. `None`
    /// for anything that no agent can have.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = (16..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        well_formed.then(|| Self(text.to_ascii_lowercase()))
    }

    /// What records know of the token.
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex(&Sha256::digest(self.0.as_bytes())))
    }

    /// The token itself, for the webhook URL shown to the agent's owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookToken(…)")
    }
}

/// SHA-256 of a webhook token in lower-case hexadecimal. Tokens carry at least
/// 16 characters of the owner's choice or 160 random bits, so a plain hash does.
#[derive(Clone, Debug)]
pub struct TokenHash(String);

impl TokenHash {
    /// As read back from a record.
    pub const fn from_stored(hex: String) -> Self {
        Self(hex)
    }

    /// As kept in a record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for TokenHash {
    /// In constant time, so that a near miss cannot be told from a far one.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for TokenHash {}

/// An agent's own random bytes, under which its idempotency keys become task keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// From 256 random bits.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As kept in a record.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: AgentId = AgentId::random([7; 16]);

    #[test]
    fn a_token_is_the_same_every_time_until_its_version_changes() {
        let first = WebhookToken::derive(b"secret", AGENT, 1);
        assert_eq!(first, WebhookToken::derive(b"secret", AGENT, 1));
        assert_ne!(first, WebhookToken::derive(b"secret", AGENT, 2));
        assert_ne!(first, WebhookToken::derive(b"other", AGENT, 1));
        assert_ne!(first, WebhookToken::derive(b"secret", AgentId::random([8; 16]), 1));
        assert_eq!(first.expose().len(), 40);
    }

    #[test]
    fn the_case_of_a_token_does_not_matter() {
        let lower = WebhookToken::parse("abcdef0123456789").unwrap();
        let upper = WebhookToken::parse("ABCDEF0123456789").unwrap();
        assert_eq!(lower.hash(), upper.hash());
    }

    #[test]
    fn malformed_tokens_are_nobodys() {
        for text in ["", "nope", "a\0bcdefghijklmnop", "é123456789012345", &"x".repeat(129)] {
            assert!(WebhookToken::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself_in_a_debug_print() {
        let token = WebhookToken::parse("abcdef0123456789").unwrap();
        assert_eq!(format!("{token:?}"), "WebhookToken(…)");
    }
}
