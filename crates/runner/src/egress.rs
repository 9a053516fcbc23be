//! Where calls to the outside may go: not to private addresses, unless the
//! operator named the host.
//!
//! The check is made on the addresses a name resolves to, by the resolver that
//! the connection itself uses, so a name cannot mean one thing to the check and
//! another to the connection (DNS rebinding).

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use store::env::Env;
use url::{Host, Url};

/// Hosts that may be reached though their addresses are private.
#[derive(Clone, Debug)]
pub enum PrivateHosts {
    /// All of them: for a server on the operator's own machine.
    Any,
    /// These, as `host` or `host:port`.
    Listed(Arc<[String]>),
}

/// A call to a private address that nobody allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a private address; allow it with AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS")]
pub(crate) struct Refused(String);

/// The refusal among an error's causes, if it is one.
pub(crate) fn refused_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refused> {
    match error.downcast_ref() {
        Some(refused) => Some(refused),
        None => refused_in(error.source()?),
    }
}

impl PrivateHosts {
    /// `AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS`: a list with commas, `*` for all; none by default.
    pub fn from_env(env: &Env) -> Option<Self> {
        let list = env.optional("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS")?;
        let hosts: Vec<String> = list.split(',').map(|host| host.trim().to_lowercase()).collect();
        Some(match hosts.iter().any(|host| host == "*") {
            true => Self::Any,
            false => Self::Listed(hosts.into()),
        })
    }

    /// No private host at all.
    pub fn none() -> Self {
        Self::Listed(Arc::new([]))
    }

    /// Refuses a URL that names a private address outright. Names are checked
    /// when they are resolved.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refused> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => return self.check_port(name, url.port_or_known_default()),
            None => return Ok(()),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if is_private(address) && !self.allows(host, url.port_or_known_default()) {
            return Err(Refused(host.to_owned()));
        }
        Ok(())
    }

    /// A name that is listed for one port only is refused at any other; whether
    /// its address is private shows when it is resolved.
    fn check_port(&self, name: &str, port: Option<u16>) -> Result<(), Refused> {
        if self.allows(name, None) && !self.allows(name, port) {
            return Err(Refused(name.to_owned()));
        }
        Ok(())
    }

    fn allows(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(hosts) => hosts.iter().any(|allowed| {
                allowed == host
                    || allowed.rsplit_once(':').is_some_and(|(name, digits)| {
                        name.trim_matches(['[', ']']) == host
                            && port.is_none_or(|port| digits.parse() == Ok(port))
                    })
            }),
        }
    }
}

impl Resolve for PrivateHosts {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_lowercase();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let private = found.iter().any(|address| is_private(address.ip()));
            if private && !allowed.allows(&host, None) {
                return Err(Refused(host).into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Loopback, private, link-local (with the cloud's metadata service), shared,
/// and whatever else is not an address of the public Internet
/// (IANA special-purpose registries, RFC 6890).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| is_private_v6(address), is_private_v4),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || first == 0
        || first >= 224
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (18..20).contains(&second))
}

/// Only 2000::/3 is given out as public (RFC 4291 section 2.4), and of it neither
/// 2001::/23 (protocols, with Teredo) nor the documentation's ranges.
fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first & 0xe000 != 0x2000
        || (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        || (first == 0x3fff && second < 0x1000)
}

/// The IPv4 address inside an IPv4-mapped, NAT64 or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => address.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, hosts: &str) -> bool {
        let hosts = hosts.to_owned();
        let env = Env::from_fn(move |_| Some(hosts.clone()));
        let hosts = PrivateHosts::from_env(&env).unwrap_or_else(PrivateHosts::none);
        hosts.check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn private_addresses_are_refused() {
        for url in [
            "http://127.0.0.1/v1",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://192.168.1.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            // Written otherwise.
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://１２７.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://public.example@127.0.0.1/",
            "http://[0:0:0:0:0:ffff:7f00:1]/",
        ] {
            assert!(!check(url, ""), "{url}");
        }
        assert!(check("https://8.8.8.8/v1", ""));
        assert!(check("https://api.example.com/v1", ""));
    }

    /// The ends of each block of the IANA special-purpose address registries that
    /// is not globally reachable, and what else stands for such an address
    /// (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
    /// <https://www.iana.org/assignments/iana-ipv6-special-registry>).
    #[test]
    fn no_special_purpose_block_is_public_from_end_to_end() {
        for block in [
            "0.0.0.0 0.255.255.255",
            "10.0.0.0 10.255.255.255",
            "100.64.0.0 100.127.255.255",
            "127.0.0.0 127.255.255.255",
            "169.254.0.0 169.254.255.255",
            "172.16.0.0 172.31.255.255",
            "192.0.0.0 192.0.0.255",
            "192.0.2.0 192.0.2.255",
            "192.88.99.0 192.88.99.255",
            "192.168.0.0 192.168.255.255",
            "198.18.0.0 198.19.255.255",
            "198.51.100.0 198.51.100.255",
            "203.0.113.0 203.0.113.255",
            "224.0.0.0 255.255.255.255",
            ":: ::ffff:7fff:ffff",
            "::ffff:a00:0 ::ffff:aff:ffff",
            "64:ff9b::a00:0 64:ff9b::aff:ffff",
            "64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "100:: 100::ffff:ffff:ffff:ffff",
            "2001:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002:a00:: 2002:aff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "4000:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            for end in block.split(' ') {
                assert!(is_private(end.parse().unwrap()), "{end}");
            }
        }
        for neighbour in [
            "1.0.0.0",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.0",
            "192.0.1.0",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db9::",
            "2002:808:808::",
            "2606:4700:4700::1111",
            "3fff:1000::",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(neighbour.parse().unwrap()), "{neighbour}");
        }
    }

    #[test]
    fn an_operator_can_allow_a_host_or_one_port_of_it() {
        assert!(check("http://127.0.0.1:8080/v1", "127.0.0.1"));
        assert!(check("http://127.0.0.1:8080/v1", "localhost, 127.0.0.1:8080"));
        assert!(!check("http://127.0.0.1:9001/", "127.0.0.1:8080"));
        assert!(check("http://10.0.0.7/", "*"));
        assert!(check("http://localhost:8080/v1", "localhost:8080"));
        assert!(!check("http://localhost:9001/", "localhost:8080"));
    }

    #[tokio::test]
    async fn a_name_with_a_private_address_is_refused_when_it_is_resolved() {
        let name = || "localhost".parse::<Name>().unwrap();
        assert!(PrivateHosts::none().resolve(name()).await.is_err());
        assert!(PrivateHosts::Any.resolve(name()).await.is_ok());
    }
}
