//! Failed calls to a tool's server.

use reqwest::StatusCode;
use store::error_chain;

use super::call::CallError;
use crate::egress::{RefusedAddress, refused_in};

/// The address is logged, but not shown to the model or in the task.
pub(super) fn address_refused(refused: &RefusedAddress) -> CallError {
    tracing::error!(%refused, "call of a tool refused");
    CallError("The address of this tool is not allowed here.".to_owned())
}

/// The text for the model contains no address. The log line has no path or query, because they
/// contain arguments.
pub(super) fn connection_failed(error: reqwest::Error) -> CallError {
    if let Some(refused) = refused_in(&error) {
        return address_refused(refused);
    }
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let is_connect = error.is_connect();
    tracing::warn!(
        server,
        error = error_chain(&error.without_url()),
        "call of a tool failed"
    );
    CallError(match is_connect {
        true => "The server could not be reached.".to_owned(),
        false => "The connection to the server broke.".to_owned(),
    })
}

/// Whether a later request may succeed.
pub(super) fn is_transient(status: StatusCode) -> bool {
    // A server for files answers 501 to every POST.
    let is_unsupported = matches!(
        status,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    status.is_server_error() && !is_unsupported
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

pub(super) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
