//! Bodies within bounds of time, and large answers in small pieces.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::connections::AnswerInProgress;
use super::fair_semaphore::Permit;
use super::transfer::Transfer;

/// How much of a large answer is handed to the connection at a time.
const PIECE: usize = 64 * 1024;

/// The body did not arrive in time, or had to end for others.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
struct Late;

/// What the first bytes of a body say of it.
pub(super) enum Beginning {
    /// This is all of it, or as much as came and then the error.
    Small(Body),
    /// It goes on.
    Large(Body),
}

/// More than `bytes`, or of unknown length.
pub(super) fn is_large(body: &Body, bytes: usize) -> bool {
    body.size_hint().upper().is_none_or(|upper| upper > bytes as u64)
}

/// The body, broken off with an error after a pause longer than `pause`, when it
/// is not complete after `whole`, or when `transfer` is interrupted.
pub(super) fn timed(body: Body, pause: Duration, whole: Duration, transfer: Arc<Transfer>) -> Body {
    let state = (body.into_data_stream(), transfer);
    let end = Instant::now() + whole;
    let chunks =
        stream::unfold(state, move |(mut chunks, transfer): (BodyDataStream, Arc<Transfer>)| async move {
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
                    Err(axum::Error::new(Late))
                }
            };
            transfer.add(chunk.as_ref().map_or(0, Bytes::len));
            Some((chunk, (chunks, transfer)))
        });
    Body::from_stream(chunks)
}

/// Reads the body to its end, or until more than `bytes` have arrived.
pub(super) async fn begin(body: Body, bytes: usize) -> Beginning {
    let mut chunks = body.into_data_stream();
    let mut arrived = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => arrived.extend_from_slice(&chunk),
            Err(error) => {
                return Beginning::Small(Body::from_stream(stream::iter([Err::<Bytes, _>(error)])));
            }
        }
        if arrived.len() > bytes {
            let arrived = stream::iter([Ok(Bytes::from(arrived))]);
            return Beginning::Large(Body::from_stream(arrived.chain(chunks)));
        }
    }
    Beginning::Small(arrived.into())
}

/// What a large answer holds until its last piece is handed over.
pub(super) struct Sending {
    pub(super) _permit: Option<Permit>,
    pub(super) transfer: Arc<Transfer>,
    pub(super) _answer: AnswerInProgress,
}

/// The same bytes in pieces.
pub(super) async fn in_pieces(body: Body, sending: Sending) -> Result<Body, axum::Error> {
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let pieces = stream::unfold((bytes, sending), async |(mut bytes, sending)| {
        let piece = bytes.split_to(PIECE.min(bytes.len()));
        sending.transfer.add(piece.len());
        (!piece.is_empty()).then_some((Ok::<_, axum::Error>(piece), (bytes, sending)))
    });
    Ok(Body::from_stream(pieces))
}
