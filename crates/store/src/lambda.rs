//! Invokes another Lambda function and waits for its response. One signed request, because the
//! SDK's client for Lambda would be the largest part of the function.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::HttpError;
use aws_smithy_types::body::SdkBody;
use sdk_http::AwsHttpClient;

use crate::SignError;
use crate::aws::{AwsSettings, service_url};
use crate::signature::Signer;

/// Less than the time that a function has for a request of API Gateway.
const TIMEOUT: Duration = Duration::from_secs(24);

/// A function in the same account and region.
#[derive(Clone)]
pub struct LambdaFunction {
    url: String,
    signer: Signer,
    http: AwsHttpClient,
}

impl fmt::Debug for LambdaFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LambdaFunction")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why an invocation has no response. Contains nothing of the request.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the request cannot be sent")]
    Request(#[from] HttpError),
    #[error("Lambda cannot be reached")]
    Connection(#[from] ConnectorError),
    #[error("the function did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// All concurrent executions are in use.
    #[error("the function is throttled")]
    Throttled,
    #[error("Lambda answered {0}")]
    Status(u16),
    #[error("the function failed: {0}")]
    Function(String),
}

impl InvokeError {
    /// Whether another invocation may succeed, and this one has probably had no effect.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Throttled => true,
            Self::Status(status) => *status >= 500,
            Self::Sign(_) | Self::Request(_) | Self::Function(_) | Self::Timeout => false,
        }
    }
}

impl LambdaFunction {
    /// `own_url` is `AWS_ENDPOINT_URL_LAMBDA`, which takes precedence over `AWS_ENDPOINT_URL`.
    pub fn new(settings: AwsSettings, own_url: Option<String>, name: &str) -> Self {
        let endpoint = own_url
            .or_else(|| settings.endpoint_url.clone())
            .unwrap_or_else(|| service_url("lambda", &settings.region));
        let endpoint = endpoint.trim_end_matches('/');
        Self {
            url: format!("{endpoint}/2015-03-31/functions/{name}/invocations"),
            signer: Signer::new("lambda", settings),
            http: AwsHttpClient::default(),
        }
    }

    /// Invokes the function once. It is not retried, because the function may have done its work.
    pub async fn invoke(&self, event: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let headers = [("content-type", "application/json")];
        let signed = self.signer.sign(&self.url, headers.into_iter(), &event)?;
        let mut request = HttpRequest::new(SdkBody::from(event));
        request.set_method("POST")?;
        request.set_uri(self.url.as_str())?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value);
        }
        for (name, value) in signed {
            request.headers_mut().insert(name, value);
        }
        let response = tokio::time::timeout(TIMEOUT, self.http.call(request)).await;
        let response = response.map_err(|_| InvokeError::Timeout)??;
        match response.status().as_u16() {
            200 => {}
            429 => return Err(InvokeError::Throttled),
            status => return Err(InvokeError::Status(status)),
        }
        // Of the error only its kind: the message may quote the event.
        if let Some(kind) = response.headers().get("x-amz-function-error") {
            return Err(InvokeError::Function(domain::cut(kind, 64)));
        }
        let body = response.body().bytes().unwrap_or_default();
        Ok(body.to_vec())
    }
}
