//! What the requests of one client share, and what each of them is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::model::{ClientJsonRpcMessage, ClientRequest, RequestId};

use super::IDEMPOTENCY_KEY;
use super::error::McpServerError;
use super::repair::{RequestKind, SkippedTool};
use crate::memory::LargeAnswer;

/// The state that the clones of a client share.
#[derive(Default)]
pub(super) struct ClientState {
    error: OnceLock<McpServerError>,
    /// The calls in progress by their keys, with the permit of those whose answers are large.
    calls: Mutex<HashMap<String, Option<LargeAnswer>>>,
    /// The tools of the list that cannot be offered to the model.
    skipped: Mutex<Vec<SkippedTool>>,
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
    pub(super) kind: RequestKind,
}

impl ClientState {
    /// The first error of the client and its clones.
    pub(super) fn recorded_error(&self) -> Option<McpServerError> {
        self.error.get().cloned()
    }

    pub(super) fn record_error(&self, error: McpServerError) {
        // Only the first error is stored.
        let _ = self.error.set(error);
    }

    pub(super) fn skipped(&self) -> MutexGuard<'_, Vec<SkippedTool>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, HashMap<String, Option<LargeAnswer>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwaitedCall {
    pub(super) fn new(state: &Arc<ClientState>, key: &str) -> Self {
        state.calls().insert(key.to_owned(), None);
        Self {
            state: Arc::clone(state),
            key: key.to_owned(),
        }
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
            kind: match request.request {
                ClientRequest::InitializeRequest(_) => RequestKind::Initialize,
                ClientRequest::DiscoverRequest(_) => RequestKind::Discover,
                ClientRequest::ListToolsRequest(_) => RequestKind::ListTools,
                ClientRequest::CallToolRequest(_) => RequestKind::CallTool,
                _ => RequestKind::Other,
            },
        }
    }
}
