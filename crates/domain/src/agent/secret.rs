//! Secrets that the operator stores and that agents refer to by name.

use serde_json::{Value, json};

use super::Agent;

/// Prefix of the secrets that we store for one agent. Operators cannot use it.
pub(super) const AGENTS_SECRETS: &str = "agents/";
/// Together with the longest prefix, within the 512 characters of Secrets Manager.
const LONGEST_NAME: usize = 256;
/// In bytes. Longer values do not fit in the headers of a request. An RSA key of 4096 bits as PEM
/// has 3272.
const LONGEST_VALUE: usize = 4096;

/// Why a secret cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "The name of a secret must have 1 to 256 letters, digits and - _ . /, and no part between slashes may be empty or consist only of dots"
    )]
    Name,
    #[error("Names that start with `agents/` are reserved; choose another name")]
    Reserved,
    #[error(
        "Send {{\"value\": \"…\"}} with 1 to 4096 printable ASCII characters in one line and no space at either end, because secrets are sent in HTTP headers; or with a private key as PEM"
    )]
    Value,
}

/// Checks the name of an operator's secret. It must be usable in a URL path.
pub fn check_secret_name(name: &str) -> Result<(), SecretError> {
    let in_a_url = |part: &str| part.bytes().any(|byte| byte != b'.');
    if !is_secret_name(name) || !name.split('/').all(in_a_url) {
        return Err(SecretError::Name);
    }
    if name.starts_with(AGENTS_SECRETS) {
        Err(SecretError::Reserved)
    } else {
        Ok(())
    }
}

/// Checks that the value can be sent in a header unchanged (RFC 9110 section 5.5), or is a private
/// key as PEM, which is not sent.
pub fn check_secret_value(value: &str) -> Result<(), SecretError> {
    let printable = value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let fits = (1..=LONGEST_VALUE).contains(&value.len());
    if fits && (printable && value.trim() == value || is_pem(value)) {
        Ok(())
    } else {
        Err(SecretError::Value)
    }
}

/// Whether a text has the form of PEM (RFC 7468), which has several lines.
fn is_pem(text: &str) -> bool {
    let lines = text.trim_end_matches(['\r', '\n']);
    lines.starts_with("-----BEGIN ")
        && lines.ends_with("-----")
        && lines
            .bytes()
            .all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~'))
}

/// Whether a definition may refer to a secret of this name.
pub(super) fn is_secret_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

impl Agent {
    /// Whether the definition refers to this secret anywhere.
    pub fn refers_to(&self, secret: &str) -> bool {
        refers_to(&json!(self.definition), secret)
    }
}

fn refers_to(value: &Value, secret: &str) -> bool {
    match value {
        Value::Object(fields) => {
            let named = fields.get("secret").and_then(Value::as_str);
            named == Some(secret) || fields.values().any(|field| refers_to(field, secret))
        }
        Value::Array(items) => items.iter().any(|item| refers_to(item, secret)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentId, Definition};

    #[test]
    fn a_secret_name_is_usable_in_a_url_and_not_reserved() {
        for good in [
            "crm",
            "team/openai",
            "a.b-c_9",
            "agents",
            "agents-of-old/x",
            &"n".repeat(256),
        ] {
            assert_eq!(check_secret_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a b",
            "ä",
            "a?b",
            "a%2F",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".",
            &"n".repeat(257),
        ] {
            assert_eq!(check_secret_name(bad), Err(SecretError::Name), "{bad}");
        }
        assert_eq!(check_secret_name("agents/x"), Err(SecretError::Reserved));
    }

    #[test]
    fn a_secret_value_is_a_valid_header_value_or_a_key() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGH\r\n-----END PRIVATE KEY-----\n";
        for good in [
            "sk-1",
            "Basic dXNlcjpwYXNz",
            "two words",
            &"v".repeat(4096),
            pem,
        ] {
            assert_eq!(check_secret_value(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a\n",
            "a\r\nX-Other: 1",
            "ä",
            "\u{7f}",
            "-----BEGIN PRIVATE KEY-----\nä\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\nX-Other: 1",
            &"v".repeat(4097),
        ] {
            assert_eq!(check_secret_value(bad), Err(SecretError::Value), "{bad:?}");
        }
    }

    #[test]
    fn an_agent_refers_to_the_secrets_named_in_its_definition() {
        let model = json!({ "provider": "extractive", "api_key": { "secret": "crm" } });
        let definition = json!({ "name": "crm2", "prompt": "secret: crm3", "model": model });
        let definition = Definition::from_json(definition.to_string().as_bytes()).unwrap();
        let agent = Agent::new(AgentId::random([1; 16]), definition).unwrap();
        assert!(agent.refers_to("crm"));
        assert!(!agent.refers_to("crm2") && !agent.refers_to("crm3") && !agent.refers_to("cr"));
        let headers = json!({ "tools": [{ "headers": { "X-Key": { "secret": "of-a-tool" } } }] });
        assert!(refers_to(&headers, "of-a-tool") && !refers_to(&headers, "X-Key"));
    }
}
