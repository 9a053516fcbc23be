//! Bodies within bounds of time, and large answers in small pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::places::Place;

/// How much of a large answer is handed to the connection at a time.
const PIECE: usize = 64 * 1024;

/// Whether a body came too slowly, for who answers in the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Lateness(Arc<AtomicBool>);

impl Lateness {
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
struct Late;

/// More than `bytes`, or nobody knows.
pub(super) fn is_large(body: &Body, bytes: usize) -> bool {
    body.size_hint().upper().is_none_or(|upper| upper > bytes as u64)
}

/// The body, broken off with an error after a pause longer than `pause`, or
/// when it is not complete after `whole`.
pub(super) fn timed(body: Body, pause: Duration, whole: Duration) -> (Body, Lateness) {
    let lateness = Lateness::default();
    let state = (body.into_data_stream(), lateness.clone());
    let end = Instant::now() + whole;
    let chunks =
        stream::unfold(state, move |(mut chunks, lateness): (BodyDataStream, Lateness)| async move {
            let chunk = match timeout_at(end.min(Instant::now() + pause), chunks.next()).await {
                Ok(chunk) => chunk?,
                Err(_) => {
                    lateness.0.store(true, Ordering::Relaxed);
                    Err(axum::Error::new(Late))
                }
            };
            Some((chunk, (chunks, lateness)))
        });
    (Body::from_stream(chunks), lateness)
}

/// A body that is here already, or as much of it as came and then the error.
pub(super) async fn collected(body: Body) -> Body {
    let mut chunks = body.into_data_stream();
    let mut here = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => here.extend_from_slice(&chunk),
            Err(error) => return Body::from_stream(stream::iter([Err::<Bytes, _>(error)])),
        }
    }
    here.into()
}

/// The same bytes in pieces, holding `place` until the last one is handed over.
pub(super) async fn in_pieces(body: Body, place: Option<Place>) -> Result<Body, axum::Error> {
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let pieces = stream::unfold((bytes, place), async |(mut bytes, place)| {
        let piece = bytes.split_to(PIECE.min(bytes.len()));
        (!piece.is_empty()).then_some((Ok::<_, axum::Error>(piece), (bytes, place)))
    });
    Ok(Body::from_stream(pieces))
}
