//! Why there is no access token, and what it means for the task or the call.

use std::time::Duration;

use domain::agent::tools::SigningAlgorithm;
use domain::{ErrorType, Failure, Fault};
use reqwest::StatusCode;
use url::Url;

use crate::tools::failed::{is_transient, status_text};

/// The error codes of OAuth 2 (RFC 6749 section 5.2, RFC 8707 section 2 and RFC 6749
/// section 4.1.2.1, whose codes token endpoints send too). Others are neither shown nor logged,
/// because they may be any text.
const CODES: [&str; 10] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// Why no access token could be obtained. Contains no text of a server except host names.
#[derive(Clone, Debug)]
pub(in crate::tools) enum OAuthFailure {
    /// An address is not allowed.
    NotAllowed,
    /// The address of the token endpoint or of the MCP server is not a URL.
    NotAUrl,
    /// The stored private key cannot be used.
    PrivateKey {
        secret: String,
        algorithm: SigningAlgorithm,
    },
    /// The token endpoint of an MCP server was not found.
    NotFound(String),
    /// No answer from this host.
    Unavailable { host: String, why: String },
    /// All steps together took too long.
    Timeout,
    /// The token endpoint answered with an error.
    Refused(Box<TokenRefusal>),
    /// The token endpoint answered with success and something else than a token.
    NotAToken { host: String, why: &'static str },
}

/// An error response of a token endpoint.
#[derive(Clone, Debug)]
pub(in crate::tools) struct TokenRefusal {
    pub(super) host: String,
    pub(super) status: StatusCode,
    pub(super) code: Option<&'static str>,
    pub(super) retry_after: Option<Duration>,
    /// The name of the secret with the client's credential.
    pub(super) secret: String,
}

impl OAuthFailure {
    pub(super) fn unavailable(url: &Url, why: &str) -> Self {
        Self::Unavailable {
            host: host_of(url),
            why: why.to_owned(),
        }
    }

    /// Whether the next attempt may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout => true,
            Self::Refused(refusal) => refusal.is_transient(),
            _ => false,
        }
    }

    /// The end of an attempt whose tool of this name gets no token.
    pub(in crate::tools) fn to_fault(&self, tool: &str) -> Fault {
        let text = format!("No access token for the tool `{tool}`: {}", self.text());
        match self {
            Self::Refused(refusal) if self.is_transient() => Fault::Transient {
                failure: Failure::transient(ErrorType::ToolError, text),
                retry_after: refusal.retry_after,
            },
            _ if self.is_transient() => Fault::transient(ErrorType::ToolError, text),
            _ => Fault::permanent(ErrorType::InvalidAgent, text),
        }
    }

    /// The text for the model about a call. It names no address and no secret.
    pub(in crate::tools) fn call_text(&self) -> String {
        let why = match self {
            Self::Refused(refusal) => {
                format!(
                    "the token endpoint answered {}",
                    status_text(refusal.status)
                )
            }
            _ if self.is_transient() => "the token endpoint is not available".to_owned(),
            _ => "the agent's owner must correct its settings".to_owned(),
        };
        format!("Not called, because there is no access token for this tool: {why}.")
    }

    fn text(&self) -> String {
        match self {
            Self::NotAllowed => "the address of its token endpoint is not allowed here".to_owned(),
            Self::NotAUrl => "the address of its token endpoint is not a URL".to_owned(),
            Self::PrivateKey { secret, algorithm } => format!(
                "the secret `{secret}` must be a private key for {} as PEM",
                algorithm.as_str()
            ),
            Self::NotFound(why) => {
                format!("{why}; set `oauth.token_url` to the URL of the token endpoint")
            }
            Self::Unavailable { host, why } => format!("{host} is not available: {why}"),
            Self::Timeout => "its token endpoint did not answer in time".to_owned(),
            Self::Refused(refusal) => refusal.text(),
            Self::NotAToken { host, why } => {
                format!("the token endpoint of {host} answered with {why}")
            }
        }
    }
}

impl TokenRefusal {
    fn is_transient(&self) -> bool {
        is_transient(self.status)
            || matches!(self.code, Some("temporarily_unavailable" | "server_error"))
    }

    /// Whether the endpoint refused the client's id or its credential.
    pub(super) fn is_client_refused(&self) -> bool {
        self.code == Some("invalid_client")
            || self.status == StatusCode::UNAUTHORIZED && self.code.is_none()
    }

    fn text(&self) -> String {
        let Self { host, secret, .. } = self;
        let code = self.code.map(|code| format!(", `{code}`"));
        let status = status_text(self.status);
        let answered = format!(
            "the token endpoint of {host} answered {status}{}",
            code.unwrap_or_default()
        );
        let advice = match self.code {
            _ if self.is_transient() => return answered,
            _ if self.is_client_refused() => {
                format!("check `oauth.client_id` and the secret `{secret}`")
            }
            Some("invalid_scope") => "check `oauth.scope`".to_owned(),
            Some("unauthorized_client" | "unsupported_grant_type") => {
                "allow the grant `client_credentials` for this client".to_owned()
            }
            _ => "check `oauth`".to_owned(),
        };
        format!("{answered}: {advice}")
    }
}

/// The code if it is one of OAuth 2.
pub(super) fn known_code(code: &str) -> Option<&'static str> {
    CODES.into_iter().find(|known| *known == code)
}

/// The host of a URL, for errors.
pub(super) fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&'static str>) -> OAuthFailure {
        OAuthFailure::Refused(Box::new(TokenRefusal {
            host: "auth.example".into(),
            status: StatusCode::from_u16(status).unwrap(),
            code,
            retry_after: None,
            secret: "shop-oauth".into(),
        }))
    }

    #[test]
    fn a_refusal_says_what_to_change_or_is_transient() {
        let secret = "check `oauth.client_id` and the secret `shop-oauth`";
        for (status, code, says) in [
            (401, None, secret),
            (401, Some("invalid_client"), secret),
            (400, Some("invalid_client"), secret),
            (
                400,
                Some("invalid_scope"),
                "400 Bad Request, `invalid_scope`: check `oauth.scope`",
            ),
            (
                400,
                Some("unauthorized_client"),
                "allow the grant `client_credentials`",
            ),
            (
                404,
                None,
                "auth.example answered 404 Not Found: check `oauth`",
            ),
            (501, None, "501 Not Implemented: check `oauth`"),
        ] {
            let Fault::Permanent(failure) = refused(status, code).to_fault("shop") else {
                panic!("{status} is transient")
            };
            assert!(failure.message.contains(says), "{}", failure.message);
        }
        for (status, code) in [
            (429, None),
            (500, None),
            (503, Some("temporarily_unavailable")),
            (400, Some("temporarily_unavailable")),
        ] {
            let Fault::Transient { failure, .. } = refused(status, code).to_fault("shop") else {
                panic!("{status} is permanent")
            };
            assert!(
                !failure.message.contains("shop-oauth"),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn the_model_sees_no_host_and_no_secret() {
        let failures = [
            refused(401, Some("invalid_client")),
            OAuthFailure::Unavailable {
                host: "auth.example".into(),
                why: "it could not be reached".into(),
            },
            OAuthFailure::NotFound("auth.example has no metadata".into()),
        ];
        for failure in failures {
            let text = failure.call_text();
            assert!(
                !text.contains("example") && !text.contains("shop"),
                "{text}"
            );
        }
    }
}
