//! Refused attempts, counted by the address they came from.
//!
//! Counted in this process: each of several functions at once counts for itself,
//! and API Gateway bounds how often sign-in is reached at all. An address that sends
//! too many wrong tokens is told to wait. A caller with many addresses can still guess
//! often: the token's length makes that hopeless.
//!
//! The same count bounds what attempts leave in the log and in the audit log: the first
//! ones of a minute are reported one by one, the others as one sum.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use domain::Moment;

/// Wrong tokens of one address in a minute of the clock.
const MOST_WRONG: u32 = 20;
/// Log lines for attempts of one address in a minute: the wrong tokens, and the first
/// one that is told to wait.
const LINES_EACH: u32 = MOST_WRONG + 1;
/// Log lines for attempts of all addresses in a minute.
const LINES: u32 = 200;
/// Stored entries for attempts of one address in a minute.
const ENTRIES_EACH: u32 = 3;
/// Stored entries for attempts of all addresses in a minute.
const ENTRIES: u32 = 10;
/// Addresses counted apart in a minute; those beyond are counted together.
const MOST_ADDRESSES: usize = 4096;

/// Counts refused attempts.
#[derive(Debug, Default)]
pub(super) struct LoginThrottle(Mutex<Minute>);

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A wrong admin token.
    Guess,
    /// A refused request that cannot be a guess.
    Other,
}

/// What follows from an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// The seconds that its sender has to wait, if it sent too many.
    pub(super) retry_after: Option<u16>,
    /// It gets a log line of its own.
    pub(super) is_logged: bool,
    /// It gets a stored entry of its own.
    pub(super) is_stored: bool,
    /// What an earlier minute left out, to be reported now.
    pub(super) omitted: Option<Omitted>,
}

/// The attempts of a minute that were not reported one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Omitted {
    /// Those without a log line.
    pub(super) lines: u64,
    /// Those without a stored entry.
    pub(super) entries: u64,
    /// From how many addresses these came.
    pub(super) addresses: u32,
    /// The address, if it was one.
    pub(super) address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    by_address: HashMap<Option<IpAddr>, Attempts>,
    logged: u32,
    stored: u32,
    omitted: Omitted,
}

/// The attempts of one address.
#[derive(Debug, Default)]
struct Attempts {
    wrong: u32,
    all: u32,
    has_omitted: bool,
}

impl LoginThrottle {
    /// Counts an attempt that is refused.
    pub(super) fn note(&self, attempt: Attempt, caller: Option<IpAddr>, now: Moment) -> Noted {
        self.within(now, |minute, omitted| Noted { omitted, ..minute.note(attempt, caller, now) })
    }

    /// What an earlier minute left out, once.
    pub(super) fn take_omitted(&self, now: Moment) -> Option<Omitted> {
        self.within(now, |_, omitted| omitted)
    }

    fn within<T>(&self, now: Moment, act: impl FnOnce(&mut Minute, Option<Omitted>) -> T) -> T {
        // Nothing in here panics; a count would still be a count.
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.millis() / 60_000;
        let mut omitted = None;
        if minute.number != number {
            omitted = Some(minute.omitted).filter(|omitted| *omitted != Omitted::default());
            *minute = Minute { number, ..Minute::default() };
        }
        act(&mut minute, omitted)
    }
}

impl Minute {
    fn note(&mut self, attempt: Attempt, caller: Option<IpAddr>, now: Moment) -> Noted {
        let place = self.place(caller);
        let of_address = self.by_address.entry(place).or_default();
        let mut retry_after = None;
        if attempt == Attempt::Guess {
            retry_after = (of_address.wrong >= MOST_WRONG).then(|| rest(now));
            of_address.wrong = of_address.wrong.saturating_add(1);
        }
        let is_logged = of_address.all < LINES_EACH && self.logged < LINES;
        let is_stored = of_address.all < ENTRIES_EACH && self.stored < ENTRIES;
        of_address.all = of_address.all.saturating_add(1);
        self.logged += u32::from(is_logged);
        self.stored += u32::from(is_stored);
        self.omitted.lines += u64::from(!is_logged);
        self.omitted.entries += u64::from(!is_stored);
        if !is_stored && !of_address.has_omitted {
            of_address.has_omitted = true;
            self.omitted.addresses += 1;
            self.omitted.address = place.filter(|_| self.omitted.addresses == 1);
        }
        Noted { retry_after, is_logged, is_stored, omitted: None }
    }

    fn place(&self, caller: Option<IpAddr>) -> Option<IpAddr> {
        let network = caller.map(network);
        match self.by_address.contains_key(&network) || self.by_address.len() < MOST_ADDRESSES {
            true => network,
            false => None,
        }
    }
}

/// One customer of a provider has at least a /64 prefix of IPv6 (RFC 6177), so that
/// prefix counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

fn rest(now: Moment) -> u16 {
    // At most 60.
    u16::try_from((60_000 - now.millis() % 60_000).div_ceil(1000)).unwrap_or(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(60_000);
    const NEXT_MINUTE: Moment = Moment::from_millis(120_000);

    /// The wait that the last of so many guesses is told.
    fn guess(throttle: &LoginThrottle, address: &str, times: u32, now: Moment) -> Option<u16> {
        (0..times).fold(None, |_, _| throttle.note(Attempt::Guess, address.parse().ok(), now).retry_after)
    }

    #[test]
    fn an_address_that_guesses_rests_until_the_minute_is_over_and_no_other_does() {
        let throttle = LoginThrottle::default();
        assert_eq!(guess(&throttle, "192.0.2.1", MOST_WRONG, NOW), None);
        assert_eq!(guess(&throttle, "192.0.2.1", 1, Moment::from_millis(60_001)), Some(60));
        assert_eq!(guess(&throttle, "192.0.2.1", 1, Moment::from_millis(119_999)), Some(1));
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
    fn very_many_addresses_do_not_fill_the_memory_the_log_or_the_audit_log() {
        let throttle = LoginThrottle::default();
        let (mut logged, mut stored) = (0, 0);
        for number in 0..20_000_u32 {
            let caller = Some(IpAddr::from(number.to_be_bytes()));
            let noted = throttle.note(Attempt::Guess, caller, NOW);
            logged += u32::from(noted.is_logged);
            stored += u32::from(noted.is_stored);
        }
        assert!(throttle.within(NOW, |minute, _| minute.by_address.len() <= MOST_ADDRESSES + 1));
        assert_eq!(guess(&throttle, "203.0.113.1", 1, NOW), Some(60), "the rest are counted together");
        assert_eq!((logged, stored), (LINES, ENTRIES));
        let omitted = throttle.take_omitted(NEXT_MINUTE).unwrap();
        assert_eq!(omitted.lines, 20_001 - u64::from(LINES));
        assert_eq!(omitted.entries, 20_001 - u64::from(ENTRIES));
        assert_eq!(omitted.address, None, "it was not one");
        assert_eq!(throttle.take_omitted(NEXT_MINUTE), None, "it is reported once");
    }

    #[test]
    fn every_attempt_is_reported_by_itself_or_counted() {
        let throttle = LoginThrottle::default();
        let (mut lines, mut entries) = (0, 0);
        for _ in 0..415 {
            let noted = throttle.note(Attempt::Guess, "192.0.2.1".parse().ok(), NOW);
            lines += u64::from(noted.is_logged);
            entries += u64::from(noted.is_stored);
        }
        assert_eq!((lines, entries), (u64::from(LINES_EACH), u64::from(ENTRIES_EACH)));
        let noted = throttle.note(Attempt::Guess, "192.0.2.9".parse().ok(), NEXT_MINUTE);
        let address = "192.0.2.1".parse().ok();
        assert_eq!(noted.omitted, Some(Omitted { lines: 394, entries: 412, addresses: 1, address }));
        assert_eq!(throttle.take_omitted(Moment::from_millis(180_000)), None, "nothing was left out");
    }

    #[test]
    fn an_attempt_that_is_not_a_guess_makes_no_caller_wait() {
        let throttle = LoginThrottle::default();
        for _ in 0..100 {
            throttle.note(Attempt::Other, "192.0.2.1".parse().ok(), NOW);
        }
        assert_eq!(guess(&throttle, "192.0.2.1", 1, NOW), None);
    }
}
