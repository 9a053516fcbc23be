//! Which headers and query parameters carry credentials, by their names and values.
//! Those are not stored in clear in a definition, which everyone who manages sees.

use url::Url;

/// Words of a name whose value lets its holder do something, wherever they stand.
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
/// The same, as a whole part of a name only: `X-Author` and `compass` are no credentials.
const PARTS: [&str; 10] = ["auth", "hmac", "pass", "passcode", "pat", "psk", "pw", "sas", "sid", "sig"];
/// In a query these are credentials, such as the `code` of an Azure function. A header
/// `X-Country-Code` is none.
const QUERY_NAMES: [&str; 3] = ["code", "access-code", "auth-code"];
/// Schemes with which a header's value states a credential, whatever its name
/// (<https://www.iana.org/assignments/http-authschemes>).
const SCHEMES: [&str; 6] = ["aws4-hmac-sha256", "basic", "bearer", "digest", "hawk", "negotiate"];

/// Whether a header, or a value in a query, is a credential by its name.
pub(super) fn is_credential_name(name: &str) -> bool {
    let name = with_hyphens(name);
    WORDS.iter().any(|word| name.contains(word)) || name.split('-').any(is_credential_part)
}

/// Whether a header's value is a credential, such as `Bearer x`.
pub(super) fn is_credential_value(value: &str) -> bool {
    let scheme = value.trim().split_once(' ').map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| SCHEMES.contains(&scheme.as_str()))
}

/// Whether a query holds a credential. Some servers take `;` between pairs too.
pub(super) fn has_query_credential(query: &str) -> bool {
    let names = query.split(';').flat_map(|pairs| url::form_urlencoded::parse(pairs.as_bytes()));
    names
        .into_iter()
        .any(|(name, _)| is_credential_name(&name) || QUERY_NAMES.contains(&with_hyphens(&name).as_str()))
}

/// Whether a URL holds a credential before its host, in its query or in its fragment.
pub(super) fn has_url_credential(url: &Url) -> bool {
    !url.username().is_empty()
        || url.password().is_some()
        || [url.query(), url.fragment()].into_iter().flatten().any(has_query_credential)
}

fn is_credential_part(part: &str) -> bool {
    PARTS.contains(&part) || (part.ends_with("key") && !is_word_in_key(part))
}

/// Words that end in `key` and are no keys.
fn is_word_in_key(part: &str) -> bool {
    ["donkey", "hockey", "jockey", "monkey", "turkey", "whiskey"].contains(&part)
}

/// `accessKey`, `access_key`, `access.key` and `Access-Key` are one name.
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
    fn what_carries_a_credential_is_known_by_its_name() {
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
    fn a_url_carries_a_credential_before_its_host_in_its_query_or_in_its_fragment() {
        let has_credential = |url: &str| has_url_credential(&Url::parse(url).unwrap());
        for url in [
            "https://a.example/f?code=x",
            "https://a.example/?v=1&CODE=x",
            "https://a.example/?v=1;code=x",
            "https://a.example/?%6bey=x",
            "https://a.example/?key",
            "https://a.example/?pwd=x",
            "https://a.example/#access_token=x",
            "https://user@a.example/",
            "https://:x@a.example/",
        ] {
            assert!(has_credential(url), "{url}");
        }
        for url in ["https://a.example/v1?api-version=2024-10-21", "https://a.example/?country_code=de"] {
            assert!(!has_credential(url), "{url}");
        }
    }

    #[test]
    fn a_header_may_carry_a_credential_under_any_name() {
        for value in ["Bearer x", "basic dXNlcjpwYXNz", " Digest a=b", "AWS4-HMAC-SHA256 Credential=x"] {
            assert!(is_credential_value(value), "{value}");
        }
        for value in ["", "Basic", "bearers of news", "application/json", "de, en"] {
            assert!(!is_credential_value(value), "{value}");
        }
    }
}
