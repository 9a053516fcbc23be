//! Reads the bytes of answers within the limits of a run.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use reqwest::Response;
use sse_stream::Sse;

use super::error::McpServerError;
use super::sse::SseParser;
use super::state::{ClientState, RequestInfo};
use crate::memory::{LargeAnswer, RunMemory, SMALL_BYTES};

/// Most bytes of a server's message, including binary content.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of all events of one answer: the message, and the notifications before it.
pub(super) const MAX_STREAM_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// Why a stream of events ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Broken(#[from] McpServerError),
    #[error("the events of an answer are over the limit")]
    TooLong,
}

/// The events of one answer.
pub(super) struct EventSource {
    /// `None` after its end.
    response: Option<Response>,
    progress: ResponseProgress,
    parser: SseParser,
    parsed: VecDeque<Sse>,
}

impl EventSource {
    pub(super) fn new(response: Response, progress: ResponseProgress) -> Self {
        Self {
            response: Some(response),
            progress,
            parser: SseParser::default(),
            parsed: VecDeque::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Sse>, StreamError> {
        loop {
            if let Some(event) = self.parsed.pop_front() {
                return Ok(Some(event));
            }
            let Some(response) = &mut self.response else {
                return Ok(None);
            };
            match next_chunk(response).await? {
                Some(chunk) if self.progress.bytes + chunk.len() > MAX_STREAM_BYTES => {
                    return Err(StreamError::TooLong);
                }
                Some(chunk) => {
                    self.progress.reserve(chunk.len()).await;
                    self.parser.push(&chunk, &mut self.parsed);
                }
                None => {
                    self.response = None;
                    self.parsed.extend(self.parser.finish());
                }
            }
        }
    }
}

pub(super) async fn next_chunk(
    response: &mut Response,
) -> Result<Option<impl Deref<Target = [u8]> + use<>>, McpServerError> {
    let chunk = response.chunk().await;
    chunk.map_err(|error| McpServerError::from_request(&error))
}

/// The progress of reading one answer.
pub(super) struct ResponseProgress {
    memory: RunMemory,
    state: Arc<ClientState>,
    key: Option<String>,
    bytes: usize,
    /// `None` if the call holds the permit.
    large: Option<LargeAnswer>,
    is_large: bool,
}

impl ResponseProgress {
    pub(super) fn new(memory: &RunMemory, state: &Arc<ClientState>, request: &RequestInfo) -> Self {
        Self {
            memory: memory.clone(),
            state: Arc::clone(state),
            key: request.key.clone(),
            bytes: 0,
            large: None,
            is_large: false,
        }
    }

    /// Must be called before this many more bytes are stored.
    pub(super) async fn reserve(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes <= SMALL_BYTES {
            return;
        }
        if !self.is_large {
            self.is_large = true;
            self.large = Some(self.memory.large_answer().await);
            let mut calls = self.state.calls();
            if let Some(held) = self.key.as_ref().and_then(|key| calls.get_mut(key)) {
                *held = self.large.take();
            }
        }
        self.memory.before_reading_more(self.bytes).await;
    }
}

pub(super) fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StreamError::TooLong))
}
