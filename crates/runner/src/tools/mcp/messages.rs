//! Reads the messages of MCP servers within limits on bytes and values.
//!
//! The SDK parses a message into several copies of a `Value`, which take 600 bytes for each
//! JSON value. So answers are read here, and one large answer of a run at a time. A message
//! over a limit is replaced by an error.

use std::sync::Arc;

use domain::count_json_values;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Response;
use rmcp::model::{ErrorCode, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::SseError;
use serde_json::Value;
use sse_stream::Sse;

use super::error::{McpServerError, TransportError};
use super::repair::{RequestKind, SkippedTool, parse_lenient, repair_message};
use super::state::{AwaitedCall, ClientState, RequestInfo};
use super::stream::{
    EventSource, MAX_MESSAGE_BYTES, MAX_STREAM_BYTES, ResponseProgress, StreamError, is_too_long,
    next_chunk,
};
use crate::memory::{MAX_LISTED_VALUES, RunMemory};

/// Most JSON values of a message. They take 30 MB while the SDK parses it.
const MAX_MESSAGE_VALUES: usize = 50_000;

pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Reads the answers to one client and its clones.
#[derive(Clone)]
pub(super) struct MessageReader {
    memory: RunMemory,
    state: Arc<ClientState>,
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

    /// The first error of this client and its clones.
    pub(super) fn recorded_error(&self) -> Option<McpServerError> {
        self.state.recorded_error()
    }

    pub(super) fn record_error(&self, error: McpServerError) {
        self.state.record_error(error);
    }

    pub(super) fn skipped_tools(&self) -> Vec<SkippedTool> {
        self.state.skipped().clone()
    }

    pub(super) fn await_call(&self, key: &str) -> AwaitedCall {
        AwaitedCall::new(&self.state, key)
    }

    /// Reads the message in a body. Replaces it by an error if it is over a limit. `None` if the
    /// body is not a message.
    pub(super) async fn read_message(
        &self,
        mut response: Response,
        request: &RequestInfo,
    ) -> Result<Option<ServerJsonRpcMessage>, TransportError> {
        let mut progress = ResponseProgress::new(&self.memory, &self.state, request);
        let mut body = Vec::new();
        while let Some(chunk) = next_chunk(&mut response).await? {
            if body.len() + chunk.len() > MAX_MESSAGE_BYTES {
                return Ok(Some(self.over_bound(request, MAX_MESSAGE_BYTES, "bytes")));
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
            return Ok(Some(error));
        }
        self.memory.before_storing(bytes, values).await;
        let (reader, request) = (self.clone(), request.clone());
        let parse = move || serde_json::from_value(reader.repair(body, &request)?).ok();
        Ok(self.memory.off_workers(bytes, parse).await?)
    }

    /// The message as the SDK can parse it. Remembers the tools that are left out.
    fn repair(&self, message: Vec<u8>, request: &RequestInfo) -> Option<Value> {
        let parsed = parse_lenient(&message)?;
        drop(message);
        let id = request
            .id
            .as_ref()
            .and_then(|id| serde_json::to_value(id).ok());
        let (message, skipped) = repair_message(parsed, request.kind, id.as_ref())?;
        self.state.skipped().extend(skipped);
        Some(message)
    }

    pub(super) fn read_events(&self, response: Response, request: RequestInfo) -> Events {
        let state = EventSource::new(
            response,
            ResponseProgress::new(&self.memory, &self.state, &request),
        );
        let events = futures::stream::try_unfold(state, async |mut state| {
            Ok(state.next().await?.map(|event| (event, state)))
        });
        let events = events.map_err(|error: StreamError| SseError::Body(Box::new(error)));
        self.check_events(events.boxed(), request)
    }

    /// Replaces events that are over a limit by errors.
    fn check_events(&self, events: Events, request: RequestInfo) -> Events {
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
        if data.trim().is_empty() {
            return Ok(Sse {
                data: None,
                ..event
            });
        }
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
        let (reader, request) = (self.clone(), request.clone());
        let repair = move || Some(reader.repair(data.into_bytes(), &request)?.to_string());
        let repaired = self.memory.off_workers(bytes, repair).await;
        Ok(Sse {
            data: repaired.map_err(|error| SseError::Body(error.into()))?,
            ..event
        })
    }

    /// The error that replaces a message with this many JSON values, if they are too many.
    fn over_values(&self, request: &RequestInfo, values: usize) -> Option<ServerJsonRpcMessage> {
        if request.kind == RequestKind::ListTools && !self.memory.may_list(values) {
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

fn as_event(message: &ServerJsonRpcMessage) -> Result<Sse, SseError> {
    let data = serde_json::to_string(message).map_err(|error| SseError::Body(error.into()))?;
    Ok(Sse::default().data(data))
}
