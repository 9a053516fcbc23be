//! What has happened, as far as the properties ask for it.

use domain::TaskId;

use crate::record::Ending;

/// What has happened. Nothing but the properties looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// Tasks answered 200.
    pub accepted: Ids,
    /// Tasks of which a runner, or its access to our storage, was lost.
    pub lost: Ids,
    /// Tasks that were running when their process died.
    pub killed: Ids,
    /// The id that the first put of this day came to.
    pub promised: Option<TaskId>,
    /// Calls of tools that were made, the first ones of each task.
    pub calls: Vec<(TaskId, u8)>,
    /// An attempt made the calls that an earlier one had decided on.
    pub same_calls: bool,
    /// Ends recorded, the first one of each task.
    pub ends: Vec<(TaskId, Ending)>,
    /// The first thing that must not happen.
    pub breach: Option<Breach>,
}

/// What no step may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Within a day the key came to two ids.
    TwoIds,
    /// A task that had ended was ended again.
    EndedTwice,
    /// A runner recorded an end though a newer attempt held the task.
    LateWrite,
    /// A runner within its deadline found its result void.
    VoidInTime,
    /// Other calls were made under the key of earlier ones.
    OtherCalls,
    /// A task of which nothing was lost ended as `worker_lost`.
    LostForNothing,
    /// A task that had lost its worker was claimed to run beside others.
    LostBesideOthers,
    /// The measure that bounds every history did not fall.
    Endless,
}

/// A set of the few tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids(u32);

impl Ids {
    /// Adds one.
    pub fn insert(&mut self, id: TaskId) {
        self.0 |= Self::bit(id);
    }

    /// Whether it is in.
    pub fn contains(self, id: TaskId) -> bool {
        self.0 & Self::bit(id) != 0
    }

    /// No task.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As many as there are.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    fn bit(id: TaskId) -> u32 {
        1 << number(id)
    }
}

/// Which request offered an id: tasks are created a millisecond apart.
pub fn number(id: TaskId) -> u64 {
    id.created_at().millis() % 1000 % 32
}
