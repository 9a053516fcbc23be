//! The SDK's transport over our own HTTP client, which goes only where it may,
//! follows no redirect and has one TLS stack. What comes back is read by a
//! [`MessageReader`].

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
use super::messages::{Awaited, AwaitedCall, Events, MAX_MESSAGE_BYTES, MessageReader, Trouble};
use crate::client::on_connection_threads;
use crate::egress::refused_in;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

type Headers = HashMap<HeaderName, HeaderValue>;
type Failure = StreamableHttpError<reqwest::Error>;

/// Sends a call's idempotency key as a header, too, and remembers why a server
/// cannot be used: the SDK's errors keep the cause only as text.
#[derive(Clone)]
pub(super) struct KeyedClient {
    http: Client,
    messages: MessageReader,
}

impl KeyedClient {
    /// A client of the attempt that this is called in.
    pub(super) fn new(http: Client) -> Self {
        Self { http, messages: MessageReader::new() }
    }

    /// What this client and its clones met.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.messages.trouble()
    }

    /// To be held until the answer to the call with this key has been made into a result.
    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.messages.await_call(key)
    }

    fn agent(&self) -> Option<AgentId> {
        self.messages.memory().agent()
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
            self.messages.note(trouble);
        }
        result
    }

    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session_id: Option<&str>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let awaited = Awaited::of(message);
        let mut headers = HeaderMap::from_iter(headers);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if let Some(id) = session_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(SESSION_ID, id);
        }
        if let Some(key) = awaited.key.as_deref().and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.insert(HeaderName::from_static(IDEMPOTENCY_KEY), key);
        }
        let request = self.http.post(uri).headers(headers).json(message);
        let response = on_connection_threads(self.agent(), request.send()).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(StreamableHttpPostResponse::Accepted),
            StatusCode::NOT_FOUND if session_id.is_some() => Err(StreamableHttpError::SessionExpired),
            status if status.is_success() => self.answer(response, awaited).await,
            status => self.refusal(status, response, awaited, session_id.is_some()).await,
        }
    }

    async fn answer(
        &self,
        response: Response,
        awaited: Awaited,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        if awaited.id.is_none() {
            // Nothing in the answer to a notification matters.
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session_id =
            response.headers().get(SESSION_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        match media_type(&response).as_str() {
            EVENT_STREAM => {
                Ok(StreamableHttpPostResponse::Sse(self.messages.events(response, awaited), session_id))
            }
            JSON => Ok(StreamableHttpPostResponse::Json(
                self.messages.message(response, &awaited).await?,
                session_id,
            )),
            _ => Err(StreamableHttpError::UnexpectedContentType(None)),
        }
    }

    /// What the SDK makes of other statuses: an error that the server wrote as a message
    /// is told, and whatever a server says to a discovery means that it is of an older kind.
    async fn refusal(
        &self,
        status: StatusCode,
        response: Response,
        awaited: Awaited,
        is_in_session: bool,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(unexpected(status));
        }
        let is_json = media_type(&response) == JSON && status != StatusCode::TOO_MANY_REQUESTS;
        let message = if is_json { self.messages.message(response, &awaited).await.ok() } else { None };
        let error = message.and_then(|message| match message {
            ServerJsonRpcMessage::Error(error) => Some(error),
            _ => None,
        });
        if awaited.is_discovery && !is_in_session && status.is_client_error() {
            let error =
                error.map_or_else(|| ErrorData::invalid_request("rejected", None), |error| error.error);
            let message = ServerJsonRpcMessage::error(error, awaited.id);
            return Ok(StreamableHttpPostResponse::Json(message, None));
        }
        match error {
            Some(error) => Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), None)),
            None if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(HttpStatusError::new(status.as_u16(), None).into())
            }
            None => Err(unexpected(status)),
        }
    }
}

fn unexpected(status: StatusCode) -> Failure {
    StreamableHttpError::UnexpectedServerResponse(format!("HTTP {status}").into())
}

/// Type and subtype, in lower case.
fn media_type(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
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

    /// The bounds are ours, and an agent's headers have its credentials.
    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: Headers,
        _limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        // The SDK goes on with its first message whatever became of the attempt, which has
        // given up its memory by then.
        let ended = self.messages.memory().ended();
        let posted = tokio::select! {
            biased;
            () = ended.cancelled() => {
                Err(StreamableHttpError::UnexpectedServerResponse("the run has ended".into()))
            }
            posted = self.post(&uri, &message, session_id.as_deref(), headers) => posted,
        };
        self.note(posted)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<(), Failure> {
        let http = self.http.clone();
        let deletion = async move { http.delete_session(uri, session_id, auth_header, headers).await };
        self.note(on_connection_threads(self.agent(), deletion).await)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failure> {
        let most = MAX_MESSAGE_BYTES;
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
        let events = self.note(on_connection_threads(self.agent(), events).await)?;
        Ok(self.messages.checked(events, Awaited::default()))
    }
}
