//! What a server did instead of answering, and what it means for the task or the call.

use std::error::Error as _;
use std::time::Duration;

use domain::{ErrorDetail, ErrorType, Failure, Fault};
use reqwest::StatusCode;
use rmcp::model::ErrorData;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use store::error_chain;
use url::Url;

use super::text_to_scrub;
use crate::egress::refused_in;
use crate::scrub::SecretScrubber;
use crate::tools::failed::{is_transient, status_text};
use crate::tools::oauth::OAuthFailure;

pub(super) type TransportError = StreamableHttpError<McpServerError>;

/// Why a request was not answered with a message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the MCP server did not answer with a message")]
pub(super) enum McpServerError {
    /// The address is not allowed.
    NotAllowed,
    /// The server refused the credentials.
    Unauthorized(StatusCode),
    /// There is no access token to send.
    NoToken(OAuthFailure),
    /// A message is over a limit.
    TooLarge,
    Status {
        status: StatusCode,
        /// The JSON-RPC error in the body.
        detail: Option<ErrorData>,
        retry_after: Option<Duration>,
    },
    /// A redirect to another origin: its target without the query.
    Redirect(String),
    /// An answer that is not a message, and what it is.
    NotMcp(String),
    /// No connection could be made.
    Unreachable,
    /// The connection ended before the answer was complete.
    Broken,
}

impl McpServerError {
    /// Logs a failed request without its path and query.
    pub(super) fn from_request(error: &reqwest::Error) -> Self {
        if let Some(refused) = refused_in(error) {
            tracing::error!(%refused, "call of a tool refused");
            return Self::NotAllowed;
        }
        let server = error.url().map(|url| url.origin().ascii_serialization());
        tracing::warn!(
            server,
            error = error.source().map(error_chain),
            "request to an MCP server failed"
        );
        match error.is_connect() {
            true => Self::Unreachable,
            false => Self::Broken,
        }
    }

    pub(super) fn redirect(target: &Url) -> Self {
        let origin = target.origin().ascii_serialization();
        Self::Redirect(format!("{origin}{}", target.path()))
    }

    /// Whether no other request to this URL can succeed.
    pub(super) const fn ends_discovery(&self) -> bool {
        matches!(
            self,
            Self::NotAllowed
                | Self::Unauthorized(StatusCode::UNAUTHORIZED)
                | Self::NoToken(_)
                | Self::TooLarge
                | Self::Redirect(_)
                | Self::Unreachable
        )
    }

    /// The end of an attempt that cannot connect to the server of this name.
    pub(super) fn to_fault(&self, server: &str, scrubber: &SecretScrubber) -> Fault {
        match self {
            Self::Status {
                status,
                detail,
                retry_after,
            } => {
                let shown = detail.as_ref().map(|error| error_text(error, scrubber));
                let detail = ErrorDetail {
                    status: Some(status.as_u16()),
                    ..detail.as_ref().map(error_detail).unwrap_or_default()
                };
                let fault = status_fault(server, *status, shown.as_deref(), *retry_after);
                with_detail(fault, detail)
            }
            Self::NoToken(failure) => failure.to_fault(server),
            Self::Unreachable => unavailable_fault(server, "it could not be reached"),
            Self::Broken => unavailable_fault(server, "the connection broke before it answered"),
            Self::Unauthorized(status) => {
                let detail = ErrorDetail {
                    status: Some(status.as_u16()),
                    ..ErrorDetail::default()
                };
                with_detail(self.permanent_fault(server, scrubber), detail)
            }
            _ => self.permanent_fault(server, scrubber),
        }
    }

    fn permanent_fault(&self, server: &str, scrubber: &SecretScrubber) -> Fault {
        let text = self.permanent_text(server, scrubber);
        Fault::permanent(ErrorType::InvalidAgent, text)
    }

    fn permanent_text(&self, server: &str, scrubber: &SecretScrubber) -> String {
        match self {
            Self::Unauthorized(status) => format!(
                "The MCP server `{server}` refused the agent: check its `headers` or `oauth` (it answered {})",
                status_text(*status)
            ),
            Self::TooLarge => format!(
                "The MCP server `{server}` returned more than 4 MiB or 50000 JSON values, \
                 or the tool lists of the agent's MCP servers have more than 30000 JSON values"
            ),
            Self::Redirect(target) => format!(
                "The MCP server `{server}` redirects to another server, {}: \
                 set `url` to the address that answers, if you trust it",
                scrub_and_cut(target, scrubber, 500)
            ),
            Self::NotMcp(what) => format!(
                "The MCP server `{server}` answered with {what} instead of an MCP message: \
                 is this the URL of its MCP endpoint?"
            ),
            _ => format!("The address of the MCP server `{server}` is not allowed here"),
        }
    }

    /// The text for the model about a call.
    pub(super) fn call_text(&self) -> String {
        match self {
            Self::NotAllowed => "The address of this tool is not allowed here.".to_owned(),
            Self::Unauthorized(status) => format!("The server answered {}.", status_text(*status)),
            Self::NoToken(failure) => failure.call_text(),
            Self::TooLarge => "The answer is too large.".to_owned(),
            Self::Status {
                status,
                retry_after: Some(pause),
                ..
            } => format!(
                "The server answered {}, and asks to wait {} seconds.",
                status_text(*status),
                pause.as_secs_f64().ceil()
            ),
            Self::Status { status, .. } => format!("The server answered {}.", status_text(*status)),
            Self::Redirect(_) => "The server redirects to another server.".to_owned(),
            Self::NotMcp(what) => {
                format!("The server answered with {what} instead of an MCP message.")
            }
            Self::Unreachable => "The server could not be reached.".to_owned(),
            Self::Broken => "The connection to the server broke.".to_owned(),
        }
    }
}

impl From<McpServerError> for TransportError {
    fn from(error: McpServerError) -> Self {
        Self::Client(error)
    }
}

pub(super) fn unavailable_fault(server: &str, why: &str) -> Fault {
    Fault::transient(
        ErrorType::ToolError,
        format!("The MCP server `{server}` is not available: {why}"),
    )
}

/// The server's message is shown but not logged, because it may quote what it was sent.
fn status_fault(
    server: &str,
    status: StatusCode,
    detail: Option<&str>,
    retry_after: Option<Duration>,
) -> Fault {
    let answered = status_text(status);
    let shown = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    if is_transient(status) {
        let unavailable =
            format!("The MCP server `{server}` is not available: it answered {answered}");
        return Fault::Transient {
            failure: Failure::transient(ErrorType::ToolError, format!("{unavailable}{shown}"))
                .logged_as(unavailable),
            retry_after,
        };
    }
    let advice = match detail {
        Some(_) => "",
        None => ": is this the URL of its MCP endpoint (streamable HTTP)?",
    };
    let answered = format!("The MCP server `{server}` answered {answered}");
    Fault::Permanent(
        Failure::permanent(
            ErrorType::InvalidAgent,
            format!("{answered}{shown}{advice}"),
        )
        .logged_as(answered),
    )
}

/// Removes secrets from a text of the server before it is cut.
fn scrub_and_cut(text: &str, scrubber: &SecretScrubber, most: usize) -> String {
    let (beginning, end) = text_to_scrub(text);
    domain::cut(&scrubber.scrub_part(beginning, end), most)
}

/// The code and the message of a server's error.
pub(super) fn error_text(error: &ErrorData, scrubber: &SecretScrubber) -> String {
    match error.message.trim() {
        "" => format!("error {}", error.code.0),
        message => {
            let message = scrub_and_cut(message, scrubber, 300);
            format!("error {}: {message}", error.code.0)
        }
    }
}

/// The code of a server's error, and its text for the log.
pub(super) fn error_detail(error: &ErrorData) -> ErrorDetail {
    let (beginning, _) = text_to_scrub(&error.message);
    ErrorDetail {
        code: Some(error.code.0.to_string()),
        text: beginning.to_owned(),
        ..ErrorDetail::default()
    }
}

pub(super) fn with_detail(fault: Fault, detail: ErrorDetail) -> Fault {
    match fault {
        Fault::Permanent(failure) => Fault::Permanent(failure.with_detail(detail)),
        Fault::Transient {
            failure,
            retry_after,
        } => Fault::Transient {
            failure: failure.with_detail(detail),
            retry_after,
        },
    }
}

/// The error of this client in an error of the SDK, which wraps it in its own types.
pub(super) fn server_error_in<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e McpServerError> {
    match error.downcast_ref::<TransportError>() {
        Some(StreamableHttpError::Client(error)) => Some(error),
        _ => server_error_in(error.source()?),
    }
}
