//! Reads the messages of MCP servers within limits on bytes and values.
//!
//! The SDK parses a message into several copies of a `Value`, which take 600 bytes for each
//! JSON value. So answers are read here, and one large answer of a run at a time. A message
//! over a limit is replaced by an error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use domain::count_json_values;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::Response;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::streamable_http_client::{SseError, StreamableHttpError};
use sse_stream::{Sse, SseStream};

use super::IDEMPOTENCY_KEY;
use crate::memory::{LargeAnswer, MAX_LISTED_VALUES, RunMemory, SMALL_BYTES};

/// Most bytes of a server's message, including binary content.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of all events of one answer: the message, and the notifications before it.
const MAX_STREAM_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// Most JSON values of a message. They take 30 MB while the SDK parses it.
const MAX_MESSAGE_VALUES: usize = 50_000;

type TransportError = StreamableHttpError<reqwest::Error>;
pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Reads the answers to one client and its clones.
#[derive(Clone)]
pub(super) struct MessageReader {
    memory: RunMemory,
    state: Arc<ClientState>,
}

/// The state that the clones of a client share.
#[derive(Default)]
struct ClientState {
    error: OnceLock<McpServerError>,
    /// The calls in progress by their keys, with the permit of those whose answers are large.
    calls: Mutex<HashMap<String, Option<LargeAnswer>>>,
}

/// An error that a retry does not fix.
#[derive(Clone, Copy, Debug)]
pub(super) enum McpServerError {
    /// The address is not allowed.
    NotAllowed,
    /// The server refused the credentials.
    Unauthorized,
    /// A message is over a limit.
    TooLarge,
}

/// A call in progress. A large answer holds its permit until this is dropped.
pub(super) struct AwaitedCall {
    state: Arc<ClientState>,
    key: String,
}

/// The properties of a request that the reader of its answer needs.
#[derive(Clone, Default)]
pub(super) struct RequestInfo {
    pub(super) id: Option<RequestId>,
    pub(super) key: Option<String>,
    is_list: bool,
    pub(super) is_discovery: bool,
}

/// Why a stream of events ends.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    #[error("the events of an answer are over the limit")]
    TooLong,
}

impl MessageReader {
    /// A reader for the attempt that this is called in.
    pub(super) fn new() -> Self {
        Self {
            memory: RunMemory::current(),
            state: Arc::default(),
        }
    }

    pub(super) const fn memory(&self) -> &RunMemory {
        &self.memory
    }

    pub(super) fn permanent_error(&self) -> Option<McpServerError> {
        self.state.error.get().copied()
    }

    pub(super) fn record_error(&self, error: McpServerError) {
        self.state.record_error(error);
    }

    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.state.calls().insert(key.to_owned(), None);
        AwaitedCall {
            state: Arc::clone(&self.state),
            key: key.to_owned(),
        }
    }

    /// Reads the message in a body. Replaces it by an error if it is over a limit.
    pub(super) async fn read_message(
        &self,
        mut response: Response,
        request: &RequestInfo,
    ) -> Result<ServerJsonRpcMessage, TransportError> {
        let mut progress = ResponseProgress::new(self, request);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_MESSAGE_BYTES {
                return Ok(self.over_bound(request, MAX_MESSAGE_BYTES, "bytes"));
            }
            progress.reserve(chunk.len()).await;
            body.extend_from_slice(&chunk);
        }
        let bytes = body.len();
        let (values, body) = self
            .memory
            .off_workers(bytes, move || (count_json_values(&body), body))
            .await?;
        if let Some(error) = self.over_values(request, values) {
            return Ok(error);
        }
        self.memory.before_storing(bytes, values).await;
        let parsed = self
            .memory
            .off_workers(bytes, move || serde_json::from_slice(&body))
            .await?;
        parsed.map_err(|_| StreamableHttpError::UnexpectedServerResponse("not a message".into()))
    }

    pub(super) fn read_events(&self, response: Response, request: RequestInfo) -> Events {
        let state = (response, ResponseProgress::new(self, &request));
        let bytes = futures::stream::try_unfold(state, async |(mut response, mut progress)| {
            let Some(chunk) = response.chunk().await? else {
                return Ok(None);
            };
            if progress.bytes + chunk.len() > MAX_STREAM_BYTES {
                return Err(StreamError::TooLong);
            }
            progress.reserve(chunk.len()).await;
            Ok(Some((chunk, (response, progress))))
        });
        self.check_events(SseStream::from_bytes_stream(bytes).boxed(), request)
    }

    /// Replaces events that are over a limit by errors.
    pub(super) fn check_events(&self, events: Events, request: RequestInfo) -> Events {
        let reader = self.clone();
        events
            .take_until(self.memory.ended().cancelled_owned())
            .then(move |event| {
                let (reader, request) = (reader.clone(), request.clone());
                async move { reader.check_event(event, &request).await }
            })
            .boxed()
    }

    async fn check_event(
        &self,
        event: Result<Sse, SseError>,
        request: &RequestInfo,
    ) -> Result<Sse, SseError> {
        let event = match event {
            Err(SseError::Body(error)) if is_too_long(&*error) => {
                return as_event(&self.over_bound(request, MAX_STREAM_BYTES, "bytes"));
            }
            event => event?,
        };
        let Some(data) = event.data else {
            return Ok(event);
        };
        let bytes = data.len();
        if bytes > MAX_MESSAGE_BYTES {
            return as_event(&self.over_bound(request, MAX_MESSAGE_BYTES, "bytes"));
        }
        let counted = self
            .memory
            .off_workers(bytes, move || (count_json_values(data.as_bytes()), data))
            .await;
        let (values, data) = counted.map_err(|error| SseError::Body(error.into()))?;
        if let Some(error) = self.over_values(request, values) {
            return as_event(&error);
        }
        self.memory.before_storing(bytes, values).await;
        Ok(Sse {
            data: Some(data),
            ..event
        })
    }

    /// The error that replaces a message with this many JSON values, if they are too many.
    fn over_values(&self, request: &RequestInfo, values: usize) -> Option<ServerJsonRpcMessage> {
        if request.is_list && !self.memory.may_list(values) {
            return Some(self.over_bound(request, MAX_LISTED_VALUES, "JSON values"));
        }
        (values > MAX_MESSAGE_VALUES)
            .then(|| self.over_bound(request, MAX_MESSAGE_VALUES, "JSON values"))
    }

    /// The error that replaces a message with more than `most`.
    fn over_bound(&self, request: &RequestInfo, most: usize, what: &str) -> ServerJsonRpcMessage {
        self.state.record_error(McpServerError::TooLarge);
        let message = format!("the answer has more than {most} {what}");
        ServerJsonRpcMessage::error(
            ErrorData::new(ErrorCode::INTERNAL_ERROR, message, None),
            request.id.clone(),
        )
    }
}

impl ClientState {
    fn record_error(&self, error: McpServerError) {
        // Only the first error is stored.
        let _ = self.error.set(error);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, Option<LargeAnswer>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AwaitedCall {
    fn drop(&mut self) {
        self.state.calls().remove(&self.key);
    }
}

impl RequestInfo {
    pub(super) fn from_message(message: &ClientJsonRpcMessage) -> Self {
        let ClientJsonRpcMessage::Request(request) = message else {
            return Self::default();
        };
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

/// The progress of reading one answer.
struct ResponseProgress {
    reader: MessageReader,
    key: Option<String>,
    bytes: usize,
    /// `None` if the call holds the permit.
    large: Option<LargeAnswer>,
    is_large: bool,
}

impl ResponseProgress {
    fn new(reader: &MessageReader, request: &RequestInfo) -> Self {
        Self {
            reader: reader.clone(),
            key: request.key.clone(),
            bytes: 0,
            large: None,
            is_large: false,
        }
    }

    /// Must be called before this many more bytes are stored.
    async fn reserve(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes <= SMALL_BYTES {
            return;
        }
        if !self.is_large {
            self.is_large = true;
            self.large = Some(self.reader.memory.large_answer().await);
            let mut calls = self.reader.state.calls();
            if let Some(held) = self.key.as_ref().and_then(|key| calls.get_mut(key)) {
                *held = self.large.take();
            }
        }
        self.reader.memory.before_reading_more(self.bytes).await;
    }
}

fn as_event(message: &ServerJsonRpcMessage) -> Result<Sse, SseError> {
    let data = serde_json::to_string(message).map_err(|error| SseError::Body(error.into()))?;
    Ok(Sse::default().data(data))
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StreamError::TooLong))
}
