//! The state of the model: the record, the requests, the queue, the runners.
//!
//! Time passes in ticks. The clock stands still, and a tick decreases the remaining time of
//! the lease, of each visibility timeout and of each runner. So two states that differ only
//! in the date are equal.

use std::time::Duration;

use domain::{Moment, Status, TaskId, TaskKey};

use crate::config::Bounds;
pub use crate::past::{Breach, Ids, Past, number};
use crate::record::Item;

pub const TICK: Duration = Duration::from_secs(1);
/// Ticks from the receive of a message to the deadline of the invocation.
pub const LIFE: u8 = 2;
/// Ticks from a runner's deadline to the end of its lease, because clocks may differ by one.
pub const SLACK: u8 = 1;
/// The visibility timeout, equal to the timeout of an invocation.
pub const VISIBILITY: u8 = LIFE;
/// Ticks before the next attempt after a transient error.
pub const PAUSE: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The epoch, or a number of days later.
    pub now: Moment,
    /// The tasks table: the item of the one key.
    pub item: Item,
    pub requests: Vec<Request>,
    /// The messages of both queues, sorted, because their sender does not matter.
    pub messages: Vec<Message>,
    /// The work of each runner.
    pub runners: Vec<Option<Hand>>,
    pub remaining: Remaining,
    /// Only for the properties.
    pub past: Past,
}

/// A request between its two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The task is PENDING, and the request will send its id.
    Send {
        id: TaskId,
        /// The task existed before the request.
        repeat: bool,
    },
    /// The id is sent, and the request will store the task. [`crate::Rule::PutFirst`] is left out.
    Put { id: TaskId },
}

/// A message in one of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub id: TaskId,
    /// Receives from its queue so far.
    pub receives: u8,
    /// Ticks until it can be received.
    pub hidden: u8,
    /// The message is in the dead-letter queue.
    pub dead: bool,
    /// The runner with the latest receipt.
    pub holder: Option<usize>,
}

/// A message that a runner works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hand {
    pub id: TaskId,
    /// Ticks to its deadline.
    pub life: u8,
    pub stage: Stage,
}

/// The next step of a runner with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Will claim the task.
    Claiming,
    /// Will claim the task when no other run is in progress in its process.
    WaitingToBeAlone,
    /// Has claimed the task and runs the agent.
    Working { attempt: u32, plan: Plan },
    /// Will end the task as `worker_lost`.
    EndingAbandoned,
    /// Will hide the message for a tick, because a newer attempt holds the task or it has ended.
    Void,
    /// Will delete the message.
    Done(Why),
    /// Will hide the message for this many ticks.
    Back(u8),
}

/// The progress of a run's turn with tool calls. A decision is a number, and each call of the
/// model results in a different one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plan {
    /// The model has not decided yet.
    Open,
    /// The model decided to call tools.
    Decided(u8),
    /// The decision is stored.
    Stored(u8),
    /// The tools were called.
    Called,
}

/// Why a message is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The runner recorded the end of the task.
    Recorded,
    /// The task had ended before.
    Ended,
    /// The record does not exist or is another task's.
    Gone,
    /// The runner ended the task as `worker_lost`.
    EndedAbandoned,
}

/// How often each bounded event can still occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remaining {
    pub triggers: u8,
    pub duplicates: u8,
    pub days: u8,
    pub restarts: u8,
    /// Decisions to call tools.
    pub turns: u8,
}

pub fn ticks(count: u8) -> Duration {
    TICK * u32::from(count)
}

/// Rounds up to whole ticks.
pub fn in_ticks(duration: Duration) -> u8 {
    u8::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u8::MAX)
}

impl State {
    /// The state before the first request.
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            now: Moment::from_millis(0),
            item: Item::default(),
            requests: Vec::new(),
            messages: Vec::new(),
            runners: vec![None; usize::from(bounds.runners)],
            remaining: Remaining {
                triggers: bounds.triggers,
                duplicates: bounds.duplicates,
                days: bounds.days,
                restarts: bounds.restarts,
                turns: bounds.turns,
            },
            past: Past::default(),
        }
    }

    /// The id that the next request offers.
    pub fn offered(&self, bounds: &Bounds) -> TaskId {
        let number = bounds.triggers - self.remaining.triggers + 1;
        TaskId::new(
            self.now.plus(Duration::from_millis(number.into())),
            TaskKey::random([0; 10]),
        )
    }

    /// The message that this runner may delete or hide.
    pub fn held_by(&mut self, runner: usize) -> Option<&mut Message> {
        self.messages
            .iter_mut()
            .find(|message| message.holder == Some(runner))
    }

    pub fn send(&mut self, id: TaskId) {
        self.messages.push(Message {
            id,
            receives: 0,
            hidden: 0,
            dead: false,
            holder: None,
        });
    }

    /// Sorts the lists whose order does not matter.
    pub fn sort(&mut self) {
        self.messages.sort_by_key(|message| {
            let Message {
                id,
                receives,
                hidden,
                dead,
                holder,
            } = *message;
            (id.created_at(), dead, receives, hidden, holder)
        });
        self.requests.sort_by_key(|request| match *request {
            Request::Send { id, repeat } => (id.created_at(), repeat, false),
            Request::Put { id } => (id.created_at(), false, true),
        });
    }

    /// Sorts the runners by their work.
    pub fn sort_runners(&mut self) {
        let held = |runner| {
            let message = self
                .messages
                .iter()
                .find(|message| message.holder == Some(runner));
            message.map(|message| {
                (
                    message.id.created_at(),
                    message.dead,
                    message.receives,
                    message.hidden,
                )
            })
        };
        let mut order: Vec<usize> = (0..self.runners.len()).collect();
        order.sort_by_key(|&runner| {
            let hand = self.runners.get(runner).copied().flatten();
            (
                hand.map(|hand| (hand.stage, hand.life, hand.id.created_at())),
                held(runner),
            )
        });
        if order.is_sorted() {
            return;
        }
        self.runners = order
            .iter()
            .filter_map(|&runner| self.runners.get(runner).copied())
            .collect();
        for message in &mut self.messages {
            message.holder = order
                .iter()
                .position(|&runner| Some(runner) == message.holder);
        }
        self.sort();
    }

    /// Ticks until the lease of the task ends.
    pub fn lease(&self) -> u8 {
        let until = self.item.0.as_ref().and_then(|record| record.lease_until);
        until.map_or(0, |until| in_ticks(until.since(self.now)))
    }

    /// Whether the record is this task's, and the task has not ended.
    pub fn is_open(&self, id: TaskId) -> bool {
        self.item
            .0
            .as_ref()
            .is_some_and(|record| record.id == id && !record.status.has_ended())
    }

    pub fn has_status(&self, status: Status) -> bool {
        self.item
            .0
            .as_ref()
            .is_some_and(|record| record.status == status)
    }

    /// Decreases with every step, so that every history ends. In this order: remaining events
    /// from outside, pending requests, messages, receives and dead letters (negative), remaining
    /// steps of the runners, and remaining time.
    pub fn measure(&self) -> [i32; 6] {
        let Remaining {
            triggers,
            duplicates,
            days,
            restarts,
            turns: _,
        } = self.remaining;
        let outside = [triggers, duplicates, days, restarts]
            .map(i32::from)
            .iter()
            .sum();
        let received =
            |message: &Message| i32::from(message.receives) + 1000 * i32::from(message.dead);
        let hands = self.runners.iter().flatten();
        let waits = self.messages.iter().map(|message| message.hidden);
        let time = waits
            .chain(hands.clone().map(|hand| hand.life))
            .chain([self.lease()]);
        [
            outside,
            i32::try_from(self.requests.len()).unwrap_or(i32::MAX),
            i32::try_from(self.messages.len()).unwrap_or(i32::MAX),
            -self.messages.iter().map(received).sum::<i32>(),
            hands.map(|hand| hand.stage.steps_left()).sum(),
            time.map(i32::from).sum(),
        ]
    }
}

impl Stage {
    const fn steps_left(self) -> i32 {
        match self {
            Self::Claiming => 8,
            Self::WaitingToBeAlone => 7,
            Self::Working {
                plan: Plan::Open, ..
            } => 6,
            Self::Working {
                plan: Plan::Decided(_),
                ..
            } => 5,
            Self::Working {
                plan: Plan::Stored(_),
                ..
            } => 4,
            Self::Working {
                plan: Plan::Called, ..
            } => 3,
            Self::EndingAbandoned => 2,
            Self::Void | Self::Done(_) | Self::Back(_) => 1,
        }
    }
}
