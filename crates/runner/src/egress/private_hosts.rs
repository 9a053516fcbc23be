//! Decides which addresses outgoing calls may reach. Private addresses are refused unless the
//! operator allows the host. Services that provide this machine's credentials or run this
//! process are always refused.
//!
//! The check runs in the resolver that the connection uses, on the addresses that a name
//! resolves to. So a name cannot resolve differently for the check and for the connection
//! (DNS rebinding).

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use store::env::{Env, EnvError};
use url::{Host, Url};

use super::addresses::{is_private, unmapped};

/// Services of cloud providers that return credentials to every caller: the instance metadata
/// service (EC2, Azure, Google), the credentials of containers (ECS, then EKS), and the
/// metadata service of Alibaba Cloud.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>,
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
const CREDENTIAL_SERVICES: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];
/// Variables with the addresses of services of this process: Lambda's Runtime and Extensions
/// APIs, the X-Ray daemon, and credential providers.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const OWN_SERVICES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_XRAY_DAEMON_ADDRESS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

const ALLOWED_PRIVATE_HOSTS: &str = "AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS";

/// The private hosts that outgoing calls may reach.
#[derive(Clone, Debug)]
pub struct PrivateHosts {
    allowed: Allowed,
    own_services: Arc<[OwnService]>,
}

#[derive(Clone, Debug)]
enum Allowed {
    Any,
    Listed(Arc<[AllowedHost]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedHost {
    /// As in a URL, without the brackets of an IPv6 address.
    host: String,
    /// `None` allows every port.
    port: Option<u16>,
}

/// A service that runs this process. A caller that reaches it can take the events of this
/// process, respond to them or read its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnService {
    /// `None` means any private address, because only the name is known.
    address: Option<IpAddr>,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedAddress {
    #[error("{0} is a private address; allow it with AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS")]
    Private(String),
    #[error(
        "{0} may be a service that holds credentials or runs this process; it cannot be allowed"
    )]
    Reserved(String),
}

/// Finds a refusal among the causes of an error.
pub(crate) fn refused_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e RefusedAddress> {
    match error.downcast_ref() {
        Some(refused) => Some(refused),
        None => refused_in(error.source()?),
    }
}

impl PrivateHosts {
    /// `AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS`: `host` or `host:port`, comma-separated, or
    /// `*` for all. `unset` applies if the variable is not set.
    pub fn from_env(env: &Env, unset: Self) -> Result<Self, EnvError> {
        let allowed = match env.optional(ALLOWED_PRIVATE_HOSTS) {
            Some(list) => Allowed::parse(&list)?,
            None => unset.allowed,
        };
        let named = OWN_SERVICES
            .into_iter()
            .filter_map(|name| env.optional(name));
        Ok(Self {
            allowed,
            own_services: named.flat_map(|text| OwnService::parse(&text)).collect(),
        })
    }

    /// Allows all private hosts, for a server on the operator's machine.
    pub fn any() -> Self {
        Self {
            allowed: Allowed::Any,
            own_services: Arc::new([]),
        }
    }

    pub fn none() -> Self {
        Self {
            allowed: Allowed::Listed(Arc::new([])),
            own_services: Arc::new([]),
        }
    }

    /// Refuses a URL whose host is a private address. Names are checked when they are
    /// resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), RefusedAddress> {
        let port = url.port_or_known_default();
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => unmapped(address),
            Some(Host::Domain(name)) => return self.check_name(name, port),
            None => return Ok(()),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if CREDENTIAL_SERVICES.contains(&address) || self.is_own_service(address, port) {
            return Err(RefusedAddress::Reserved(host.to_owned()));
        }
        if is_private(address) && !self.allowed.allows(host, port) {
            return Err(RefusedAddress::Private(host.to_owned()));
        }
        Ok(())
    }

    /// A name that is allowed for one port only is refused at any other port. Whether its
    /// address is private is known only when it is resolved. The resolver does not know the
    /// port, so a name that may be private is refused here at the port of an own service.
    fn check_name(&self, name: &str, port: Option<u16>) -> Result<(), RefusedAddress> {
        if !self.allowed.allows(name, None) {
            return Ok(());
        }
        if self
            .own_services
            .iter()
            .any(|service| Some(service.port) == port)
        {
            return Err(RefusedAddress::Reserved(name.to_owned()));
        }
        if !self.allowed.allows(name, port) {
            return Err(RefusedAddress::Private(name.to_owned()));
        }
        Ok(())
    }

    fn is_own_service(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.own_services
            .iter()
            .any(|service| Some(service.port) == port && service.may_be_at(address))
    }
}

impl Allowed {
    fn parse(list: &str) -> Result<Self, EnvError> {
        let entries = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        if entries.clone().any(|entry| entry == "*") {
            return Ok(Self::Any);
        }
        let hosts = entries.map(|entry| {
            AllowedHost::parse(entry).ok_or_else(|| EnvError::Malformed {
                name: ALLOWED_PRIVATE_HOSTS,
                expected:
                    "`*`, or hosts as `host` or `host:port`, comma-separated, without ranges, schemes or \
                           paths"
                        .to_owned(),
                found: entry.to_owned(),
            })
        });
        Ok(Self::Listed(hosts.collect::<Result<_, _>>()?))
    }

    fn allows(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(hosts) => hosts.iter().any(|allowed| allowed.matches(host, port)),
        }
    }
}

impl AllowedHost {
    /// Parsed as in a URL, so that all spellings of an address are equal.
    fn parse(entry: &str) -> Option<Self> {
        let named = |host: &str, port| {
            // A name in a URL may contain an asterisk.
            let host = Host::parse(host)
                .ok()
                .filter(|_| !host.contains('*'))?
                .to_string();
            Some(Self {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
            })
        };
        if let Ok(address) = entry.parse::<Ipv6Addr>() {
            return named(&format!("[{address}]"), None);
        }
        match entry.rsplit_once(':') {
            Some((host, port)) if !entry.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0)?;
                named(host, Some(port))
            }
            _ => named(entry, None),
        }
    }

    /// Without a `port`, whether the host is allowed at any port.
    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        self.host == host && (self.port.is_none() || port.is_none() || self.port == port)
    }
}

impl OwnService {
    /// Parses `host:port`, a URL, or several of them separated by spaces, each with `tcp:` or
    /// `udp:` in front, as for the X-Ray daemon.
    fn parse(text: &str) -> Vec<Self> {
        let addresses = text.split_whitespace();
        let addresses =
            addresses.map(|text| text.trim_start_matches("tcp:").trim_start_matches("udp:"));
        let url = |text: &str| match text.contains("://") {
            true => Url::parse(text).ok(),
            false => Url::parse(&format!("http://{text}")).ok(),
        };
        addresses
            .filter_map(url)
            .filter_map(|url| Self::at(&url))
            .collect()
    }

    fn at(url: &Url) -> Option<Self> {
        let address = match url.host()? {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(unmapped(address)),
            Host::Domain(_) => None,
        };
        let address = address.filter(|address| !address.is_unspecified());
        Some(Self {
            address,
            port: url.port_or_known_default()?,
        })
    }

    /// The unspecified address connects to loopback (`ip(7)`), and all of 127.0.0.0/8 is
    /// loopback.
    fn may_be_at(&self, address: IpAddr) -> bool {
        match self.address {
            None => is_private(address),
            Some(own) if own.is_loopback() => address.is_loopback() || address.is_unspecified(),
            Some(own) => own == address,
        }
    }
}

impl Resolve for PrivateHosts {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let host = name.as_str().to_lowercase();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            check_resolved(&allowed, &host, &found)?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

fn check_resolved(
    allowed: &Allowed,
    host: &str,
    found: &[SocketAddr],
) -> Result<(), RefusedAddress> {
    let addresses = || {
        found.iter().map(|address| match address.ip() {
            IpAddr::V6(address) => unmapped(address),
            address @ IpAddr::V4(_) => address,
        })
    };
    if addresses().any(|address| CREDENTIAL_SERVICES.contains(&address)) {
        return Err(RefusedAddress::Reserved(host.to_owned()));
    }
    if addresses().any(is_private) && !allowed.allows(host, None) {
        return Err(RefusedAddress::Private(host.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, hosts: &str) -> bool {
        hosts_of(&[("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS", hosts)])
            .check(&Url::parse(url).unwrap())
            .is_ok()
    }

    fn hosts_of(variables: &[(&str, &str)]) -> PrivateHosts {
        let set: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let env = Env::from_fn(move |wanted| {
            Some(set.iter().find(|(name, _)| name == wanted)?.1.clone())
        });
        PrivateHosts::from_env(&env, PrivateHosts::none()).unwrap()
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
            // Other spellings.
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

    #[test]
    fn an_operator_can_allow_a_host_or_one_port_of_it() {
        assert!(check("http://127.0.0.1:8080/v1", "127.0.0.1"));
        assert!(check(
            "http://127.0.0.1:8080/v1",
            "localhost, 127.0.0.1:8080"
        ));
        assert!(!check("http://127.0.0.1:9001/", "127.0.0.1:8080"));
        assert!(check("http://10.0.0.7/", "*"));
        assert!(check("http://localhost:8080/v1", "localhost:8080"));
        assert!(!check("http://localhost:9001/", "localhost:8080"));
        for (url, allowed) in [
            ("http://[::1]:8080/", "::1"),
            ("http://[::1]:8080/", "[::1]"),
            ("http://[::1]:8080/", "[0:0::1]:8080"),
            ("http://127.0.0.1/", "127.1"),
            ("http://LOCALHOST./", "LocalHost.,"),
            ("http://model_1.internal:11434/", "model_1.internal:11434"),
        ] {
            assert!(check(url, allowed), "{url} with {allowed}");
        }
        assert!(!check("http://[::1]:9001/", "[::1]:8080"));
    }

    #[test]
    fn a_malformed_list_is_refused_with_its_malformed_entry() {
        for malformed in [
            "10.0.0.0/8",
            "a b",
            "x:99999",
            "x:0",
            "x:",
            ":80",
            "x:-1",
            "http://127.0.0.1:1",
            "127.0.0.1/v1",
            "user@x",
            "[::1",
            "::1::",
            "*.internal",
            "256.0.0.1",
        ] {
            let refused = Allowed::parse(&format!("localhost, {malformed}"))
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS must be `*`, or"),
                "{refused}"
            );
            assert!(
                refused.ends_with(&format!("not {malformed:?}")),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_with_a_private_address_is_refused_when_it_is_resolved() {
        let name = || "localhost".parse::<Name>().unwrap();
        assert!(PrivateHosts::none().resolve(name()).await.is_err());
        assert!(PrivateHosts::any().resolve(name()).await.is_ok());
    }

    #[test]
    fn a_credential_service_is_refused_whatever_is_allowed() {
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9.0xfe.0xa9.0xfe",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "169.254.170.2",
            "169.254.170.23",
            "[fd00:ec2::254]",
            "[fd00:0ec2:0:0::254]",
            "[fd00:ec2::23]",
            "100.100.100.200",
        ] {
            for allowed in ["*", "169.254.169.254,fd00:ec2::254,169.254.170.2:80"] {
                for url in [
                    format!("http://{host}/latest/meta-data"),
                    format!("http://{host}:8080/"),
                ] {
                    assert!(!check(&url, allowed), "{url} with {allowed}");
                }
            }
        }
        assert!(
            check("http://169.254.1.1/", "*"),
            "another link-local address can be allowed"
        );
    }

    #[test]
    fn a_name_that_resolves_to_a_credential_service_is_refused_whatever_is_allowed() {
        for address in [
            "169.254.169.254:0",
            "[fd00:ec2::254]:0",
            "[::ffff:169.254.170.2]:0",
        ] {
            let found = ["10.0.0.1:0".parse().unwrap(), address.parse().unwrap()];
            let refused = check_resolved(&Allowed::Any, "metadata.example", &found);
            assert_eq!(
                refused,
                Err(RefusedAddress::Reserved("metadata.example".to_owned())),
                "{address}"
            );
        }
        assert_eq!(
            check_resolved(&Allowed::Any, "a.example", &["10.0.0.1:0".parse().unwrap()]),
            Ok(())
        );
    }

    #[test]
    fn the_services_that_run_this_process_are_refused_whatever_is_allowed() {
        const RUNTIME: (&str, &str) = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
        const XRAY: (&str, &str) = (
            "AWS_XRAY_DAEMON_ADDRESS",
            "tcp:169.254.79.129:2000 udp:127.0.0.1:2001",
        );
        const KEYS: (&str, &str) = (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://localhost:9002/keys",
        );
        let listed = "127.0.0.1,localhost,0.0.0.0,::1,169.254.79.129,10.0.0.1,model.internal";
        for allowed in ["*", listed] {
            let hosts = hosts_of(&[
                RUNTIME,
                XRAY,
                KEYS,
                ("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS", allowed),
            ]);
            let check = |url: &str| hosts.check(&Url::parse(url).unwrap());
            for url in [
                "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
                "http://127.0.0.2:9001/",
                "http://2130706433:9001/",
                "http://0.0.0.0:9001/",
                "http://[::1]:9001/",
                "http://[::]:9001/",
                "http://[::ffff:127.0.0.1]:9001/",
                // A name may resolve to the service.
                "http://localhost:9001/",
                "http://LOCALHOST:9001/",
                "http://model.internal:9001/",
                "http://169.254.79.129:2000/",
                "http://127.0.0.1:2001/",
                // Only the name of this one is known.
                "http://127.0.0.1:9002/keys",
                "http://10.0.0.1:9002/keys",
            ] {
                assert!(
                    matches!(check(url), Err(RefusedAddress::Reserved(_))),
                    "{url} with {allowed}"
                );
            }
            for url in [
                "http://127.0.0.1:8080/v1",
                "http://localhost:8080/v1",
                "http://10.0.0.1:9001/v1",
                "http://model.internal/v1",
                "https://8.8.8.8:9001/v1",
            ] {
                assert_eq!(check(url), Ok(()), "{url} with {allowed}");
            }
        }
        // A public name, where no private host is allowed.
        assert_eq!(
            hosts_of(&[RUNTIME]).check(&Url::parse("https://a.example:9001/").unwrap()),
            Ok(())
        );
    }
}
