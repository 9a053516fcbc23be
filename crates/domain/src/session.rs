//! Console sessions. A browser stores a session instead of the admin token.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Moment;
use crate::hex::hex;

/// One sign-in is enough for a working day.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Each HMAC has its own label, so that one cannot be used as the other.
const SEAL: &str = "console-session/1";
const PUBLIC_ID: &str = "console-session-id/1";
/// Enough to distinguish the sessions of one deployment.
const PUBLIC_ID_DIGITS: usize = 12;

/// Proves, until it expires, that the browser's user entered the admin token. The server does not
/// store sessions. The seal is an HMAC under the admin token, so a new admin token ends every
/// session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    expires_at: Moment,
}

impl Session {
    /// A session that begins now.
    pub fn new(now: Moment) -> Self {
        Self {
            expires_at: now.plus(LIFETIME),
        }
    }

    pub const fn expires_at(self) -> Moment {
        self.expires_at
    }

    /// Identifies the session in the audit log. It is derived like the seal but with another
    /// label, so it reveals nothing about the seal.
    pub fn public_id(self, admin_token: &[u8]) -> String {
        let mac = self.mac(PUBLIC_ID, admin_token).finalize().into_bytes();
        hex(&mac).chars().take(PUBLIC_ID_DIGITS).collect()
    }

    /// The value of the session cookie: `<expiry in milliseconds>.<HMAC-SHA-256>`.
    pub fn sealed(self, admin_token: &[u8]) -> String {
        let seal = self.mac(SEAL, admin_token).finalize().into_bytes();
        format!("{}.{}", self.expires_at.millis(), hex(&seal))
    }

    /// Parses and verifies a session. `None` if it has expired, if the seal is wrong, or if no
    /// admin token is configured.
    pub fn unsealed(text: &str, admin_token: &[u8], now: Moment) -> Option<Self> {
        let (expiry, seal) = text.split_once('.')?;
        let session = Self {
            expires_at: Moment::from_millis(expiry.parse().ok()?),
        };
        // In constant time. The whole text is compared, so that only one spelling is valid.
        let sealed = crate::is_secret(text.as_bytes(), session.sealed(admin_token).as_bytes());
        (sealed && !seal.is_empty() && !admin_token.is_empty() && now < session.expires_at)
            .then_some(session)
    }

    fn mac(self, label: &str, admin_token: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of any length (RFC 2104 section 2).
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(admin_token) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(format!("{label}\n{}", self.expires_at.millis()).as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment::from_millis(1_767_225_600_000);

    #[test]
    fn a_session_lasts_twelve_hours() {
        let session = Session::new(NOW);
        let sealed = session.sealed(b"the admin token");
        let end = NOW.plus(Duration::from_secs(12 * 3600));
        let at = |now| Session::unsealed(&sealed, b"the admin token", now);
        assert_eq!(at(NOW), Some(session));
        assert_eq!(at(end.minus(Duration::from_millis(1))), Some(session));
        assert_eq!(at(end), None);
    }

    #[test]
    fn another_admin_token_ends_every_session() {
        let sealed = Session::new(NOW).sealed(b"the admin token");
        assert_eq!(Session::unsealed(&sealed, b"another", NOW), None);
        assert_eq!(
            Session::unsealed(&Session::new(NOW).sealed(b""), b"", NOW),
            None
        );
    }

    #[test]
    fn the_public_id_identifies_a_session_and_contains_no_part_of_its_seal() {
        let (session, later) = (
            Session::new(NOW),
            Session::new(NOW.plus(Duration::from_millis(1))),
        );
        let id = session.public_id(b"the admin token");
        assert_eq!(id, session.public_id(b"the admin token"));
        assert_ne!(id, later.public_id(b"the admin token"));
        let sealed = session.sealed(b"the admin token");
        assert!(
            id.len() == PUBLIC_ID_DIGITS && !sealed.contains(&id),
            "{id} is in {sealed}"
        );
        for text in [
            id.clone(),
            format!("{}.{id}", session.expires_at().millis()),
        ] {
            assert_eq!(
                Session::unsealed(&text, b"the admin token", NOW),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn a_session_cannot_be_prolonged() {
        let sealed = Session::new(NOW).sealed(b"the admin token");
        let (expiry, seal) = sealed.split_once('.').unwrap();
        let later = expiry.parse::<u64>().unwrap() + 1;
        for forged in [
            format!("{later}.{seal}"),
            format!("{expiry}."),
            format!("+{sealed}"),
            format!("0{sealed}"),
        ] {
            assert_eq!(
                Session::unsealed(&forged, b"the admin token", NOW),
                None,
                "{forged}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_not_a_session(text in "\\PC{0,80}|[0-9]{1,25}\\.[0-9a-f]{0,64}") {
            prop_assert_eq!(Session::unsealed(&text, b"the admin token", NOW), None);
        }
    }
}
