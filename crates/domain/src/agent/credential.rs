//! Detects headers and query parameters that carry credentials, by their names and values.
//! Credentials are not stored in clear text in a definition, because everyone with
//! management access can read it.

use url::Url;

/// A header or parameter is a credential if its name contains one of these.
const WORDS: [&str; 16] = [
    "accesskey",
    "apikey",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
    "userpass",
];
/// Matched against whole parts of a name only: `X-Author` and `compass` are not credentials.
const PARTS: [&str; 10] = [
    "auth", "hmac", "pass", "passcode", "pat", "psk", "pw", "sas", "sid", "sig",
];
/// Credentials as query parameters only, such as the `code` of an Azure function. The header
/// `X-Country-Code` is not one.
const QUERY_NAMES: [&str; 3] = ["code", "access-code", "auth-code"];
/// Authentication schemes that precede one token or parameters in a header's value
/// (<https://www.iana.org/assignments/http-authschemes>). The header's name does not matter.
const TOKEN_SCHEMES: [&str; 4] = ["api-key", "apikey", "bearer", "token"];
/// Schemes that precede a Base64 text.
const BASE64_SCHEMES: [&str; 2] = ["basic", "negotiate"];
/// Schemes that precede parameters, such as `username="x"`.
const PARAMETER_SCHEMES: [&str; 3] = ["aws4-hmac-sha256", "digest", "hawk"];

/// Whether the name of a header or of a query parameter is that of a credential.
pub(super) fn is_credential_name(name: &str) -> bool {
    let name = with_hyphens(name);
    WORDS.iter().any(|word| name.contains(word)) || name.split('-').any(is_credential_part)
}

/// Whether a header's value is a credential, such as `Bearer x`. `Basic tier` and `Digest
/// weekly` are not.
pub(super) fn is_credential_value(value: &str) -> bool {
    let Some((scheme, rest)) = value.trim().split_once(' ') else {
        return false;
    };
    let (scheme, rest) = (scheme.to_ascii_lowercase(), rest.trim());
    let is_one_of = |schemes: &[&str]| schemes.contains(&scheme.as_str());
    let (is_one_token, has_parameters) = (!rest.contains(' '), rest.contains('='));
    (is_one_of(&TOKEN_SCHEMES) && (is_one_token || has_parameters))
        || (is_one_of(&BASE64_SCHEMES) && is_one_token && !is_plain_word(rest))
        || (is_one_of(&PARAMETER_SCHEMES) && has_parameters)
}

/// The first query parameter that holds a credential. Some servers also accept `;` between
/// parameters.
pub(super) fn credential_in_query(query: &str) -> Option<String> {
    let names = query
        .split(';')
        .flat_map(|pairs| url::form_urlencoded::parse(pairs.as_bytes()));
    let is_credential =
        |name: &str| is_credential_name(name) || QUERY_NAMES.contains(&with_hyphens(name).as_str());
    names
        .map(|(name, _)| name)
        .find(|name| is_credential(name))
        .map(|name| crate::cut(&name, 64))
}

/// The first parameter of a URL's query or fragment that holds a credential.
pub(super) fn credential_in_url(url: &Url) -> Option<String> {
    [url.query(), url.fragment()]
        .into_iter()
        .flatten()
        .find_map(credential_in_query)
}

/// Whether a URL contains a user name or a password before its host.
pub(super) fn has_user_info(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Lower-case letters and hyphens, after any first character.
fn is_plain_word(text: &str) -> bool {
    text.bytes()
        .skip(1)
        .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn is_credential_part(part: &str) -> bool {
    PARTS.contains(&part) || (part.ends_with("key") && !is_word_in_key(part))
}

/// Words that end in `key` but do not mean a key.
fn is_word_in_key(part: &str) -> bool {
    ["donkey", "hockey", "jockey", "monkey", "turkey", "whiskey"].contains(&part)
}

/// Normalizes a name: `accessKey`, `access_key`, `access.key` and `Access-Key` are equal.
fn with_hyphens(name: &str) -> String {
    let mut hyphenated = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for character in name.chars() {
        if after_lower && character.is_ascii_uppercase() {
            hyphenated.push('-');
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        match character.is_ascii_alphanumeric() {
            true => hyphenated.push(character.to_ascii_lowercase()),
            false => hyphenated.push('-'),
        }
    }
    hyphenated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_detected_by_name() {
        for name in [
            "Authorization",
            "X-Auth-Key",
            "Ocp-Apim-Subscription-Key",
            "X-Session-Id",
            "X-Auth",
            "X-Pass",
            "x_pass",
            "userPass",
            "X-Pwd",
            "pwd",
            "dbpwd",
            "passwd",
            "passphrase",
            "key",
            "subscriptionkey",
            "accessKey",
            "AccessKeyId",
            "X-AccessKey",
            "access.key",
            "PRIVATE-TOKEN",
            "sig",
            "jwt",
            "X-API-KEY",
            "X-Hub-Signature-256",
        ] {
            assert!(is_credential_name(name), "{name}");
        }
        for name in [
            "Accept",
            "X-GitHub-Api-Version",
            "X-Author",
            "Keyboard",
            "per_page",
            "X-Tenant",
            "X-Country-Code",
            "compass",
            "bypassed",
            "monkey",
            "X-Patient",
            "signal",
            "design",
        ] {
            assert!(!is_credential_name(name), "{name}");
        }
    }

    #[test]
    fn credentials_in_the_query_or_fragment_of_a_url_are_detected_by_name() {
        let found = |url: &str| credential_in_url(&Url::parse(url).unwrap());
        for (url, name) in [
            ("https://a.example/f?code=x", "code"),
            ("https://a.example/?v=1&CODE=x", "CODE"),
            ("https://a.example/?v=1;code=x", "code"),
            ("https://a.example/?%6bey=x", "key"),
            ("https://a.example/?key", "key"),
            ("https://a.example/?pwd=x", "pwd"),
            ("https://a.example/#access_token=x", "access_token"),
        ] {
            assert_eq!(found(url).as_deref(), Some(name), "{url}");
        }
        for url in [
            "https://a.example/v1?api-version=2024-10-21",
            "https://a.example/?country_code=de",
        ] {
            assert_eq!(found(url), None, "{url}");
        }
    }

    #[test]
    fn a_user_or_a_password_in_a_url_is_detected() {
        let has = |url: &str| has_user_info(&Url::parse(url).unwrap());
        assert!(has("https://user@a.example/") && has("https://:x@a.example/"));
        assert!(!has("https://a.example/@user"));
    }

    #[test]
    fn credentials_in_header_values_are_detected_whatever_the_header_name() {
        for value in [
            "Bearer x",
            "Token abc",
            "ApiKey abc",
            "Token token=\"abc\", nonce=\"x\"",
            "basic dXNlcjpwYXNz",
            "Basic  dTpw",
            " Digest a=b",
            "Digest username=\"x\", realm=\"y\"",
            "AWS4-HMAC-SHA256 Credential=x, Signature=y",
        ] {
            assert!(is_credential_value(value), "{value}");
        }
        for value in [
            "",
            "Basic",
            "Basic tier",
            "Basic Tier",
            "Basic plan A",
            "Digest weekly",
            "Bearer of news",
            "Token of thanks",
            "bearers of news",
            "application/json",
            "de, en",
        ] {
            assert!(!is_credential_value(value), "{value}");
        }
    }
}
