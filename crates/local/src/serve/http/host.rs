//! The `Host` header (RFC 9112 section 3.2).

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Version};

/// Whether there is exactly one valid `Host`. Only HTTP/1.0 may omit it. It is required with a
/// request target in absolute form, too.
pub(super) fn is_host_valid(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok_and(is_authority),
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` of RFC 3986. In HTTP the host must not be empty.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let Some((address, rest)) = literal.split_once(']') else {
                return false;
            };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (address, port),
                None if rest.is_empty() => (address, ""),
                None => return false,
            }
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            if !host.bytes().all(is_name_byte) {
                return false;
            }
            (host, port)
        }
    };
    !host.is_empty() && (port.is_empty() || is_port(port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// A byte of a `reg-name`: unreserved, sub-delims, or the percent sign of an escape.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_an_address_with_or_without_a_port_is_valid() {
        for host in [
            "x",
            "localhost:7091",
            "127.0.0.1:80",
            "a.example",
            "a.example:",
            "[::1]",
            "[::1]:80",
            "%61",
        ] {
            assert!(is_authority(host), "{host}");
        }
    }

    #[test]
    fn any_other_host_is_not_valid() {
        for host in [
            "", ":80", "a b", "a, b", "a/b", "user@a", "a:b", "a:80:80", "a:65536", "a:-1", "a?b",
            "a#b", "[::1", "[::1]80", "[a]", "[]", "::1", "a\\b", "<a>", "\u{e9}",
        ] {
            assert!(!is_authority(host), "{host:?}");
        }
    }

    #[test]
    fn http_1_1_requires_exactly_one_host_and_http_1_0_allows_at_most_one() {
        let headers = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, axum::http::HeaderValue::from_static(host));
            }
            headers
        };
        assert!(is_host_valid(Version::HTTP_11, &headers(&["x"])));
        assert!(is_host_valid(Version::HTTP_10, &headers(&["x"])));
        assert!(is_host_valid(Version::HTTP_10, &headers(&[])));
        assert!(!is_host_valid(Version::HTTP_11, &headers(&[])));
        assert!(!is_host_valid(Version::HTTP_11, &headers(&["x", "x"])));
        assert!(!is_host_valid(Version::HTTP_10, &headers(&["x", "y"])));
    }
}
