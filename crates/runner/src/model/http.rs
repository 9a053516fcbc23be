//! What all protocols share: sending one request, and reading the response within limits.

use std::io;
use std::time::Duration;

use domain::{ErrorType, Fault};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use store::error_chain;
use url::Url;

use super::Protocol;
use super::provider_error::MAX_ERROR_BYTES;
use super::refusal::Refusal;
use crate::egress::{Egress, RefusedAddress, on_connection_threads, refused_in};
use crate::memory::RunMemory;

/// Most bytes of a reply. A larger reply fails the run instead of filling the memory.
const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// How long the body of an error response is read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn json(url: Url, body: &Value) -> Self {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self {
            url,
            headers,
            body: write_json(body),
        }
    }

    /// Adds a header that is not shown in logs.
    pub(super) fn with_secret(mut self, name: &'static str, value: &str) -> Result<Self, Fault> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Fault::permanent(
                ErrorType::InvalidAgent,
                "The API key of the agent's model contains characters that are not allowed in an HTTP header",
            )
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// Writes to a buffer of the exact size. A growing buffer would take three times as much.
fn write_json(value: &Value) -> Vec<u8> {
    let mut length = ByteCounter(0);
    // Neither of these writers can fail.
    let _ = serde_json::to_writer(&mut length, value);
    let mut json = Vec::with_capacity(length.0);
    let _ = serde_json::to_writer(&mut json, value);
    json
}

/// Counts the bytes that are written.
struct ByteCounter(usize);

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A 2xx response.
pub(super) struct Received {
    pub(super) server: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why a request has no reply.
pub(super) enum PostError {
    Fault(Fault),
    /// The server answered with an error status.
    Status {
        fault: Fault,
        status: StatusCode,
        body: Vec<u8>,
    },
}

impl From<Fault> for PostError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Sends a request once and returns a 2xx response. The caller decides on retries.
pub(super) async fn post(
    egress: &Egress,
    protocol: &Protocol,
    request: Request,
) -> Result<Received, PostError> {
    let Request { url, headers, body } = request;
    let client = egress
        .client_for(&url)
        .map_err(|refused| address_fault(&refused))?;
    let request = client.post(url).headers(headers).body(body);
    let response = on_connection_threads(RunMemory::current().agent(), request.send()).await;
    let response = response.map_err(connection_fault)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let url = response.url().clone();
    let server = url.origin().ascii_serialization();
    if status.is_success() {
        let body = read_body(response, MAX_REPLY_BYTES).await?;
        return Ok(Received {
            server,
            headers,
            body,
        });
    }
    let reading = tokio::time::timeout(REFUSAL_TIMEOUT, read_body(response, MAX_ERROR_BYTES));
    let body = reading.await.ok().and_then(Result::ok).unwrap_or_default();
    let refusal = Refusal::of_response(&url, status, &headers, &body);
    Err(PostError::Status {
        fault: refusal.into_fault(protocol, &server),
        status,
        body,
    })
}

async fn read_body(mut response: Response, most: usize) -> Result<Vec<u8>, Fault> {
    let memory = RunMemory::current();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connection_fault)? {
        let length = body.len() + chunk.len();
        if length > most {
            return Err(Fault::permanent(
                ErrorType::ModelError,
                "The model provider returned more than 8 MiB",
            ));
        }
        memory.before_reading_more(length).await;
        if length > body.capacity() {
            body.reserve_exact((2 * length).min(most) - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The address is logged, but not shown in the task.
fn address_fault(refused: &RefusedAddress) -> Fault {
    tracing::error!(%refused, "call to a model refused");
    Fault::permanent(
        ErrorType::InvalidAgent,
        "The address of the agent's model is not allowed here",
    )
}

/// Connection errors are transient, unless the address is refused.
fn connection_fault(error: reqwest::Error) -> Fault {
    if let Some(refused) = refused_in(&error) {
        return address_fault(refused);
    }
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let is_connect = error.is_connect();
    tracing::warn!(
        server,
        error = error_chain(&error.without_url()),
        "call to a model failed"
    );
    let message = match is_connect {
        true => "The model provider could not be reached",
        false => "The connection to the model provider broke",
    };
    Fault::transient(ErrorType::ModelError, message)
}
