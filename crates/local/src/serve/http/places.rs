//! Places that are shared fairly: first come, first served, but nobody holds or
//! waits for more than a share at a time. So a place that becomes free goes to
//! a newcomer after at most one share of everybody who waits.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;

/// Lines that nobody stands in are forgotten when there are more than this.
const MANY_LINES: usize = 1024;

/// A number of places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    share: usize,
    waiting: usize,
    lines: Mutex<HashMap<u64, Weak<Line>>>,
    hasher: RandomState,
}

/// Those who are of one kind.
#[derive(Debug)]
struct Line {
    share: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Held while at work.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    _line: Arc<Line>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Too many of one kind wait.
    #[error("too many requests of one kind wait for their turn")]
    LineFull,
    /// No place became free in time.
    #[error("the request did not get its turn in time")]
    TooLong,
}

impl Places {
    /// `total` places; one kind holds up to `share` of them, and `waiting` more
    /// of it wait.
    pub(super) fn new(total: usize, share: usize, waiting: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(total)),
            share,
            waiting,
            lines: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// A place for one of this kind, within `turn`.
    pub(super) async fn take(&self, kind: &str, turn: Duration) -> Result<Place, Refusal> {
        let line = self.line(self.hasher.hash_one(kind));
        let waiting = Arc::clone(&line.waiting).try_acquire_owned().map_err(|refused| match refused {
            TryAcquireError::NoPermits => Refusal::LineFull,
            TryAcquireError::Closed => Refusal::TooLong,
        })?;
        let both = async {
            let share = Arc::clone(&line.share).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>((share, Arc::clone(&self.free).acquire_owned().await?))
        };
        let (share, place) =
            timeout(turn, both).await.map_err(|_| Refusal::TooLong)?.map_err(|_| Refusal::TooLong)?;
        drop(waiting);
        Ok(Place { _place: place, _share: share, _line: line })
    }

    fn line(&self, kind: u64) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&kind).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= MANY_LINES {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(Line {
            share: Arc::new(Semaphore::new(self.share)),
            waiting: Arc::new(Semaphore::new(self.waiting)),
        });
        lines.insert(kind, Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn one_kind_cannot_take_every_place() {
        let places = Places::new(4, 2, 1);
        let _one = places.take("a", SOON).await.unwrap();
        let _two = places.take("a", SOON).await.unwrap();
        assert_eq!(places.take("a", SOON).await.unwrap_err(), Refusal::TooLong);
        places.take("b", Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_the_line_full_is_refused_at_once() {
        let places = Arc::new(Places::new(1, 1, 1));
        let held = places.take("a", SOON).await.unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take("a", SOON).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(places.take("a", SOON).await.unwrap_err(), Refusal::LineFull);
        drop(held);
        assert!(waiting.await.unwrap(), "who waited got the place");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_leaves_no_place_taken() {
        let places = Places::new(1, 1, 8);
        let held = places.take("a", SOON).await.unwrap();
        assert_eq!(places.take("b", SOON).await.unwrap_err(), Refusal::TooLong);
        assert_eq!(places.take("a", SOON).await.unwrap_err(), Refusal::TooLong);
        drop(held);
        places.take("b", Duration::ZERO).await.unwrap();
        places.take("a", Duration::ZERO).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_that_are_gone_are_forgotten() {
        let places = Places::new(1, 1, 1);
        for kind in 0..10 * MANY_LINES {
            places.take(&kind.to_string(), SOON).await.unwrap();
        }
        assert!(places.lines.lock().unwrap().len() <= MANY_LINES + 1);
    }
}
