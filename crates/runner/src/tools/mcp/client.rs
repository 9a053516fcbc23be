//! The SDK's transport over our own HTTP client, which goes only where it may,
//! follows no redirect and has one TLS stack.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, OnceLock};

use futures::stream::BoxStream;
use reqwest::Client;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::Sse;
use store::error_chain;

use crate::egress::refused_in;

/// The name of a call's key in its `_meta`, and of its header.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Most bytes of one event that goes on with an answer.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

type Headers = HashMap<HeaderName, HeaderValue>;
type Failure = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Sends a call's idempotency key as a header, too, and remembers why a server
/// cannot be used: the SDK's errors keep the cause only as text.
#[derive(Clone)]
pub(super) struct KeyedClient {
    http: Client,
    trouble: Arc<OnceLock<Trouble>>,
}

/// What trying again will not mend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// The address is refused.
    NotAllowed,
    /// The server wants to know more of who is asking.
    Unauthorized,
}

impl KeyedClient {
    pub(super) fn new(http: Client) -> Self {
        Self { http, trouble: Arc::default() }
    }

    /// What the clones of this client met.
    pub(super) fn trouble(&self) -> Arc<OnceLock<Trouble>> {
        Arc::clone(&self.trouble)
    }

    fn note<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        let trouble = match &result {
            Err(StreamableHttpError::Client(error)) => told(error),
            Err(StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_)) => {
                Some(Trouble::Unauthorized)
            }
            Err(StreamableHttpError::UnexpectedServerResponse(text))
                if text.starts_with("HTTP 401") || text.starts_with("HTTP 403") =>
            {
                Some(Trouble::Unauthorized)
            }
            _ => None,
        };
        if let Some(trouble) = trouble {
            // The first is the one that matters.
            let _ = self.trouble.set(trouble);
        }
        result
    }
}

/// What broke goes to the log, without the URL.
fn told(error: &reqwest::Error) -> Option<Trouble> {
    let server = error.url().map(|url| url.origin().ascii_serialization());
    if let Some(refused) = refused_in(error) {
        tracing::error!(%refused, "call of a tool refused");
        return Some(Trouble::NotAllowed);
    }
    tracing::warn!(server, error = error.source().map(error_chain), "request to an MCP server failed");
    None
}

/// The key of a call, if the message is one.
fn key_of(message: &ClientJsonRpcMessage) -> Option<HeaderValue> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let ClientRequest::CallToolRequest(call) = &request.request else { return None };
    let key = call.params.meta.as_ref()?.get(IDEMPOTENCY_KEY)?.as_str()?;
    HeaderValue::from_str(key).ok()
}

impl StreamableHttpClient for KeyedClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        mut headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        if let Some(key) = key_of(&message) {
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), key);
        }
        let http = &self.http;
        self.note(
            http.post_message_with_response_limits(uri, message, session_id, auth_header, headers, limits)
                .await,
        )
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<(), Failure> {
        self.note(self.http.delete_session(uri, session_id, auth_header, headers).await)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failure> {
        let most = MAX_EVENT_BYTES;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, headers, most)
            .await
    }

    /// Only to go on with an answer that broke off: what a server would say on its
    /// own account is asked for by nobody, and a connection is spared.
    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: Headers,
        most: usize,
    ) -> Result<Events, Failure> {
        if last_event_id.is_none() {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let http = &self.http;
        self.note(
            http.get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                headers,
                most,
            )
            .await,
        )
    }
}
