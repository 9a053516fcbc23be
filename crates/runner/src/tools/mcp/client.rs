//! The SDK's transport over our own HTTP client, which checks addresses and has the only TLS
//! stack. A [`MessageReader`] reads the responses.

use std::collections::HashMap;
use std::sync::Arc;

use domain::AgentId;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};

use super::IDEMPOTENCY_KEY;
use super::answer::{is_event_stream, not_mcp, refusal};
use super::discovery::{answer_discovery, reject_discovery};
use super::error::{McpServerError, TransportError};
use super::messages::{Events, MessageReader};
use super::redirect::{FollowedRedirect, MAX_REDIRECTS, redirect_target};
use super::repair::{RequestKind, SkippedTool};
use super::state::{AwaitedCall, RequestInfo};
use crate::egress::on_connection_threads;
use crate::tools::oauth::{AccessToken, TokenSource};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type McpHeaders = HashMap<HeaderName, HeaderValue>;

/// Also sends a call's idempotency key as a header, and stores why a server cannot be used,
/// because the SDK's errors contain the cause only as text.
#[derive(Clone)]
pub(super) struct KeyedClient {
    http: Client,
    messages: MessageReader,
    redirect: Arc<FollowedRedirect>,
    tokens: Option<TokenSource>,
}

impl KeyedClient {
    /// A client for the attempt that this is called in.
    pub(super) fn new(http: Client, tokens: Option<TokenSource>) -> Self {
        Self {
            http,
            messages: MessageReader::new(),
            redirect: Arc::default(),
            tokens,
        }
    }

    /// The first error of this client and its clones, except those of a discovery that another
    /// request followed.
    pub(super) fn recorded_error(&self) -> Option<McpServerError> {
        self.messages.recorded_error()
    }

    /// The listed tools that cannot be offered to the model.
    pub(super) fn skipped_tools(&self) -> Vec<SkippedTool> {
        self.messages.skipped_tools()
    }

    /// To be held until the answer to the call with this key has become a result.
    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.messages.await_call(key)
    }

    fn agent(&self) -> Option<AgentId> {
        self.messages.memory().agent()
    }

    fn record<T>(&self, result: &Result<T, TransportError>) {
        if let Err(StreamableHttpError::Client(error)) = result {
            self.messages.record_error(error.clone());
        }
    }

    /// Sends a request with an access token, and with another one if the server refuses it.
    async fn send(
        &self,
        method: Method,
        uri: &str,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, McpServerError> {
        let Some(tokens) = &self.tokens else {
            return self.send_once(method, uri, complete).await;
        };
        let with = |request: RequestBuilder, token: &AccessToken| {
            complete(request).header(AUTHORIZATION, token.header().clone())
        };
        let token = tokens.token().await.map_err(McpServerError::NoToken)?;
        let sent = self.send_once(method.clone(), uri, |request| with(request, &token));
        let response = sent.await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let renewed = tokens.renew(&token).await;
        let renewed = renewed.map_err(McpServerError::NoToken)?;
        self.send_once(method, uri, |request| with(request, &renewed))
            .await
    }

    /// Sends a request, and follows redirects on the same origin with the same method and body.
    async fn send_once(
        &self,
        method: Method,
        uri: &str,
        complete: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, McpServerError> {
        let mut url = self.redirect.current(uri)?;
        for _ in 0..=MAX_REDIRECTS {
            let request = complete(self.http.request(method.clone(), url.clone()));
            let response = on_connection_threads(self.agent(), request.send()).await;
            let response = response.map_err(|error| McpServerError::from_request(&error))?;
            match redirect_target(&url, &response)? {
                Some(target) => url = target,
                None => {
                    self.redirect.follow(url);
                    return Ok(response);
                }
            }
        }
        Err(McpServerError::NotMcp("endless redirects".to_owned()))
    }

    /// A server of an older protocol version may answer a discovery with anything, or not at all.
    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session_id: Option<&str>,
        headers: McpHeaders,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let request = RequestInfo::from_message(message);
        let posted = self.post_request(uri, message, session_id, headers, request.clone());
        let result = if request.kind == RequestKind::Discover {
            match answer_discovery(posted).await {
                Ok(Some(message)) => Ok(StreamableHttpPostResponse::Json(message, None)),
                Ok(None) => Ok(reject_discovery(request.id)),
                Err(error) => Err(error),
            }
        } else {
            posted.await
        };
        self.record(&result);
        result
    }

    async fn post_request(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session_id: Option<&str>,
        headers: McpHeaders,
        request: RequestInfo,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let mut headers = HeaderMap::from_iter(headers);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        );
        insert_header(&mut headers, SESSION_ID, session_id);
        let key = HeaderName::from_static(IDEMPOTENCY_KEY);
        insert_header(&mut headers, key, request.key.as_deref());
        let complete = |request: RequestBuilder| request.headers(headers.clone()).json(message);
        let response = self.send(Method::POST, uri, complete).await?;
        let status = response.status();
        match status {
            StatusCode::NOT_FOUND if session_id.is_some() => {
                Err(StreamableHttpError::SessionExpired)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(McpServerError::Unauthorized(status).into())
            }
            // What a server answers to a notification is ignored.
            _ if request.id.is_none() => Ok(StreamableHttpPostResponse::Accepted),
            status if status.is_success() => self.read_answer(response, request).await,
            _ => self.read_refusal(response, request).await,
        }
    }

    /// Most servers name the type of their JSON, so the type is only a hint.
    async fn read_answer(
        &self,
        response: Response,
        request: RequestInfo,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let session_id = response.headers().get(SESSION_ID);
        let session_id = session_id
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        if is_event_stream(&response) {
            let events = self.messages.read_events(response, request);
            return Ok(StreamableHttpPostResponse::Sse(events, session_id));
        }
        let otherwise = not_mcp(&response);
        match self.messages.read_message(response, &request).await? {
            Some(message) => Ok(StreamableHttpPostResponse::Json(message, session_id)),
            None => Err(otherwise.into()),
        }
    }

    /// An error that the server sent as a message is returned, so that the model sees it.
    async fn read_refusal(
        &self,
        response: Response,
        request: RequestInfo,
    ) -> Result<StreamableHttpPostResponse, TransportError> {
        let mut error = refusal(&response);
        let message = self.messages.read_message(response, &request).await;
        let Ok(Some(ServerJsonRpcMessage::Error(message))) = message else {
            return Err(error.into());
        };
        if let McpServerError::Status { detail, .. } = &mut error {
            *detail = Some(message.error.clone());
        }
        if request.kind != RequestKind::Discover {
            self.messages.record_error(error);
        }
        let message = ServerJsonRpcMessage::error(message.error, request.id);
        Ok(StreamableHttpPostResponse::Json(message, None))
    }

    /// Continues an interrupted answer after this event.
    async fn resume(
        &self,
        uri: &str,
        session_id: Option<&str>,
        last_event_id: &str,
        headers: McpHeaders,
    ) -> Result<Events, TransportError> {
        let mut headers = HeaderMap::from_iter(headers);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        insert_header(&mut headers, SESSION_ID, session_id);
        insert_header(&mut headers, LAST_EVENT_ID, Some(last_event_id));
        let complete = |request: RequestBuilder| request.headers(headers.clone());
        let response = self.send(Method::GET, uri, complete).await?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(refusal(&response).into());
        }
        if !status.is_success() || !is_event_stream(&response) {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        Ok(self.messages.read_events(response, RequestInfo::default()))
    }
}

/// A value that is not valid in a header is not sent.
fn insert_header(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

impl StreamableHttpClient for KeyedClient {
    type Error = McpServerError;

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
        tokio::select! {
            biased;
            () = ended.cancelled() => {
                Err(StreamableHttpError::UnexpectedServerResponse("the run has ended".into()))
            }
            posted = self.post(&uri, &message, session_id.as_deref(), headers) => posted,
        }
    }

    /// A session that the server does not end expires.
    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        headers: McpHeaders,
    ) -> Result<(), TransportError> {
        let mut headers = HeaderMap::from_iter(headers);
        insert_header(&mut headers, SESSION_ID, Some(&session_id));
        let complete = |request: RequestBuilder| request.headers(headers.clone());
        self.send(Method::DELETE, &uri, complete).await?;
        Ok(())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: McpHeaders,
    ) -> Result<Events, TransportError> {
        // Notifications of the server are not requested, which saves a connection.
        let Some(last_event_id) = last_event_id else {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        };
        self.resume(&uri, session_id.as_deref(), &last_event_id, headers)
            .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: McpHeaders,
        _most: usize,
    ) -> Result<Events, TransportError> {
        self.get_stream(uri, session_id, last_event_id, auth_header, headers)
            .await
    }
}
