//! The SDK's transport over our own HTTP client, which checks addresses, follows no redirects
//! and has the only TLS stack. A [`MessageReader`] reads the responses.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;

use domain::AgentId;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use store::error_chain;

use super::IDEMPOTENCY_KEY;
use super::messages::{
    AwaitedCall, Events, MAX_MESSAGE_BYTES, McpServerError, MessageReader, RequestInfo,
};
use crate::egress::{on_connection_threads, refused_in};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

type McpHeaders = HashMap<HeaderName, HeaderValue>;
type TransportError = StreamableHttpError<reqwest::Error>;

/// Also sends a call's idempotency key as a header, and stores why a server cannot be used,
/// because the SDK's errors contain the cause only as text.
#[derive(Clone)]
pub(super) struct KeyedClient {
    http: Client,
    messages: MessageReader,
}

impl KeyedClient {
    /// A client for the attempt that this is called in.
    pub(super) fn new(http: Client) -> Self {
        Self {
            http,
            messages: MessageReader::new(),
        }
    }

    /// The first permanent error of this client and its clones.
    pub(super) fn permanent_error(&self) -> Option<McpServerError> {
        self.messages.permanent_error()
    }

    /// To be held until the answer to the call with this key has become a result.
    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.messages.await_call(key)
    }

    fn agent(&self) -> Option<AgentId> {
        self.messages.memory().agent()
    }

    fn record_result<T>(&self, result: Result<T, TransportError>) -> Result<T, TransportError> {
        let error = match &result {
            Err(StreamableHttpError::Client(error)) => log_request_error(error),
            Err(
                StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_),
            ) => Some(McpServerError::Unauthorized),
            Err(StreamableHttpError::UnexpectedServerResponse(text))
                if text.starts_with("HTTP 401") || text.starts_with("HTTP 403") =>
            {
                Some(McpServerError::Unauthorized)
            }
            _ => None,
        };
        if let Some(error) = error {
            self.messages.record_error(error);
        }
        result
    }

    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session_id: Option<&str>,
        headers: McpHeaders,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let request = RequestInfo::from_message(message);
        let mut headers = HeaderMap::from_iter(headers);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        );
        if let Some(id) = session_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(SESSION_ID, id);
        }
        if let Some(key) = request
            .key
            .as_deref()
            .and_then(|key| HeaderValue::from_str(key).ok())
        {
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), key);
        }
        let http_request = self.http.post(uri).headers(headers).json(message);
        let response = on_connection_threads(self.agent(), http_request.send()).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                Ok(StreamableHttpPostResponse::Accepted)
            }
            StatusCode::NOT_FOUND if session_id.is_some() => {
                Err(StreamableHttpError::SessionExpired)
            }
            status if status.is_success() => self.read_answer(response, request).await,
            status => {
                self.read_refusal(status, response, request, session_id)
                    .await
            }
        }
    }

    async fn read_answer(
        &self,
        response: Response,
        request: RequestInfo,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        if request.id.is_none() {
            // The answer to a notification is ignored.
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session_id = response
            .headers()
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        match media_type(&response).as_str() {
            EVENT_STREAM => Ok(StreamableHttpPostResponse::Sse(
                self.messages.read_events(response, request),
                session_id,
            )),
            JSON => Ok(StreamableHttpPostResponse::Json(
                self.messages.read_message(response, &request).await?,
                session_id,
            )),
            _ => Err(StreamableHttpError::UnexpectedContentType(None)),
        }
    }

    /// Treats other statuses like the SDK's client. An error that the server sent as a message is
    /// returned. Any refusal of a discovery means that the server has an older protocol version.
    async fn read_refusal(
        &self,
        status: StatusCode,
        response: Response,
        request: RequestInfo,
        session_id: Option<&str>,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(unexpected_status(status));
        }
        let is_json = media_type(&response) == JSON && status != StatusCode::TOO_MANY_REQUESTS;
        let message = if is_json {
            self.messages.read_message(response, &request).await.ok()
        } else {
            None
        };
        let error = message.and_then(|message| match message {
            ServerJsonRpcMessage::Error(error) => Some(error),
            _ => None,
        });
        if request.is_discovery && session_id.is_none() && status.is_client_error() {
            let error = error.map_or_else(
                || ErrorData::invalid_request("rejected", None),
                |error| error.error,
            );
            let message = ServerJsonRpcMessage::error(error, request.id);
            return Ok(StreamableHttpPostResponse::Json(message, None));
        }
        match error {
            Some(error) => Ok(StreamableHttpPostResponse::Json(
                ServerJsonRpcMessage::Error(error),
                None,
            )),
            None if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(HttpStatusError::new(status.as_u16(), None).into())
            }
            None => Err(unexpected_status(status)),
        }
    }
}

fn unexpected_status(status: StatusCode) -> TransportError {
    StreamableHttpError::UnexpectedServerResponse(format!("HTTP {status}").into())
}

/// Type and subtype in lower case.
fn media_type(response: &Response) -> String {
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Logs a failed request without its path and query.
fn log_request_error(error: &reqwest::Error) -> Option<McpServerError> {
    let server = error.url().map(|url| url.origin().ascii_serialization());
    if let Some(refused) = refused_in(error) {
        tracing::error!(%refused, "call of a tool refused");
        return Some(McpServerError::NotAllowed);
    }
    tracing::warn!(
        server,
        error = error.source().map(error_chain),
        "request to an MCP server failed"
    );
    None
}

impl StreamableHttpClient for KeyedClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: McpHeaders,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            headers,
            limits,
        )
        .await
    }

    /// Uses our own limits. The agent's headers contain its credentials.
    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: McpHeaders,
        _limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        // The SDK continues with its first message even if the attempt has ended and has released
        // its memory.
        let ended = self.messages.memory().ended();
        let posted = tokio::select! {
            biased;
            () = ended.cancelled() => {
                Err(StreamableHttpError::UnexpectedServerResponse("the run has ended".into()))
            }
            posted = self.post(&uri, &message, session_id.as_deref(), headers) => posted,
        };
        self.record_result(posted)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: McpHeaders,
    ) -> Result<(), TransportError> {
        let http = self.http.clone();
        let deletion = async move {
            http.delete_session(uri, session_id, auth_header, headers)
                .await
        };
        self.record_result(on_connection_threads(self.agent(), deletion).await)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: McpHeaders,
    ) -> Result<Events, TransportError> {
        let most = MAX_MESSAGE_BYTES;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            headers,
            most,
        )
        .await
    }

    /// Only resumes an interrupted answer. Notifications of the server are not requested, which
    /// saves a connection.
    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: McpHeaders,
        most: usize,
    ) -> Result<Events, TransportError> {
        if last_event_id.is_none() {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        let http = self.http.clone();
        let events = async move {
            http.get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                headers,
                most,
            )
            .await
        };
        let events = self.record_result(on_connection_threads(self.agent(), events).await)?;
        Ok(self.messages.check_events(events, RequestInfo::default()))
    }
}
