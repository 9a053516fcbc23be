//! What befell a task, for people.

use crate::{ErrorType, Moment};

/// One thing that befell a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, by the clock of who did it.
    pub at: Moment,
    /// Which attempt it belongs to.
    pub attempt: Option<u32>,
}

/// The kinds of things that befall a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was triggered.
    Created,
    /// A runner took it.
    Claimed,
    /// The runner gave it back, or was found dead.
    Released {
        /// Why; `None` if its server stopped in good order.
        fault: Option<(ErrorType, String)>,
        /// When the next attempt may begin, if not at once.
        resumes_at: Option<Moment>,
    },
    /// It ended.
    Finished,
}
