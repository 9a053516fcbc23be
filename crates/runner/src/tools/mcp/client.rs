//! The SDK's transport over our own HTTP client, which goes only where it may,
//! follows no redirect and has one TLS stack.
//!
//! The SDK parses a message into several copies of a `Value`, 600 bytes for each JSON
//! value. So answers are read here: within bounds on bytes and values, and one large
//! answer of a run at a time. An error stands for a message that is over a bound.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use domain::count_json_values;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::{Sse, SseStream};
use store::error_chain;

use crate::client::on_connection_threads;
use crate::egress::refused_in;
use crate::memory::{LargeAnswer, MAX_LISTED_VALUES, RunMemory, SMALL_BYTES};

/// The name of a call's key in its `_meta`, and of its header.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Most bytes of a server's message, with what is no text in it.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of all events of one answer: the message, and what is told meanwhile.
const MAX_STREAM_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// Most JSON values of a message: 30 MB while the SDK parses it.
const MAX_MESSAGE_VALUES: usize = 50_000;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

type Headers = HashMap<HeaderName, HeaderValue>;
type Failure = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Sends a call's idempotency key as a header, too, and remembers why a server
/// cannot be used: the SDK's errors keep the cause only as text.
#[derive(Clone)]
pub(super) struct KeyedClient {
    http: Client,
    memory: RunMemory,
    shared: Arc<Shared>,
}

/// What the clones of a client have in common.
#[derive(Default)]
struct Shared {
    trouble: OnceLock<Trouble>,
    /// By their keys, the calls that are waited for, and whose answers are large.
    calls: Mutex<HashMap<String, Option<LargeAnswer>>>,
}

/// What trying again will not mend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// The address is refused.
    NotAllowed,
    /// The server wants to know more of who is asking.
    Unauthorized,
    /// A message is over a bound.
    TooLarge,
}

/// A call that is waited for. A large answer is counted as read until this is dropped.
pub(super) struct AwaitedCall {
    shared: Arc<Shared>,
    key: String,
}

/// What an answer is for.
#[derive(Clone, Default)]
struct Awaited {
    id: Option<RequestId>,
    key: Option<String>,
    is_list: bool,
    is_discovery: bool,
}

/// Why a stream of events ends.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    #[error("the events of an answer are over the limit")]
    TooLong,
}

impl KeyedClient {
    /// A client of the attempt that this is called in.
    pub(super) fn new(http: Client) -> Self {
        Self { http, memory: RunMemory::of_this_run(), shared: Arc::default() }
    }

    /// What this client and its clones met.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.shared.trouble.get().copied()
    }

    /// To be held until the answer to the call with this key has been made into a result.
    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.shared.calls().insert(key.to_owned(), None);
        AwaitedCall { shared: Arc::clone(&self.shared), key: key.to_owned() }
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
            self.shared.note(trouble);
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
        let response = on_connection_threads(request.send()).await?;
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
            EVENT_STREAM => Ok(StreamableHttpPostResponse::Sse(self.events(response, awaited), session_id)),
            JSON => Ok(StreamableHttpPostResponse::Json(self.message(response, &awaited).await?, session_id)),
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
        let message = if is_json { self.message(response, &awaited).await.ok() } else { None };
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

    /// The message in a body, or an error in its place.
    async fn message(
        &self,
        mut response: Response,
        awaited: &Awaited,
    ) -> Result<ServerJsonRpcMessage, Failure> {
        let mut reading = Reading::new(self, awaited);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_MESSAGE_BYTES {
                return Ok(self.over_bound(awaited, MAX_MESSAGE_BYTES, "bytes"));
            }
            reading.read(chunk.len()).await;
            body.extend_from_slice(&chunk);
        }
        let bytes = body.len();
        let (values, body) = self.memory.off_workers(bytes, move || (count_json_values(&body), body)).await?;
        if let Some(error) = self.over_values(awaited, values) {
            return Ok(error);
        }
        self.memory.before_keeping(bytes, values).await;
        let parsed = self.memory.off_workers(bytes, move || serde_json::from_slice(&body)).await?;
        parsed.map_err(|_| StreamableHttpError::UnexpectedServerResponse("not a message".into()))
    }

    fn events(&self, response: Response, awaited: Awaited) -> Events {
        let state = (response, Reading::new(self, &awaited));
        let bytes = futures::stream::try_unfold(state, async |(mut response, mut reading)| {
            let Some(chunk) = response.chunk().await? else { return Ok(None) };
            if reading.bytes + chunk.len() > MAX_STREAM_BYTES {
                return Err(StreamError::TooLong);
            }
            reading.read(chunk.len()).await;
            Ok(Some((chunk, (response, reading))))
        });
        self.checked(SseStream::from_bytes_stream(bytes).boxed(), awaited)
    }

    /// The events, each as long and of as many values as it may be.
    fn checked(&self, events: Events, awaited: Awaited) -> Events {
        let client = self.clone();
        events
            .take_until(self.memory.ended().cancelled_owned())
            .then(move |event| {
                let (client, awaited) = (client.clone(), awaited.clone());
                async move { client.check_event(event, &awaited).await }
            })
            .boxed()
    }

    async fn check_event(&self, event: Result<Sse, SseError>, awaited: &Awaited) -> Result<Sse, SseError> {
        let event = match event {
            Err(SseError::Body(error)) if is_too_long(&*error) => {
                return as_event(&self.over_bound(awaited, MAX_STREAM_BYTES, "bytes"));
            }
            event => event?,
        };
        let Some(data) = event.data else { return Ok(event) };
        let bytes = data.len();
        if bytes > MAX_MESSAGE_BYTES {
            return as_event(&self.over_bound(awaited, MAX_MESSAGE_BYTES, "bytes"));
        }
        let counted =
            self.memory.off_workers(bytes, move || (count_json_values(data.as_bytes()), data)).await;
        let (values, data) = counted.map_err(|error| SseError::Body(error.into()))?;
        if let Some(error) = self.over_values(awaited, values) {
            return as_event(&error);
        }
        self.memory.before_keeping(bytes, values).await;
        Ok(Sse { data: Some(data), ..event })
    }

    /// What is said in place of a message with so many JSON values, if they are too many.
    fn over_values(&self, awaited: &Awaited, values: usize) -> Option<ServerJsonRpcMessage> {
        if awaited.is_list && !self.memory.may_list(values) {
            return Some(self.over_bound(awaited, MAX_LISTED_VALUES, "JSON values"));
        }
        (values > MAX_MESSAGE_VALUES).then(|| self.over_bound(awaited, MAX_MESSAGE_VALUES, "JSON values"))
    }

    /// What is said in place of a message that has more than `most`.
    fn over_bound(&self, awaited: &Awaited, most: usize, what: &str) -> ServerJsonRpcMessage {
        self.shared.note(Trouble::TooLarge);
        let message = format!("the answer has more than {most} {what}");
        ServerJsonRpcMessage::error(
            ErrorData::new(ErrorCode::INTERNAL_ERROR, message, None),
            awaited.id.clone(),
        )
    }
}

impl Shared {
    fn note(&self, trouble: Trouble) {
        // The first is the one that matters.
        let _ = self.trouble.set(trouble);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Option<LargeAnswer>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AwaitedCall {
    fn drop(&mut self) {
        self.shared.calls().remove(&self.key);
    }
}

impl Awaited {
    fn of(message: &ClientJsonRpcMessage) -> Self {
        let ClientJsonRpcMessage::Request(request) = message else { return Self::default() };
        let key = match &request.request {
            ClientRequest::CallToolRequest(call) => call
                .params
                .meta
                .as_ref()
                .and_then(|meta| meta.get(IDEMPOTENCY_KEY)?.as_str().map(str::to_owned)),
            _ => None,
        };
        Self {
            id: Some(request.id.clone()),
            key,
            is_list: matches!(request.request, ClientRequest::ListToolsRequest(_)),
            is_discovery: matches!(request.request, ClientRequest::DiscoverRequest(_)),
        }
    }
}

/// An answer that is being read.
struct Reading {
    client: KeyedClient,
    key: Option<String>,
    bytes: usize,
    /// Unless the call has it.
    large: Option<LargeAnswer>,
    is_large: bool,
}

impl Reading {
    fn new(client: &KeyedClient, awaited: &Awaited) -> Self {
        Self { client: client.clone(), key: awaited.key.clone(), bytes: 0, large: None, is_large: false }
    }

    /// Before so many more bytes are kept.
    async fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes <= SMALL_BYTES {
            return;
        }
        if !self.is_large {
            self.is_large = true;
            self.large = Some(self.client.memory.large_answer().await);
            let mut calls = self.client.shared.calls();
            if let Some(held) = self.key.as_ref().and_then(|key| calls.get_mut(key)) {
                *held = self.large.take();
            }
        }
        self.client.memory.before_reading_on(self.bytes).await;
    }
}

fn as_event(message: &ServerJsonRpcMessage) -> Result<Sse, SseError> {
    let data = serde_json::to_string(message).map_err(|error| SseError::Body(error.into()))?;
    Ok(Sse::default().data(data))
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StreamError::TooLong))
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
        let ended = self.memory.ended();
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
        self.note(on_connection_threads(deletion).await)
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
        let events = self.note(on_connection_threads(events).await)?;
        Ok(self.checked(events, Awaited::default()))
    }
}
