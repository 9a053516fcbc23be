//! Errors of a request, and which of them the SDK retries.

use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::task::JoinError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the URL has no host")]
    NoHost,
    #[error("failed to connect within {0:?}")]
    ConnectTimeout(Duration),
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("failed to read the CA certificates")]
    CaCertificates(#[source] JoinError),
    #[error("failed to send the request or read the response")]
    Exchange(#[source] hyper::Error),
}

impl From<HttpError> for ConnectorError {
    /// The SDK retries only `io` and `timeout` errors.
    fn from(error: HttpError) -> Self {
        match &error {
            HttpError::NoHost => Self::user(error.into()),
            HttpError::ConnectTimeout(_) => Self::timeout(error.into()),
            HttpError::Tls(_) | HttpError::CaCertificates(_) => Self::other(error.into(), None),
            // rustls returns `InvalidData` for a certificate that is not trusted.
            HttpError::Connect(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                Self::other(error.into(), None)
            }
            HttpError::Connect(_) | HttpError::Exchange(_) => Self::io(error.into()),
        }
    }
}
