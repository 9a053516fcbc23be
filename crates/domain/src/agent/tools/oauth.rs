//! Access tokens for a tool's server, by the OAuth 2 grant for client credentials
//! (RFC 6749 section 4.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::plain_url;
use super::{HeaderSource, ToolError};
use crate::agent::SecretName;
use crate::agent::credential::credential_in_url;
use crate::agent::secret::{AGENTS_SECRETS, is_secret_name};

const MAX_CLIENT_ID_BYTES: usize = 512;
const MAX_SCOPE_BYTES: usize = 1024;

/// How to get access tokens for a tool's server. Either `client_secret` or `client_assertion` is
/// required.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// The grant.
    pub grant: OAuthGrant,
    /// The id of the client at the authorization server.
    #[schema(min_length = 1, max_length = 512, pattern = "^[ -~]+$")]
    pub client_id: String,
    /// The client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretName>,
    /// A JWT that is signed with the client's private key, in place of a secret (RFC 7523).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_assertion: Option<ClientAssertion>,
    /// The scopes to ask for, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 1024)]
    pub scope: Option<String>,
    /// The URL of the token endpoint. Required for an HTTP API. An MCP server names it if it is
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048, pattern = "^https?://")]
    pub token_url: Option<String>,
}

/// The OAuth 2 grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OAuthGrant {
    ClientCredentials,
}

/// A signed JWT that authenticates a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAssertion {
    /// The name of the secret with the private key as PEM.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    pub secret: String,
    /// The signature algorithm. It must match the key.
    pub algorithm: SigningAlgorithm,
}

/// The signature algorithm of a JWT (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

/// Why the `oauth` of a tool is not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum OAuthConfigError {
    #[error(
        "`oauth` of the tool `{0}` needs either `client_secret` or `client_assertion`, and not both"
    )]
    Credential(String),
    #[error("`oauth.client_id` of the tool `{0}` must be 1 to 512 printable ASCII characters")]
    ClientId(String),
    #[error(
        "`oauth.scope` of the tool `{0}` must be scopes of printable ASCII characters without quotes and backslashes, separated by single spaces, of at most 1024 characters"
    )]
    Scope(String),
    #[error(
        "`oauth.token_url` of the tool `{0}` must be the URL of the token endpoint; only an MCP server can name its own"
    )]
    NoTokenUrl(String),
    #[error(
        "`oauth.token_url` of the tool `{0}` must be an absolute http or https URL without credentials (also in its query) or fragment, of at most 2048 characters"
    )]
    TokenUrl(String),
    #[error(
        "The tool `{0}` has `oauth` and the header `Authorization`; remove one of them, because `oauth` sends its token in this header"
    )]
    AuthorizationHeader(String),
}

/// Whether a server can name its token endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenEndpointDiscovery {
    Supported,
    Unsupported,
}

impl OAuth {
    /// The name of the secret with the client's credential.
    pub fn secret_name(&self) -> &str {
        match (&self.client_assertion, &self.client_secret) {
            (Some(assertion), _) => &assertion.secret,
            (None, Some(name)) => &name.secret,
            // The check refuses such a definition.
            (None, None) => "",
        }
    }
}

impl SigningAlgorithm {
    /// The name in the header of a JWT.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

pub(super) fn check_oauth(
    tool: &str,
    oauth: Option<&OAuth>,
    headers: &BTreeMap<String, HeaderSource>,
    discovery: TokenEndpointDiscovery,
) -> Result<(), ToolError> {
    let Some(oauth) = oauth else { return Ok(()) };
    let wrong = |error: fn(String) -> OAuthConfigError| Err(error(tool.to_owned()).into());
    match (&oauth.client_secret, &oauth.client_assertion) {
        (Some(_), None) | (None, Some(_)) => {}
        _ => return wrong(OAuthConfigError::Credential),
    }
    let secret = oauth.secret_name();
    if !is_secret_name(secret) || secret.starts_with(AGENTS_SECRETS) {
        return Err(ToolError::Secret {
            tool: tool.to_owned(),
            secret: crate::cut(secret, 64),
        });
    }
    let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if !(1..=MAX_CLIENT_ID_BYTES).contains(&oauth.client_id.len())
        || !oauth.client_id.bytes().all(is_printable)
    {
        return wrong(OAuthConfigError::ClientId);
    }
    if !oauth.scope.as_deref().is_none_or(is_scope) {
        return wrong(OAuthConfigError::Scope);
    }
    match &oauth.token_url {
        None if discovery == TokenEndpointDiscovery::Unsupported => {
            return wrong(OAuthConfigError::NoTokenUrl);
        }
        Some(url) if plain_url(url).is_none_or(|url| credential_in_url(&url).is_some()) => {
            return wrong(OAuthConfigError::TokenUrl);
        }
        _ => {}
    }
    if headers
        .keys()
        .any(|name| name.eq_ignore_ascii_case("authorization"))
    {
        return wrong(OAuthConfigError::AuthorizationHeader);
    }
    Ok(())
}

/// Whether a text is a list of scopes (RFC 6749 section 3.3).
pub fn is_scope(text: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    text.len() <= MAX_SCOPE_BYTES && text.split(' ').all(is_token)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::agent::Definition;
    use crate::{Agent, AgentId};

    fn save(tool: &Value) -> Result<(), String> {
        let definition = json!({ "name": "a", "tools": [tool] }).to_string();
        let definition =
            Definition::from_json(definition.as_bytes()).map_err(|error| error.to_string())?;
        Agent::new(AgentId::random([1; 16]), definition)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn with(tool: &Value, changes: &Value) -> Value {
        let mut tool = tool.clone();
        for (field, value) in changes.as_object().unwrap() {
            tool["oauth"][field] = value.clone();
        }
        tool
    }

    fn assertion() -> Value {
        json!({ "secret": "shop-key", "algorithm": "ES256" })
    }

    /// Changes of a valid `oauth`, and what is wrong with each.
    fn invalid() -> Vec<(Value, &'static str)> {
        let both = "needs either `client_secret` or `client_assertion`";
        vec![
            (json!({ "client_secret": null }), both),
            (json!({ "client_assertion": assertion() }), both),
            (
                json!({ "client_secret": "s3cret" }),
                "`client_secret` of `oauth` of a tool",
            ),
            (
                json!({ "client_secret": ["shop"] }),
                "must be a JSON object",
            ),
            (
                json!({ "client_secret": { "secret": "a b" } }),
                "The secret `a b`",
            ),
            (
                json!({ "client_secret": { "secret": "agents/x" } }),
                "must not start with `agents/`",
            ),
            (
                json!({ "client_assertion": { "secret": "k", "algorithm": "HS256" } }),
                "unknown variant `HS256`, expected `ES256` or `RS256`",
            ),
            (
                json!({ "grant": "password" }),
                "unknown variant `password`, expected `client_credentials`",
            ),
            (json!({ "client_id": "" }), "`oauth.client_id`"),
            (json!({ "client_id": "ä" }), "`oauth.client_id`"),
            (json!({ "scope": "" }), "`oauth.scope`"),
            (json!({ "scope": "a  b" }), "`oauth.scope`"),
            (json!({ "scope": "a\"b" }), "`oauth.scope`"),
            (
                json!({ "token_url": "auth.example/token" }),
                "`oauth.token_url`",
            ),
            (
                json!({ "token_url": "https://a:b@auth.example/" }),
                "without credentials",
            ),
            (
                json!({ "token_url": "https://auth.example/?key=1" }),
                "without credentials",
            ),
            (json!({ "audience": "x" }), "unknown field `audience`"),
        ]
    }

    #[test]
    fn every_invalid_oauth_is_refused_with_what_to_change() {
        let oauth = json!({
            "grant": "client_credentials", "client_id": "shop",
            "client_secret": { "secret": "shop-oauth" }, "scope": "read write:all",
            "token_url": "https://auth.example/token",
        });
        let http = json!({
            "type": "http", "name": "shop", "base_url": "https://shop.example", "oauth": oauth,
            "operations": [{ "name": "get", "path": "/" }],
        });
        let mcp = json!({
            "type": "mcp", "name": "shop", "url": "https://shop.example/mcp", "allow": ["get"],
            "oauth": oauth,
        });
        for tool in [&http, &mcp] {
            assert_eq!(save(tool), Ok(()));
            let signed = json!({ "client_secret": null, "client_assertion": assertion() });
            assert_eq!(save(&with(tool, &signed)), Ok(()));
            for (changes, says) in invalid() {
                let message = save(&with(tool, &changes)).unwrap_err();
                assert!(message.contains(says), "{changes}: {message}");
            }
            let mut headers = tool.clone();
            headers["headers"] = json!({ "authorization": { "secret": "shop" } });
            let message = save(&headers).unwrap_err();
            assert!(
                message.contains("`oauth` and the header `Authorization`"),
                "{message}"
            );
        }
        let without_url = json!({ "token_url": null });
        assert_eq!(save(&with(&mcp, &without_url)), Ok(()));
        let message = save(&with(&http, &without_url)).unwrap_err();
        assert!(
            message.contains("must be the URL of the token endpoint"),
            "{message}"
        );
        let mut list = http.clone();
        list["oauth"] = json!(["client_credentials", "shop"]);
        assert_eq!(
            save(&list).unwrap_err(),
            "`oauth` of a tool must be a JSON object"
        );
    }

    #[test]
    fn an_agent_refers_to_the_secrets_of_its_oauth() {
        for (credential, secret) in [
            (
                json!({ "client_secret": { "secret": "shop-oauth" } }),
                "shop-oauth",
            ),
            (
                json!({ "client_assertion": { "secret": "shop-key", "algorithm": "RS256" } }),
                "shop-key",
            ),
        ] {
            let mut tool = json!({
                "type": "mcp", "name": "shop", "url": "https://shop.example/mcp", "allow": ["get"],
                "oauth": { "grant": "client_credentials", "client_id": "other" },
            });
            tool = with(&tool, &credential);
            let definition = json!({ "name": "a", "tools": [tool] }).to_string();
            let definition = Definition::from_json(definition.as_bytes()).unwrap();
            let agent = Agent::new(AgentId::random([1; 16]), definition).unwrap();
            assert!(agent.refers_to(secret) && !agent.refers_to("other"));
        }
    }
}
