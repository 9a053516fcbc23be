//! The challenge of a server that requires a token: the header `WWW-Authenticate` of a 401
//! (RFC 6750 section 3, RFC 9728 section 5.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Most bytes of a header that are read.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The parameters of a `Bearer` challenge that a client without a token needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The URL of the protected resource metadata.
    pub(super) resource_metadata: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        let mut challenge = Self::default();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value.to_str().unwrap_or_default();
            if text.len() <= MAX_HEADER_BYTES {
                challenge.add(text);
            }
        }
        challenge
    }

    /// Adds the parameters of a header, which may have several challenges. Commas separate them
    /// and their parameters.
    fn add(&mut self, text: &str) {
        let mut is_bearer = false;
        for part in split_unquoted(text) {
            let (before, value) = part.split_once('=').unwrap_or((part, ""));
            // The first parameter of a challenge follows its scheme.
            let name = match before.trim().rsplit_once(' ') {
                Some((scheme, name)) => {
                    is_bearer = scheme.trim().eq_ignore_ascii_case("bearer");
                    name
                }
                None if value.is_empty() => {
                    is_bearer = before.trim().eq_ignore_ascii_case("bearer");
                    continue;
                }
                None => before.trim(),
            };
            let place = match name.to_ascii_lowercase().as_str() {
                "resource_metadata" => &mut self.resource_metadata,
                "scope" => &mut self.scope,
                _ => continue,
            };
            if is_bearer && place.is_none() {
                *place = Some(unquoted(value.trim()));
            }
        }
    }
}

/// Splits at commas that are not in quotes.
fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

/// A token or a quoted string (RFC 9110 section 5.6.4).
fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let (mut text, mut is_escaped) = (String::new(), false);
    for character in quoted.chars() {
        match character {
            '\\' if !is_escaped => is_escaped = true,
            '"' if !is_escaped => break,
            character => {
                text.push(character);
                is_escaped = false;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_bearer_challenge_are_read() {
        let url = "https://mcp.example/.well-known/oauth-protected-resource";
        let quoted = format!("resource_metadata=\"{url}\"");
        for (text, metadata, scope) in [
            (format!("Bearer {quoted}"), Some(url), None),
            (
                format!("bearer realm=\"a, b\", {quoted}, scope=\"r w\""),
                Some(url),
                Some("r w"),
            ),
            (
                format!("Basic realm=\"x\", Bearer error=\"e\",{quoted}"),
                Some(url),
                None,
            ),
            (
                format!("Bearer {quoted}, Basic scope=\"no\""),
                Some(url),
                None,
            ),
            (format!("Bearer , {quoted}"), Some(url), None),
            (
                "Bearer RESOURCE_METADATA=x, scope=\"a \\\"b\"".to_owned(),
                Some("x"),
                Some("a \"b"),
            ),
            (format!("Basic {quoted}"), None, None),
            (format!("DPoP, {quoted}"), None, None),
            ("Bearer".to_owned(), None, None),
            ("Bearer scope=\"unclosed".to_owned(), None, Some("unclosed")),
            ("=,=\",\"\\".to_owned(), None, None),
        ] {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, text.parse().unwrap())]);
            let challenge = Challenge::of_response(&headers);
            assert_eq!(challenge.resource_metadata.as_deref(), metadata, "{text}");
            assert_eq!(challenge.scope.as_deref(), scope, "{text}");
        }
    }
}
