//! Wrong admin tokens, counted by the address they came from.
//!
//! Counted in this process: each of several functions at once counts for itself,
//! and API Gateway bounds how often sign-in is reached at all. Who sends too many is
//! told to wait. That keeps nobody from guessing on; the token's length does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use domain::Moment;

/// Wrong tokens of one address in a minute of the clock.
const MOST: u32 = 20;
/// Addresses counted apart in a minute; those beyond are counted together.
const MOST_ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    wrong: HashMap<Option<IpAddr>, u32>,
}

impl Guesses {
    /// The seconds that the sender of another wrong token has to wait, if it has to.
    pub(super) fn check(&self, caller: Option<IpAddr>, now: Moment) -> Result<(), u16> {
        self.within(now, |minute| match minute.wrong.get(&minute.place(caller)) {
            Some(wrong) if *wrong >= MOST => Err(rest(now)),
            _ => Ok(()),
        })
    }

    pub(super) fn count(&self, caller: Option<IpAddr>, now: Moment) {
        self.within(now, |minute| {
            let place = minute.place(caller);
            let wrong = minute.wrong.entry(place).or_default();
            *wrong = wrong.saturating_add(1);
        });
    }

    fn within<T>(&self, now: Moment, act: impl FnOnce(&mut Minute) -> T) -> T {
        // Nothing in here panics; a count would still be a count.
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.millis() / 60_000;
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        act(&mut minute)
    }
}

impl Minute {
    fn place(&self, caller: Option<IpAddr>) -> Option<IpAddr> {
        let network = caller.map(network);
        match self.wrong.contains_key(&network) || self.wrong.len() < MOST_ADDRESSES {
            true => network,
            false => None,
        }
    }
}

/// A household has 2^64 addresses of version 6 (RFC 6177).
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

    fn guess(guesses: &Guesses, address: &str, times: u32) {
        for _ in 0..times {
            guesses.count(address.parse().ok(), NOW);
        }
    }

    fn may_try(guesses: &Guesses, address: &str, now: Moment) -> Result<(), u16> {
        guesses.check(address.parse().ok(), now)
    }

    #[test]
    fn an_address_that_guesses_rests_until_the_minute_is_over_and_no_other_does() {
        let guesses = Guesses::default();
        guess(&guesses, "192.0.2.1", MOST - 1);
        assert_eq!(may_try(&guesses, "192.0.2.1", NOW), Ok(()));
        guess(&guesses, "192.0.2.1", 1);
        assert_eq!(may_try(&guesses, "192.0.2.1", Moment::from_millis(60_001)), Err(60));
        assert_eq!(may_try(&guesses, "192.0.2.1", Moment::from_millis(119_999)), Err(1));
        assert_eq!(may_try(&guesses, "::ffff:192.0.2.1", NOW), Err(60));
        assert_eq!(may_try(&guesses, "192.0.2.2", NOW), Ok(()));
        assert_eq!(may_try(&guesses, "192.0.2.1", Moment::from_millis(120_000)), Ok(()));
    }

    #[test]
    fn a_household_is_one_address() {
        let guesses = Guesses::default();
        guess(&guesses, "2001:db8::1", MOST);
        assert_eq!(may_try(&guesses, "2001:db8::2:3", NOW), Err(60));
        assert_eq!(may_try(&guesses, "2001:db8:0:1::1", NOW), Ok(()));
    }

    #[test]
    fn very_many_addresses_do_not_fill_the_memory() {
        let guesses = Guesses::default();
        for number in 0..20_000_u32 {
            guesses.count(Some(IpAddr::from(number.to_be_bytes())), NOW);
        }
        assert!(guesses.within(NOW, |minute| minute.wrong.len() <= MOST_ADDRESSES + 1));
        assert_eq!(may_try(&guesses, "203.0.113.1", NOW), Err(60), "the rest are counted together");
    }
}
