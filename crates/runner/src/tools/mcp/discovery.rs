//! The first request, `server/discover` of version 2026-07-28. Servers of older versions answer it
//! with an error, with an unrelated result, or not at all, and are asked to `initialize` then.

use std::time::Duration;

use futures::StreamExt as _;
use rmcp::model::{ErrorData, ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult};
use rmcp::transport::streamable_http_client::{StreamableHttpError, StreamableHttpPostResponse};

use super::error::TransportError;

/// Time to answer a discovery. Leaves most of the time to connect for `initialize`.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer of a server that has this version. `None` for all other answers. An error if no
/// other request can succeed.
pub(super) async fn answer_discovery(
    posted: impl Future<Output = Result<StreamableHttpPostResponse, TransportError>>,
) -> Result<Option<ServerJsonRpcMessage>, TransportError> {
    let answered = async {
        match posted.await? {
            StreamableHttpPostResponse::Json(message, _) => Ok(Some(message)),
            StreamableHttpPostResponse::Sse(mut events, _) => loop {
                let Some(Ok(event)) = events.next().await else {
                    return Ok(None);
                };
                let data = event.data.unwrap_or_default();
                let message: Option<ServerJsonRpcMessage> = serde_json::from_str(&data).ok();
                let is_answer = matches!(
                    message,
                    Some(ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
                );
                if is_answer {
                    return Ok(message);
                }
            },
            _ => Ok(None),
        }
    };
    match tokio::time::timeout(DISCOVERY_TIMEOUT, answered).await {
        Ok(Ok(message)) => Ok(message.filter(is_discovered)),
        Ok(Err(StreamableHttpError::Client(error))) if error.ends_discovery() => Err(error.into()),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

fn is_discovered(message: &ServerJsonRpcMessage) -> bool {
    let ServerJsonRpcMessage::Response(response) = message else {
        return false;
    };
    let ServerResult::DiscoverResult(result) = &response.result else {
        return false;
    };
    result.supported_versions.contains(&ProtocolVersion::LATEST)
}

/// The answer from which the SDK concludes that the server has an older protocol version.
pub(super) fn reject_discovery(id: Option<RequestId>) -> StreamableHttpPostResponse {
    let error = ErrorData::invalid_request("rejected", None);
    StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(error, id), None)
}
