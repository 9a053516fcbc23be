//! The outcome of one attempt at a run.

use domain::{Ended, Fault, Run};

/// How one attempt at a run went.
#[derive(Debug)]
pub(crate) enum AttemptOutcome {
    Ended(Ended),
    /// The attempt failed. The caller decides whether the task is tried again.
    Faulted {
        fault: Fault,
        /// The progress so far.
        run: Box<Run>,
    },
    /// A newer attempt holds the task, or the task has ended. This attempt has no effect.
    Fenced,
}
