//! What becomes of a queue message.

use std::time::Duration;

use domain::{ClaimRefusal, Moment};

use crate::log;

/// What the queue must do with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Ack,
    /// Deliver it again after this long.
    RetryAfter(Duration),
}

/// Only the next read of the task shows whether its message is still needed.
pub(crate) const LOOK_AGAIN: Disposition = Disposition::RetryAfter(Duration::from_secs(1));

/// What becomes of the message of a task that could not be claimed.
pub(crate) fn defer_refused(refusal: ClaimRefusal, now: Moment) -> Disposition {
    match refusal {
        ClaimRefusal::Gone | ClaimRefusal::Ended => Disposition::Ack,
        ClaimRefusal::Held { until } => {
            let pause = until.since(now);
            log::log_deferred(pause);
            Disposition::RetryAfter(pause)
        }
        // The task changed between two reads.
        ClaimRefusal::MustRunAlone | ClaimRefusal::Exhausted => LOOK_AGAIN,
    }
}

/// Does not delete the message: a newer attempt may hold the task, and this may be its only
/// message.
pub(crate) fn superseded() -> Disposition {
    tracing::warn!("attempt superseded: the task has ended or has a newer attempt");
    LOOK_AGAIN
}
