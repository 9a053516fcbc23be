//! Refused attempts, counted by the address they came from.
//!
//! Each process counts for itself, so several instances of a function count separately.
//! API Gateway limits the rate of sign-in requests. An address that sends too many wrong
//! tokens gets 429. A caller with many addresses can still guess often, but the token is
//! too long to guess.
//!
//! The same count limits how many log lines and audit entries attempts create. The first
//! attempts of a minute are reported individually, the others as one total.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use domain::Moment;

/// Wrong tokens from one address in a clock minute.
const MOST_WRONG: u32 = 20;
/// Log lines for attempts from one address in a minute: the wrong tokens, and the first
/// one that gets 429.
const LINES_EACH: u32 = MOST_WRONG + 1;
/// Log lines for attempts from all addresses in a minute.
const LINES: u32 = 200;
/// Stored entries for attempts from one address in a minute.
const ENTRIES_EACH: u32 = 3;
/// Stored entries for attempts from all addresses in a minute.
const ENTRIES: u32 = 10;
/// Addresses that are counted separately in a minute. All further ones are counted together.
const MOST_ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct LoginThrottle(Mutex<MinuteWindow>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedAttempt {
    /// A wrong admin token.
    Guess,
    /// Any other refused request.
    Other,
}

/// What to do about an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ThrottleDecision {
    /// Seconds until the caller may try again, if it sent too many wrong tokens.
    pub(super) retry_after: Option<u16>,
    /// Whether the attempt gets its own log line.
    pub(super) is_logged: bool,
    /// Whether the attempt gets its own stored entry.
    pub(super) is_stored: bool,
    /// The attempts of an earlier minute that are still to be reported.
    pub(super) omitted: Option<OmittedAttempts>,
}

/// The attempts of a minute that were not reported individually.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OmittedAttempts {
    /// How many have no log line.
    pub(super) lines: u64,
    /// How many have no stored entry.
    pub(super) entries: u64,
    /// The number of addresses of the attempts without a stored entry.
    pub(super) addresses: u32,
    /// The address, if there was only one.
    pub(super) address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct MinuteWindow {
    number: u64,
    by_address: HashMap<Option<IpAddr>, AddressAttempts>,
    logged: u32,
    stored: u32,
    omitted: OmittedAttempts,
}

#[derive(Debug, Default)]
struct AddressAttempts {
    wrong: u32,
    all: u32,
    has_omitted: bool,
}

impl LoginThrottle {
    pub(super) fn record(
        &self,
        attempt: RefusedAttempt,
        caller: Option<IpAddr>,
        now: Moment,
    ) -> ThrottleDecision {
        self.with_minute(now, |minute, omitted| ThrottleDecision {
            omitted,
            ..minute.record(attempt, caller, now)
        })
    }

    /// The unreported attempts of an earlier minute. They are returned only once.
    pub(super) fn take_omitted(&self, now: Moment) -> Option<OmittedAttempts> {
        self.with_minute(now, |_, omitted| omitted)
    }

    fn with_minute<T>(
        &self,
        now: Moment,
        act: impl FnOnce(&mut MinuteWindow, Option<OmittedAttempts>) -> T,
    ) -> T {
        // Nothing panics while holding this lock. A count is valid even if something did.
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.millis() / 60_000;
        let mut omitted = None;
        if minute.number != number {
            omitted = Some(minute.omitted).filter(|omitted| *omitted != OmittedAttempts::default());
            *minute = MinuteWindow {
                number,
                ..MinuteWindow::default()
            };
        }
        act(&mut minute, omitted)
    }
}

impl MinuteWindow {
    fn record(
        &mut self,
        attempt: RefusedAttempt,
        caller: Option<IpAddr>,
        now: Moment,
    ) -> ThrottleDecision {
        let address = self.counted_address(caller);
        let attempts = self.by_address.entry(address).or_default();
        let mut retry_after = None;
        if attempt == RefusedAttempt::Guess {
            retry_after = (attempts.wrong >= MOST_WRONG).then(|| seconds_left(now));
            attempts.wrong = attempts.wrong.saturating_add(1);
        }
        let is_logged = attempts.all < LINES_EACH && self.logged < LINES;
        let is_stored = attempts.all < ENTRIES_EACH && self.stored < ENTRIES;
        attempts.all = attempts.all.saturating_add(1);
        self.logged += u32::from(is_logged);
        self.stored += u32::from(is_stored);
        self.omitted.lines += u64::from(!is_logged);
        self.omitted.entries += u64::from(!is_stored);
        if !is_stored && !attempts.has_omitted {
            attempts.has_omitted = true;
            self.omitted.addresses += 1;
            self.omitted.address = address.filter(|_| self.omitted.addresses == 1);
        }
        ThrottleDecision {
            retry_after,
            is_logged,
            is_stored,
            omitted: None,
        }
    }

    fn counted_address(&self, caller: Option<IpAddr>) -> Option<IpAddr> {
        let network = caller.map(network);
        match self.by_address.contains_key(&network) || self.by_address.len() < MOST_ADDRESSES {
            true => network,
            false => None,
        }
    }
}

/// A customer of an internet provider has at least a /64 prefix of IPv6 (RFC 6177), so
/// each such prefix counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

fn seconds_left(now: Moment) -> u16 {
    // At most 60.
    u16::try_from((60_000 - now.millis() % 60_000).div_ceil(1000)).unwrap_or(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(60_000);
    const NEXT_MINUTE: Moment = Moment::from_millis(120_000);

    /// Sends wrong tokens. Returns how long the last one has to wait.
    fn guess(throttle: &LoginThrottle, address: &str, times: u32, now: Moment) -> Option<u16> {
        (0..times).fold(None, |_, _| {
            throttle
                .record(RefusedAttempt::Guess, address.parse().ok(), now)
                .retry_after
        })
    }

    #[test]
    fn an_address_with_too_many_guesses_waits_until_the_minute_is_over_and_others_do_not() {
        let throttle = LoginThrottle::default();
        assert_eq!(guess(&throttle, "192.0.2.1", MOST_WRONG, NOW), None);
        assert_eq!(
            guess(&throttle, "192.0.2.1", 1, Moment::from_millis(60_001)),
            Some(60)
        );
        assert_eq!(
            guess(&throttle, "192.0.2.1", 1, Moment::from_millis(119_999)),
            Some(1)
        );
        assert_eq!(guess(&throttle, "::ffff:192.0.2.1", 1, NOW), Some(60));
        assert_eq!(guess(&throttle, "192.0.2.2", 1, NOW), None);
        assert_eq!(guess(&throttle, "192.0.2.1", 1, NEXT_MINUTE), None);
    }

    #[test]
    fn an_ipv6_prefix_of_64_bits_is_one_address() {
        let throttle = LoginThrottle::default();
        guess(&throttle, "2001:db8::1", MOST_WRONG, NOW);
        assert_eq!(guess(&throttle, "2001:db8::2:3", 1, NOW), Some(60));
        assert_eq!(guess(&throttle, "2001:db8:0:1::1", 1, NOW), None);
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory_the_log_or_the_audit_log() {
        let throttle = LoginThrottle::default();
        let (mut logged, mut stored) = (0, 0);
        for number in 0..20_000_u32 {
            let caller = Some(IpAddr::from(number.to_be_bytes()));
            let decision = throttle.record(RefusedAttempt::Guess, caller, NOW);
            logged += u32::from(decision.is_logged);
            stored += u32::from(decision.is_stored);
        }
        assert!(
            throttle.with_minute(NOW, |minute, _| minute.by_address.len()
                <= MOST_ADDRESSES + 1)
        );
        assert_eq!(
            guess(&throttle, "203.0.113.1", 1, NOW),
            Some(60),
            "further addresses are counted together"
        );
        assert_eq!((logged, stored), (LINES, ENTRIES));
        let omitted = throttle.take_omitted(NEXT_MINUTE).unwrap();
        assert_eq!(omitted.lines, 20_001 - u64::from(LINES));
        assert_eq!(omitted.entries, 20_001 - u64::from(ENTRIES));
        assert_eq!(omitted.address, None, "there were several");
        assert_eq!(
            throttle.take_omitted(NEXT_MINUTE),
            None,
            "reported only once"
        );
    }

    #[test]
    fn every_attempt_is_reported_individually_or_counted() {
        let throttle = LoginThrottle::default();
        let (mut lines, mut entries) = (0, 0);
        for _ in 0..415 {
            let decision = throttle.record(RefusedAttempt::Guess, "192.0.2.1".parse().ok(), NOW);
            lines += u64::from(decision.is_logged);
            entries += u64::from(decision.is_stored);
        }
        assert_eq!(
            (lines, entries),
            (u64::from(LINES_EACH), u64::from(ENTRIES_EACH))
        );
        let decision =
            throttle.record(RefusedAttempt::Guess, "192.0.2.9".parse().ok(), NEXT_MINUTE);
        let address = "192.0.2.1".parse().ok();
        assert_eq!(
            decision.omitted,
            Some(OmittedAttempts {
                lines: 394,
                entries: 412,
                addresses: 1,
                address
            })
        );
        assert_eq!(
            throttle.take_omitted(Moment::from_millis(180_000)),
            None,
            "nothing was omitted"
        );
    }

    #[test]
    fn an_attempt_that_is_not_a_guess_makes_no_caller_wait() {
        let throttle = LoginThrottle::default();
        for _ in 0..100 {
            throttle.record(RefusedAttempt::Other, "192.0.2.1".parse().ok(), NOW);
        }
        assert_eq!(guess(&throttle, "192.0.2.1", 1, NOW), None);
    }
}
