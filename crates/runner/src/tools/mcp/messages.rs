//! What MCP servers answer, read within bounds on bytes and values.
//!
//! The SDK parses a message into several copies of a `Value`, 600 bytes for each JSON
//! value. So answers are read here, and one large answer of a run at a time. An error
//! stands for a message that is over a bound.

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

/// Most bytes of a server's message, with what is no text in it.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of all events of one answer: the message, and what is told meanwhile.
const MAX_STREAM_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// Most JSON values of a message: 30 MB while the SDK parses it.
const MAX_MESSAGE_VALUES: usize = 50_000;

type Failure = StreamableHttpError<reqwest::Error>;
pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Reads what servers answer to one client and its clones.
#[derive(Clone)]
pub(super) struct MessageReader {
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
pub(super) struct Awaited {
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
    /// A reader of the attempt that this is called in.
    pub(super) fn new() -> Self {
        Self { memory: RunMemory::of_this_run(), shared: Arc::default() }
    }

    pub(super) const fn memory(&self) -> &RunMemory {
        &self.memory
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.shared.trouble.get().copied()
    }

    pub(super) fn note(&self, trouble: Trouble) {
        self.shared.note(trouble);
    }

    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        self.shared.calls().insert(key.to_owned(), None);
        AwaitedCall { shared: Arc::clone(&self.shared), key: key.to_owned() }
    }

    /// The message in a body, or an error in its place.
    pub(super) async fn message(
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

    pub(super) fn events(&self, response: Response, awaited: Awaited) -> Events {
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
    pub(super) fn checked(&self, events: Events, awaited: Awaited) -> Events {
        let reader = self.clone();
        events
            .take_until(self.memory.ended().cancelled_owned())
            .then(move |event| {
                let (reader, awaited) = (reader.clone(), awaited.clone());
                async move { reader.check_event(event, &awaited).await }
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
    pub(super) fn of(message: &ClientJsonRpcMessage) -> Self {
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
    reader: MessageReader,
    key: Option<String>,
    bytes: usize,
    /// Unless the call has it.
    large: Option<LargeAnswer>,
    is_large: bool,
}

impl Reading {
    fn new(reader: &MessageReader, awaited: &Awaited) -> Self {
        Self { reader: reader.clone(), key: awaited.key.clone(), bytes: 0, large: None, is_large: false }
    }

    /// Before so many more bytes are kept.
    async fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes <= SMALL_BYTES {
            return;
        }
        if !self.is_large {
            self.is_large = true;
            self.large = Some(self.reader.memory.large_answer().await);
            let mut calls = self.reader.shared.calls();
            if let Some(held) = self.key.as_ref().and_then(|key| calls.get_mut(key)) {
                *held = self.large.take();
            }
        }
        self.reader.memory.before_reading_on(self.bytes).await;
    }
}

fn as_event(message: &ServerJsonRpcMessage) -> Result<Sse, SseError> {
    let data = serde_json::to_string(message).map_err(|error| SseError::Body(error.into()))?;
    Ok(Sse::default().data(data))
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StreamError::TooLong))
}
