//! Past events that the properties depend on.

use domain::TaskId;

use crate::record::Ending;

/// Past events. Only the properties read them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// Tasks whose trigger was answered with 200.
    pub accepted: Ids,
    /// Tasks that lost a runner, or whose runner lost its access to our storage.
    pub lost: Ids,
    /// Tasks whose process died during a run.
    pub killed: Ids,
    /// The task id of the first put of this day.
    pub promised: Option<TaskId>,
    /// The first tool calls of each task.
    pub calls: Vec<(TaskId, u8)>,
    /// An attempt made the calls that an earlier attempt had decided on.
    pub same_calls: bool,
    /// The first recorded end of each task.
    pub ends: Vec<(TaskId, Ending)>,
    pub breach: Option<Breach>,
}

/// A violation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Within a day, the key had two task ids.
    TwoIds,
    /// A task that had ended was ended again.
    EndedTwice,
    /// A runner wrote to a task that a newer attempt held.
    LateWrite,
    /// The result of a runner within its deadline was void.
    VoidInTime,
    /// Different calls had the same idempotency key.
    OtherCalls,
    /// A task that had lost no worker ended as `worker_lost`.
    LostForNothing,
    /// A task that had lost its worker was not claimed to run alone.
    LostNotAlone,
    /// The measure that bounds the length of a history did not decrease.
    Endless,
}

impl Past {
    /// Stores only the first breach.
    pub(crate) fn record_breach(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    pub(crate) fn record_end(&mut self, id: TaskId, ending: Ending) {
        if self.ends.iter().any(|(ended, _)| *ended == id) {
            self.record_breach(Breach::EndedTwice);
        } else {
            self.ends.push((id, ending));
        }
    }
}

/// A set of tasks, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids(u32);

impl Ids {
    pub fn insert(&mut self, id: TaskId) {
        self.0 |= Self::bit(id);
    }

    pub fn contains(self, id: TaskId) -> bool {
        self.0 & Self::bit(id) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    fn bit(id: TaskId) -> u32 {
        1 << number(id)
    }
}

/// The number of the request that offered the id. Requests are a millisecond apart.
pub fn number(id: TaskId) -> u64 {
    id.created_at().millis() % 1000 % 32
}
