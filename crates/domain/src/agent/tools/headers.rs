//! The headers of calls to a tool's server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ToolError;
use crate::agent::credential::{is_credential_name, is_credential_value};
use crate::agent::secret::{AGENTS_SECRETS, is_secret_name};

/// Headers of one set of tools.
const MAX_HEADERS: usize = 32;

/// Headers that the HTTP client or this product sets.
const RESERVED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where the value of a header comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected text or {\"secret\":\"NAME\"}")]
pub enum HeaderSource {
    /// A value in the definition, for values that are not secret.
    Plain(String),
    /// A secret in the secret store.
    Stored(StoredHeader),
}

/// A header whose value is a stored secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredHeader {
    /// The name of the secret.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
    /// Text to send before the secret, such as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 2048, pattern = "^[ -~]*$")]
    pub prefix: String,
}

pub(super) fn check_headers(
    tool: &str,
    headers: &BTreeMap<String, HeaderSource>,
) -> Result<(), ToolError> {
    if headers.len() > MAX_HEADERS {
        return Err(ToolError::TooManyHeaders(tool.to_owned()));
    }
    headers
        .iter()
        .try_for_each(|(header, source)| check_header(tool, header, source))
}

fn check_header(tool: &str, header: &str, source: &HeaderSource) -> Result<(), ToolError> {
    let (tool, name) = (tool.to_owned(), crate::cut(header, 64));
    let printable =
        |text: &str| text.len() <= 2048 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let text = match source {
        HeaderSource::Plain(value) => value,
        HeaderSource::Stored(stored) => &stored.prefix,
    };
    if !is_header_name(header) || !printable(text) {
        return Err(ToolError::Header { tool, header: name });
    }
    match source {
        HeaderSource::Plain(value) if is_credential_name(header) || is_credential_value(value) => {
            Err(ToolError::Credential { tool, header: name })
        }
        HeaderSource::Stored(stored)
            if !is_secret_name(&stored.secret) || stored.secret.starts_with(AGENTS_SECRETS) =>
        {
            Err(ToolError::Secret {
                tool,
                secret: crate::cut(&stored.secret, 64),
            })
        }
        _ => Ok(()),
    }
}

/// A token (RFC 9110 section 5.6.2) that is not reserved.
pub(super) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&name.len())
        && name.bytes().all(is_token)
        && !RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}
