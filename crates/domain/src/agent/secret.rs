//! Secrets that a deployment's operator keeps, and that agents refer to by name.

use serde_json::{Value, json};

use super::Agent;
use super::check::AGENTS_SECRETS;

/// With the longest prefix still a name that Secrets Manager takes (512 characters).
const LONGEST_NAME: usize = 256;
/// Longest value: longer keys and tokens do not fit in the head of a request.
const LONGEST_VALUE: usize = 4096;

/// Why a secret cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Its name is malformed.
    #[error(
        "The name of a secret has 1 to 256 letters, digits and - _ . / with something other than dots between two slashes"
    )]
    Name,
    /// Its name belongs to an agent.
    #[error("Names that begin with `agents/` are those of the agents' own secrets; choose another")]
    Reserved,
    /// Its value cannot be sent to anybody.
    #[error(
        "Send {{\"value\": \"…\"}} with 1 to 4096 printable ASCII characters and no space at either end: the value of a secret travels in a header"
    )]
    Value,
}

/// A name under which an operator may keep a secret: one that a URL can carry.
pub fn check_kept_name(name: &str) -> Result<(), SecretError> {
    let in_a_url = |part: &str| part.bytes().any(|byte| byte != b'.');
    if !is_secret_name(name) || !name.split('/').all(in_a_url) {
        return Err(SecretError::Name);
    }
    if name.starts_with(AGENTS_SECRETS) { Err(SecretError::Reserved) } else { Ok(()) }
}

/// What can stand in a header (RFC 9110 section 5.5), as it is.
pub fn check_secret_value(value: &str) -> Result<(), SecretError> {
    let printable = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let fits = (1..=LONGEST_VALUE).contains(&value.len());
    if fits && printable && value.trim() == value { Ok(()) } else { Err(SecretError::Value) }
}

/// A name that a definition may refer to.
pub(super) fn is_secret_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

impl Agent {
    /// Whether its definition refers to this secret, anywhere in it.
    pub fn refers_to(&self, secret: &str) -> bool {
        refers_to(&json!(self.draft), secret)
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
    use crate::{AgentDraft, AgentId};

    #[test]
    fn a_kept_name_is_one_that_a_url_can_carry_and_no_agents_own() {
        for good in ["crm", "team/openai", "a.b-c_9", "agents", "agents-of-old/x", &"n".repeat(256)] {
            assert_eq!(check_kept_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "ä", "a?b", "a%2F", "/a", "a/", "a//b", "..", "a/../b", ".", &"n".repeat(257)]
        {
            assert_eq!(check_kept_name(bad), Err(SecretError::Name), "{bad}");
        }
        assert_eq!(check_kept_name("agents/x"), Err(SecretError::Reserved));
    }

    #[test]
    fn a_value_is_what_can_stand_in_a_header() {
        for good in ["sk-1", "Basic dXNlcjpwYXNz", "two words", &"v".repeat(4096)] {
            assert_eq!(check_secret_value(good), Ok(()), "{good}");
        }
        for bad in ["", " ", " a", "a ", "a\n", "a\r\nX-Other: 1", "ä", "\u{7f}", &"v".repeat(4097)] {
            assert_eq!(check_secret_value(bad), Err(SecretError::Value), "{bad:?}");
        }
    }

    #[test]
    fn an_agent_refers_to_the_secrets_that_its_definition_names() {
        let model = json!({ "provider": "extractive", "api_key": { "secret": "crm" } });
        let definition = json!({ "name": "crm2", "prompt": "secret: crm3", "model": model });
        let draft = AgentDraft::from_json(definition.to_string().as_bytes()).unwrap();
        let (agent, _) = Agent::new(AgentId::random([1; 16]), draft).unwrap();
        assert!(agent.refers_to("crm"));
        assert!(!agent.refers_to("crm2") && !agent.refers_to("crm3") && !agent.refers_to("cr"));
        let headers = json!({ "tools": [{ "headers": { "X-Key": { "secret": "of-a-tool" } } }] });
        assert!(refers_to(&headers, "of-a-tool") && !refers_to(&headers, "X-Key"));
    }
}
