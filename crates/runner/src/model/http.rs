//! What all protocols share: one request over one client, its answer read within
//! bounds, and what a refusal means.

use std::time::Duration;

use domain::{ErrorType, Failure, Fault};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::Value;
use store::error_chain;
use url::Url;

use super::ModelsError;
use crate::egress::{PrivateHosts, Refused, refused_in};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is gone without a word is noticed after a few of these; one that
/// is only slow has the run's whole time.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Most bytes of a reply; past it the run fails rather than fill the memory.
const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of a refusal that its reason is looked for in, and how long.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Posts to the model servers that may be reached.
#[derive(Clone, Debug)]
pub(super) struct Http {
    pub(super) client: Client,
    pub(super) private_hosts: PrivateHosts,
}

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
        Self { url, headers, body: body.to_string().into_bytes() }
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

impl Http {
    pub(super) fn new(private_hosts: PrivateHosts) -> Result<Self, ModelsError> {
        let tls = rustls::crypto::ring::default_provider();
        // Installed once a process; a second time it is there already.
        let _ = tls.install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(private_hosts.clone()))
            .user_agent(concat!("agent-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, private_hosts })
    }

    /// The body of a 2xx. Sent once: whoever calls decides on another try.
    pub(super) async fn post(&self, request: Request) -> Result<Vec<u8>, Fault> {
        let Request { url, headers, body } = request;
        self.private_hosts.check(&url).map_err(|refused| refused_address(&refused))?;
        let response = self.client.post(url).headers(headers).body(body).send().await;
        let response = response.map_err(unreachable_server)?;
        if response.status().is_success() {
            read_body(response, MAX_REPLY_BYTES).await
        } else {
            Err(refused(response).await)
        }
    }
}

async fn read_body(mut response: Response, most: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_server)? {
        if body.len() + chunk.len() > most {
            return Err(Fault::permanent(
                ErrorType::ModelError,
                "The model's server answered more than 8 MiB",
            ));
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

async fn refused(response: Response) -> Fault {
    let (status, headers) = (response.status(), response.headers().clone());
    let server = response.url().origin().ascii_serialization();
    let reading = tokio::time::timeout(REFUSAL_TIMEOUT, read_body(response, MAX_REFUSAL_BYTES));
    let body = reading.await.ok().and_then(Result::ok).unwrap_or_default();
    let reason = reason(&headers, &body);
    tracing::warn!(server, status = status.as_u16(), reason, "the model's server refused");
    refusal(status, &headers, reason.as_deref())
}

/// 408, 424 of Bedrock, 429 and 5xx may pass (RFC 9110 section 15; 529 is
/// Anthropic's for too much to do); anything else will not.
fn refusal(status: StatusCode, headers: &HeaderMap, reason: Option<&str>) -> Fault {
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let message = format!("The model's server answered {}{reason}", status.as_u16());
    let passing = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::FAILED_DEPENDENCY | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error();
    if passing {
        let failure = Failure::passing(ErrorType::ModelError, message);
        return Fault::Passing { failure, retry_after: retry_after(headers) };
    }
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check the agent's model.api_key",
        StatusCode::NOT_FOUND => ": check the agent's model.base_url and model.name",
        _ => "",
    };
    Fault::permanent(ErrorType::ModelError, message + hint)
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
            assert!(matches!(refusal(status, &HeaderMap::new(), None), Fault::Passing { .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 422] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(matches!(refusal(status, &HeaderMap::new(), None), Fault::Permanent(_)), "{status}");
        }
    }
}
