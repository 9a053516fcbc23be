//! What requests share: their route, and the network of their caller.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::percent_decode_str;

/// A network provider gives each customer at least these 64 bits of an IPv6 address.
const IPV6_PREFIX: u128 = !(u64::MAX as u128);

/// A caller's IPv4 address, or the /64 prefix of its IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

/// The route and the network whose limits a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShareKey {
    /// Hash of the normalized route.
    pub(super) route: u64,
    pub(super) network: Network,
}

impl Network {
    pub(super) fn from_address(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_PREFIX).into(),
            address => address,
        })
    }
}

impl ShareKey {
    /// `hasher` has a random key, so that callers cannot construct paths that collide.
    pub(super) fn new(path: &str, network: Network, hasher: &RandomState) -> Self {
        Self {
            route: hasher.hash_one(normalized_route(path)),
            network,
        }
    }
}

/// The path as the router and the token's parser see it: percent-decoded once and in lower
/// case. So all spellings of a webhook URL are one route.
fn normalized_route(path: &str) -> String {
    percent_decode_str(path)
        .decode_utf8_lossy()
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_webhook_is_one_route() {
        let plain = "/api/webhooks/agents/ab";
        for spelling in [
            "/api/webhooks/agents/AB",
            "/api/webhooks/agents/%61b",
            "/api/webhooks/agents/%41%42",
        ] {
            assert_eq!(normalized_route(spelling), plain);
        }
        assert_ne!(normalized_route("/api/webhooks/agents/ac"), plain);
        // The router decodes once, so this is another token.
        assert_ne!(normalized_route("/api/webhooks/agents/%2561b"), plain);
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_prefix_of_64_bits() {
        let network = |text: &str| Network::from_address(text.parse().unwrap());
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }
}
