//! What all protocols share: sending one request, reading the response within limits, and
//! interpreting an error status.

use std::io;
use std::time::Duration;

use domain::{ErrorType, Failure, Fault};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use store::error_chain;
use url::Url;

use super::Protocol;
use super::codes::loggable_code;
use crate::egress::{Egress, RefusedAddress, on_connection_threads, refused_in};
use crate::memory::RunMemory;

/// Most bytes of a reply. A larger reply fails the run instead of filling the memory.
const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of an error response that are searched for the error code, and for how long.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Where OpenAI, Anthropic, AWS and Google put the error code. A proxy may use the form of
/// another provider.
const ERROR_FIELDS: [&str; 5] = [
    "/error/code",
    "/error/type",
    "/__type",
    "/code",
    "/error/status",
];

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

/// Sends a request once and returns the body of a 2xx response. The caller decides on
/// retries.
pub(super) async fn post(
    egress: &Egress,
    protocol: &Protocol,
    request: Request,
) -> Result<Vec<u8>, PostError> {
    let Request { url, headers, body } = request;
    let client = egress
        .client_for(&url)
        .map_err(|refused| address_fault(&refused))?;
    let request = client.post(url).headers(headers).body(body);
    let response = on_connection_threads(RunMemory::current().agent(), request.send()).await;
    let response = response.map_err(connection_fault)?;
    if response.status().is_success() {
        Ok(read_body(response, MAX_REPLY_BYTES).await?)
    } else {
        Err(read_refusal(protocol, response).await)
    }
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

async fn read_refusal(protocol: &Protocol, response: Response) -> PostError {
    let (status, headers) = (response.status(), response.headers().clone());
    let server = response.url().origin().ascii_serialization();
    let reading = tokio::time::timeout(REFUSAL_TIMEOUT, read_body(response, MAX_REFUSAL_BYTES));
    let body = reading.await.ok().and_then(Result::ok).unwrap_or_default();
    let reason = error_code(&headers, &body);
    let listed = reason.as_deref().map(loggable_code);
    tracing::warn!(
        server,
        status = status.as_u16(),
        reason = listed,
        "model provider returned an error"
    );
    let fault = refusal_fault(protocol, status, &headers, reason.as_deref());
    PostError::Status {
        fault,
        status,
        body,
    }
}

/// 408, 424 of Bedrock, 429 and 5xx are transient (RFC 9110 section 15; Anthropic returns 529
/// when it is overloaded). All others are permanent.
fn refusal_fault(
    protocol: &Protocol,
    status: StatusCode,
    headers: &HeaderMap,
    reason: Option<&str>,
) -> Fault {
    let code = reason.unwrap_or_default();
    let message = |code: Option<&str>| {
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        format!("The model provider returned HTTP {}{code}", status.as_u16())
    };
    let logged = message(reason.map(loggable_code));
    let message = message(reason);
    let is_transient = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::FAILED_DEPENDENCY | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error();
    if is_transient {
        let failure = Failure::transient(ErrorType::ModelError, message).logged_as(logged);
        return Fault::Transient {
            failure,
            retry_after: retry_after(headers),
        };
    }
    let advice = (protocol.advice)(status, code);
    Fault::Permanent(
        Failure::permanent(ErrorType::ModelError, message + advice).logged_as(logged + advice),
    )
}

/// The advice for a provider that is called at `base_url` with `api_key`.
pub(super) const fn advise_on_fields(status: StatusCode, _: &str) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check the agent's model.api_key",
        StatusCode::NOT_FOUND => ": check the agent's model.base_url and model.name",
        _ => "",
    }
}

/// Whole seconds (RFC 9110 section 10.2.3). The form with a date is ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// The provider's error code, which consists of letters. Never its error message, which may
/// quote the prompt or the payload.
fn error_code(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = headers
        .get("x-amzn-errortype")
        .and_then(|value| value.to_str().ok());
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let in_body = ERROR_FIELDS
        .iter()
        .find_map(|field| body.pointer(field).and_then(Value::as_str));
    // AWS may wrap the code: `namespace#Code:url`.
    let code = header.or(in_body)?.rsplit('#').next()?.split(':').next()?;
    let is_code = (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{bedrock, openai};
    use super::*;

    #[test]
    fn the_error_code_is_a_single_word_and_never_a_sentence() {
        let none = HeaderMap::new();
        for (body, code) in [
            (
                r#"{"error":{"message":"secret","type":"server_error","code":"model_loading"}}"#,
                "model_loading",
            ),
            (
                r#"{"error":{"message":"secret","type":"invalid_request_error","code":400}}"#,
                "invalid_request_error",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"secret"}}"#,
                "overloaded_error",
            ),
            (
                r#"{"error":{"code":429,"message":"secret","status":"RESOURCE_EXHAUSTED"}}"#,
                "RESOURCE_EXHAUSTED",
            ),
            (
                r#"{"__type":"com.amazon.coral#ThrottlingException:http://x/"}"#,
                "ThrottlingException",
            ),
        ] {
            assert_eq!(
                error_code(&none, body.as_bytes()).as_deref(),
                Some(code),
                "{body}"
            );
        }
        for body in [
            r#"{"error":{"code":"your prompt is bad"}}"#,
            r#"{"error":"x"}"#,
            "<html>",
            "",
        ] {
            assert_eq!(error_code(&none, body.as_bytes()), None, "{body}");
        }
        let headers = HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("x-amzn-errortype"),
            HeaderValue::from_static("AccessDeniedException:http://internal/"),
        )]);
        assert_eq!(
            error_code(&headers, b"").as_deref(),
            Some("AccessDeniedException")
        );
    }

    #[test]
    fn transient_and_permanent_errors_differ_by_their_status() {
        for status in [408, 424, 429, 500, 502, 503, 529] {
            let status = StatusCode::from_u16(status).unwrap();
            let fault = refusal_fault(&openai::PROTOCOL, status, &HeaderMap::new(), None);
            assert!(matches!(fault, Fault::Transient { .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 422] {
            let status = StatusCode::from_u16(status).unwrap();
            let fault = refusal_fault(&openai::PROTOCOL, status, &HeaderMap::new(), None);
            assert!(matches!(fault, Fault::Permanent(_)), "{status}");
        }
    }

    #[test]
    fn the_advice_on_an_error_fits_the_provider() {
        let message = |protocol, status| match refusal_fault(
            protocol,
            status,
            &HeaderMap::new(),
            Some("ValidationException"),
        ) {
            Fault::Permanent(failure) => failure.message,
            Fault::Transient { .. } => panic!("a transient error"),
        };
        for status in [
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::BAD_REQUEST,
        ] {
            let advice = message(&bedrock::PROTOCOL, status);
            assert!(
                !advice.contains("api_key") && !advice.contains("base_url"),
                "{advice}"
            );
            assert!(advice.contains(": check"), "{advice}");
        }
        assert!(message(&openai::PROTOCOL, StatusCode::FORBIDDEN).contains("api_key"));
        assert!(!message(&openai::PROTOCOL, StatusCode::BAD_REQUEST).contains(": check"));
    }
}
