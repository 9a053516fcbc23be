//! Timeouts of request bodies, and large responses in small pieces.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::connections::ResponseInProgress;
use super::fair_semaphore::Permit;
use super::transfer::Transfer;

/// Bytes of a large response that are passed to the connection at a time.
const PIECE: usize = 64 * 1024;

/// The body did not arrive in time, or was interrupted because other requests waited.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
struct BodyTimeout;

/// A request body of which the first bytes are read.
pub(super) enum BufferedBody {
    /// The whole body; or, if it failed, the error.
    Small(Body),
    /// More bytes may follow.
    Large(Body),
}

/// Whether the body has more than `bytes` bytes or an unknown length.
pub(super) fn is_large(body: &Body, bytes: usize) -> bool {
    body.size_hint()
        .upper()
        .is_none_or(|upper| upper > bytes as u64)
}

/// Ends the body with an error after a pause longer than `pause`, if it is not complete
/// after `total`, or when `transfer` is interrupted.
pub(super) fn limit_time(
    body: Body,
    pause: Duration,
    total: Duration,
    transfer: Arc<Transfer>,
) -> Body {
    let state = (body.into_data_stream(), transfer);
    let end = Instant::now() + total;
    let chunks = stream::unfold(
        state,
        move |(mut chunks, transfer): (BodyDataStream, Arc<Transfer>)| async move {
            let next = timeout_at(end.min(Instant::now() + pause), chunks.next());
            let chunk = tokio::select! {
                biased;
                chunk = next => chunk.ok(),
                () = transfer.interrupted() => None,
            };
            let chunk = match chunk {
                Some(Some(chunk)) => chunk,
                Some(None) if transfer.complete() => return None,
                Some(None) | None => {
                    transfer.fail_late();
                    Err(axum::Error::new(BodyTimeout))
                }
            };
            transfer.add(chunk.as_ref().map_or(0, Bytes::len));
            Some((chunk, (chunks, transfer)))
        },
    );
    Body::from_stream(chunks)
}

/// Reads the body to its end, or until more than `bytes` have arrived.
pub(super) async fn buffer_body(body: Body, bytes: usize) -> BufferedBody {
    let mut chunks = body.into_data_stream();
    let mut arrived = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => arrived.extend_from_slice(&chunk),
            Err(error) => {
                return BufferedBody::Small(Body::from_stream(stream::iter([Err::<Bytes, _>(
                    error,
                )])));
            }
        }
        if arrived.len() > bytes {
            let arrived = stream::iter([Ok(Bytes::from(arrived))]);
            return BufferedBody::Large(Body::from_stream(arrived.chain(chunks)));
        }
    }
    BufferedBody::Small(arrived.into())
}

/// Held by a large response until its last piece is passed to the connection.
pub(super) struct ResponseTransfer {
    pub(super) _permit: Option<Permit>,
    pub(super) transfer: Arc<Transfer>,
    pub(super) _response: ResponseInProgress,
}

/// Returns the same bytes in pieces.
pub(super) async fn split_body(body: Body, sending: ResponseTransfer) -> Result<Body, axum::Error> {
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let pieces = stream::unfold((bytes, sending), async |(mut bytes, sending)| {
        let piece = bytes.split_to(PIECE.min(bytes.len()));
        sending.transfer.add(piece.len());
        (!piece.is_empty()).then_some((Ok::<_, axum::Error>(piece), (bytes, sending)))
    });
    Ok(Body::from_stream(pieces))
}
