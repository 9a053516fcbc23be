//! Measures how fast a request body or a response moves, because other requests may wait for
//! its permit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The slowest pace that is accepted while other requests wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A transfer is not slow before this time has passed.
    pub(super) grace: Duration,
    pub(super) bytes_per_second: u32,
}

/// A request body that is being received, or a response that is being sent.
#[derive(Debug)]
pub(super) struct Transfer {
    pace: Pace,
    progress: Mutex<Progress>,
    interrupt: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    since: Instant,
    /// When the transfer becomes slow. Each byte extends this, at most to the grace from now.
    due: Instant,
    state: TransferState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferState {
    InProgress,
    /// It waits for the server.
    Paused,
    Complete,
    Late,
}

impl Transfer {
    /// `interrupt` ends the transfer.
    pub(super) fn start(pace: Pace, interrupt: CancellationToken) -> Arc<Self> {
        let now = Instant::now();
        let progress = Progress {
            since: now,
            due: now + pace.grace,
            state: TransferState::InProgress,
        };
        Arc::new(Self {
            pace,
            progress: Mutex::new(progress),
            interrupt,
        })
    }

    /// Its pace does not count until [`Self::resume`].
    pub(super) fn pause(&self) {
        self.update(|progress| {
            if progress.state == TransferState::InProgress {
                progress.state = TransferState::Paused;
            }
        });
    }

    /// Its pace counts from now.
    pub(super) fn resume(&self) {
        let now = Instant::now();
        self.update(|progress| {
            if progress.state == TransferState::Paused {
                let due = now + self.pace.grace;
                *progress = Progress {
                    since: now,
                    due,
                    state: TransferState::InProgress,
                };
            }
        });
    }

    pub(super) fn add(&self, bytes: usize) {
        let now = Instant::now();
        let extension = Duration::from_secs(bytes as u64) / self.pace.bytes_per_second.max(1);
        self.update(|progress| {
            progress.due = (progress.due.max(now) + extension).min(now + self.pace.grace)
        });
    }

    /// Marks it as complete. Returns false if it was interrupted before.
    pub(super) fn complete(&self) -> bool {
        self.update(|progress| {
            let is_complete = !self.is_interrupted();
            progress.state = if is_complete {
                TransferState::Complete
            } else {
                TransferState::Late
            };
            is_complete
        })
    }

    pub(super) fn fail_late(&self) {
        self.update(|progress| progress.state = TransferState::Late);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.progress().state == TransferState::Complete
    }

    pub(super) fn is_late(&self) -> bool {
        self.progress().state == TransferState::Late
    }

    /// Whether it may be interrupted for other requests: it has been in progress for at least
    /// the grace.
    pub(super) fn is_interruptible(&self, now: Instant) -> bool {
        let progress = self.progress();
        progress.state == TransferState::InProgress
            && !self.interrupt.is_cancelled()
            && now.duration_since(progress.since) >= self.pace.grace
    }

    /// Whether it is slower than the pace.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.is_interruptible(now) && self.due() <= now
    }

    /// The slower the transfer, the earlier this is.
    pub(super) fn due(&self) -> Instant {
        self.progress().due
    }

    pub(super) fn interrupt(&self) {
        self.interrupt.cancel();
    }

    /// Returns false if it is complete already. Otherwise it can no longer be completed.
    pub(super) fn interrupt_unless_complete(&self) -> bool {
        self.update(|progress| {
            let is_complete = progress.state == TransferState::Complete;
            if !is_complete {
                self.interrupt.cancel();
            }
            !is_complete
        })
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_cancelled()
    }

    pub(super) async fn interrupted(&self) {
        self.interrupt.cancelled().await;
    }

    fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        grace: Duration::from_secs(1),
        bytes_per_second: 1000,
    };

    /// Adds `bytes` every `millis` for ten seconds, and returns whether it was ever slow.
    async fn is_ever_slow(first: usize, bytes: usize, millis: u64) -> bool {
        let transfer = Transfer::start(PACE, CancellationToken::new());
        transfer.add(first);
        let mut was_slow = false;
        for _ in 0..10_000 / millis {
            tokio::time::advance(Duration::from_millis(millis)).await;
            was_slow |= transfer.is_slow(Instant::now());
            transfer.add(bytes);
        }
        was_slow
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_below_the_pace_is_slow_even_after_a_fast_start() {
        assert!(!is_ever_slow(0, 100, 90).await);
        assert!(!is_ever_slow(0, 1000, 900).await);
        assert!(is_ever_slow(0, 100, 200).await);
        assert!(is_ever_slow(1_000_000, 100, 200).await);
        assert!(is_ever_slow(1_000_000, 1, 100).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_transfer_may_become_fast_enough() {
        let transfer = Transfer::start(PACE, CancellationToken::new());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(transfer.is_slow(Instant::now()));
        transfer.add(500);
        assert!(!transfer.is_slow(Instant::now()));
        transfer.complete();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!transfer.is_slow(Instant::now()));
    }
}
