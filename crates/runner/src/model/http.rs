//! What all protocols share: one request, its answer read within bounds, and what a
//! refusal means.

use std::io;
use std::time::Duration;

use domain::{ErrorType, Failure, Fault, Provider};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use store::error_chain;
use url::Url;

use super::codes::loggable_code;
use crate::client::{OutgoingClient, on_connection_threads};
use crate::egress::{Refused, refused_in};
use crate::memory::RunMemory;

/// Most bytes of a reply; past it the run fails rather than fill the memory.
const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of a refusal that its reason is looked for in, and how long.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// A request that is ready to be sent.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// With this JSON.
    pub(super) fn json(url: Url, body: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { url, headers, body: write_json(body) }
    }

    /// With a header that no log shows.
    pub(super) fn with_secret(mut self, name: &'static str, value: &str) -> Result<Self, Fault> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Fault::permanent(ErrorType::InvalidAgent, "The API key of the agent's model is no header value")
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// In a buffer of its exact size: one that doubles would take three times as much.
fn write_json(value: &Value) -> Vec<u8> {
    let mut length = Length(0);
    // Neither of these writers can fail.
    let _ = serde_json::to_writer(&mut length, value);
    let mut json = Vec::with_capacity(length.0);
    let _ = serde_json::to_writer(&mut json, value);
    json
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Posts a request and returns the body of a 2xx. Sent once: the caller decides on
/// another try.
pub(super) async fn post(
    outgoing: &OutgoingClient,
    provider: Provider,
    request: Request,
) -> Result<Vec<u8>, Fault> {
    let Request { url, headers, body } = request;
    outgoing.private_hosts().check(&url).map_err(|refused| refused_address(&refused))?;
    let request = outgoing.get().post(url).headers(headers).body(body);
    let response = on_connection_threads(RunMemory::of_this_run().agent(), request.send()).await;
    let response = response.map_err(unreachable_server)?;
    if response.status().is_success() {
        read_body(response, MAX_REPLY_BYTES).await
    } else {
        Err(refused(provider, response).await)
    }
}

async fn read_body(mut response: Response, most: usize) -> Result<Vec<u8>, Fault> {
    let memory = RunMemory::of_this_run();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_server)? {
        let length = body.len() + chunk.len();
        if length > most {
            return Err(Fault::permanent(
                ErrorType::ModelError,
                "The model's server answered more than 8 MiB",
            ));
        }
        memory.before_reading_on(length).await;
        if length > body.capacity() {
            body.reserve_exact((2 * length).min(most) - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The log names the address; who may read a task need not learn it.
fn refused_address(refused: &Refused) -> Fault {
    tracing::error!(%refused, "call to a model refused");
    Fault::permanent(ErrorType::InvalidAgent, "The address of the agent's model is not allowed here")
}

/// Connections fail and break: worth another try, unless the address is refused.
fn unreachable_server(error: reqwest::Error) -> Fault {
    if let Some(refused) = refused_in(&error) {
        return refused_address(refused);
    }
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let is_connect = error.is_connect();
    tracing::warn!(server, error = error_chain(&error.without_url()), "call to a model failed");
    let message = match is_connect {
        true => "The model's server could not be reached",
        false => "The connection to the model's server broke",
    };
    Fault::passing(ErrorType::ModelError, message)
}

async fn refused(provider: Provider, response: Response) -> Fault {
    let (status, headers) = (response.status(), response.headers().clone());
    let server = response.url().origin().ascii_serialization();
    let reading = tokio::time::timeout(REFUSAL_TIMEOUT, read_body(response, MAX_REFUSAL_BYTES));
    let body = reading.await.ok().and_then(Result::ok).unwrap_or_default();
    let reason = reason(&headers, &body);
    let listed = reason.as_deref().map(loggable_code);
    tracing::warn!(server, status = status.as_u16(), reason = listed, "the model's server refused");
    refusal(provider, status, &headers, reason.as_deref())
}

/// 408, 424 of Bedrock, 429 and 5xx may pass (RFC 9110 section 15; 529 is
/// Anthropic's for too much to do); anything else will not.
fn refusal(provider: Provider, status: StatusCode, headers: &HeaderMap, reason: Option<&str>) -> Fault {
    let code = reason.unwrap_or_default();
    let message = |code: Option<&str>| {
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        format!("The model's server answered {}{code}", status.as_u16())
    };
    let logged = message(reason.map(loggable_code));
    let message = message(reason);
    let passing = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::FAILED_DEPENDENCY | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error();
    if passing {
        let failure = Failure::passing(ErrorType::ModelError, message).logged_as(logged);
        return Fault::Passing { failure, retry_after: retry_after(headers) };
    }
    let advice = advice(provider, status, code);
    Fault::Permanent(Failure::permanent(ErrorType::ModelError, message + advice).logged_as(logged + advice))
}

/// Bedrock authenticates by role, so a refusal is about access and the form of the
/// model's id, never about a key
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>).
fn advice(provider: Provider, status: StatusCode, reason: &str) -> &'static str {
    match (provider, status, reason) {
        (Provider::Bedrock, StatusCode::FORBIDDEN, _) => {
            ": check that the account has access to the model and that BedrockModels allows it"
        }
        (Provider::Bedrock, StatusCode::NOT_FOUND, _)
        | (Provider::Bedrock, StatusCode::BAD_REQUEST, "ValidationException") => {
            ": check the agent's model.name; some models need the id of an inference profile"
        }
        (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => ": check the agent's model.api_key",
        (_, StatusCode::NOT_FOUND, _) => ": check the agent's model.base_url and model.name",
        _ => "",
    }
}

/// Whole seconds (RFC 9110 section 10.2.3); the form with a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The server's word for what is wrong, letters alone. Never its sentence, which
/// may quote the prompt or the payload.
fn reason(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let in_body = ["/error/code", "/error/type", "/__type", "/code"]
        .into_iter()
        .find_map(|field| body.pointer(field).and_then(Value::as_str));
    // Amazon's words may be wrapped: `namespace#Word:url`.
    let word = header.or(in_body)?.rsplit('#').next()?.split(':').next()?;
    let is_word =
        (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refusal_is_a_word_and_never_a_sentence() {
        let none = HeaderMap::new();
        for (body, word) in [
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
            (r#"{"__type":"com.amazon.coral#ThrottlingException:http://x/"}"#, "ThrottlingException"),
        ] {
            assert_eq!(reason(&none, body.as_bytes()).as_deref(), Some(word), "{body}");
        }
        for body in [r#"{"error":{"code":"your prompt is bad"}}"#, r#"{"error":"x"}"#, "<html>", ""] {
            assert_eq!(reason(&none, body.as_bytes()), None, "{body}");
        }
        let headers = HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("x-amzn-errortype"),
            HeaderValue::from_static("AccessDeniedException:http://internal/"),
        )]);
        assert_eq!(reason(&headers, b"").as_deref(), Some("AccessDeniedException"));
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for status in [408, 424, 429, 500, 502, 503, 529] {
            let status = StatusCode::from_u16(status).unwrap();
            let fault = refusal(Provider::Openai, status, &HeaderMap::new(), None);
            assert!(matches!(fault, Fault::Passing { .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 422] {
            let status = StatusCode::from_u16(status).unwrap();
            let fault = refusal(Provider::Openai, status, &HeaderMap::new(), None);
            assert!(matches!(fault, Fault::Permanent(_)), "{status}");
        }
    }

    #[test]
    fn the_advice_on_a_refusal_fits_the_provider() {
        let message = |provider, status| match refusal(
            provider,
            status,
            &HeaderMap::new(),
            Some("ValidationException"),
        ) {
            Fault::Permanent(failure) => failure.message,
            Fault::Passing { .. } => panic!("a refusal"),
        };
        for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST] {
            let advice = message(Provider::Bedrock, status);
            assert!(!advice.contains("api_key") && !advice.contains("base_url"), "{advice}");
            assert!(advice.contains(": check"), "{advice}");
        }
        assert!(message(Provider::Openai, StatusCode::FORBIDDEN).contains("api_key"));
        assert!(!message(Provider::Openai, StatusCode::BAD_REQUEST).contains(": check"));
    }
}
