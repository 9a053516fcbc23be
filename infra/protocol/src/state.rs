//! One state of the whole: the record, the requests, the queue, the runners.
//!
//! Time passes in ticks. Only what is left of a lease, a visibility timeout or a
//! runner's life matters, so the clock stands still and a tick takes one from
//! each: two states that differ in the date alone are one state.

use std::time::Duration;

use domain::{Moment, Status, TaskId, TaskKey};

use crate::config::Bounds;
pub use crate::past::{Breach, Ids, Past, number};
use crate::record::Item;

/// One tick.
pub const TICK: Duration = Duration::from_secs(1);
/// From its receive to the deadline of its runner's invocation.
pub const LIFE: u8 = 2;
/// A lease outlives its runner by this much, for clocks that disagree by one tick.
pub const SLACK: u8 = 1;
/// How long a received message stays hidden: as long as an invocation.
pub const VISIBILITY: u8 = LIFE;
/// A task rests this long after a passing fault.
pub const PAUSE: u8 = 1;

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// 0, or a number of days later.
    pub now: Moment,
    /// The tasks table: the item of the one key.
    pub item: Item,
    /// Requests between their two calls.
    pub requests: Vec<Request>,
    /// Both queues, sorted: who sent a message plays no part.
    pub messages: Vec<Message>,
    /// What each runner has in hand.
    pub runners: Vec<Option<Hand>>,
    /// What may still happen.
    pub left: Left,
    /// What has happened, for the properties alone.
    pub past: Past,
}

/// A request between its two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// It has put, or found, the task PENDING, and is to send its id.
    Send {
        /// The task's id.
        id: TaskId,
        /// The task was there before.
        repeat: bool,
    },
    /// It has sent the id and is to put the task: [`crate::Rule::PutFirst`] left out.
    Put {
        /// The task's id.
        id: TaskId,
    },
}

/// A message in one of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// What it says.
    pub id: TaskId,
    /// How often its queue has handed it out.
    pub receives: u8,
    /// Ticks until it can be received.
    pub hidden: u8,
    /// It lies in the dead-letter queue.
    pub dead: bool,
    /// The runner whose receipt is the latest.
    pub holder: Option<usize>,
}

/// What a runner has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hand {
    /// What its message said.
    pub id: TaskId,
    /// Ticks to its deadline.
    pub life: u8,
    /// How far it is.
    pub stage: Stage,
}

/// How far a runner is with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// To claim the task.
    Claiming,
    /// To claim the task once no other run is in progress in its process.
    WaitingToBeAlone,
    /// The task is claimed, the agent runs.
    Working {
        /// The fencing token.
        attempt: u32,
        /// How far the run is with its tools.
        plan: Plan,
    },
    /// To end the task as `worker_lost`.
    Burying,
    /// To hide the message for a tick: a newer attempt holds the task, or it has ended.
    Void,
    /// To delete the message.
    Done(Why),
    /// To hide the message for so many ticks.
    Back(u8),
}

/// How far a run is with the tools of its one turn. A decision is a number: no two
/// times that the model is asked come to the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plan {
    /// The model is being asked.
    Open,
    /// It wants these calls.
    Decided(u8),
    /// They are written down.
    Written(u8),
    /// They are made.
    Called,
}

/// Why a message is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The end was recorded.
    Recorded,
    /// It had ended before.
    Ended,
    /// The record is another task's, or nobody's.
    Gone,
    /// It ended as `worker_lost`.
    Buried,
}

/// How much of the bounds is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Requests.
    pub triggers: u8,
    /// Duplicated messages.
    pub duplicates: u8,
    /// Days.
    pub days: u8,
    /// Restarts.
    pub restarts: u8,
    /// Times that a model wants tools called.
    pub turns: u8,
}

/// So many ticks.
pub fn ticks(count: u8) -> Duration {
    TICK * u32::from(count)
}

/// A duration in ticks.
pub fn in_ticks(duration: Duration) -> u8 {
    u8::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u8::MAX)
}

impl State {
    /// Before the first request.
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            now: Moment::from_millis(0),
            item: Item::default(),
            requests: Vec::new(),
            messages: Vec::new(),
            runners: vec![None; usize::from(bounds.runners)],
            left: Left {
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
        let number = bounds.triggers - self.left.triggers + 1;
        TaskId::new(self.now.plus(Duration::from_millis(number.into())), TaskKey::random([0; 10]))
    }

    /// The one message that this runner may delete or hide.
    pub fn held_by(&mut self, runner: usize) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.holder == Some(runner))
    }

    /// Adds a message.
    pub fn send(&mut self, id: TaskId) {
        self.messages.push(Message { id, receives: 0, hidden: 0, dead: false, holder: None });
    }

    /// Puts what has no order of its own in order.
    pub fn sort(&mut self) {
        self.messages.sort_by_key(|message| {
            let Message { id, receives, hidden, dead, holder } = *message;
            (id.created_at(), dead, receives, hidden, holder)
        });
        self.requests.sort_by_key(|request| match *request {
            Request::Send { id, repeat } => (id.created_at(), repeat, false),
            Request::Put { id } => (id.created_at(), false, true),
        });
    }

    /// Numbers the runners by what they have in hand.
    pub fn sort_runners(&mut self) {
        let held = |runner| {
            let message = self.messages.iter().find(|message| message.holder == Some(runner));
            message.map(|message| (message.id.created_at(), message.dead, message.receives, message.hidden))
        };
        let mut order: Vec<usize> = (0..self.runners.len()).collect();
        order.sort_by_key(|&runner| {
            let hand = self.runners.get(runner).copied().flatten();
            (hand.map(|hand| (hand.stage, hand.life, hand.id.created_at())), held(runner))
        });
        if order.is_sorted() {
            return;
        }
        self.runners = order.iter().filter_map(|&runner| self.runners.get(runner).copied()).collect();
        for message in &mut self.messages {
            message.holder = order.iter().position(|&runner| Some(runner) == message.holder);
        }
        self.sort();
    }

    /// What is left of the lease on the task.
    pub fn lease(&self) -> u8 {
        let until = self.item.0.as_ref().and_then(|record| record.lease_until);
        until.map_or(0, |until| in_ticks(until.since(self.now)))
    }

    /// Whether the record is this task's, and has not ended.
    pub fn is_open(&self, id: TaskId) -> bool {
        self.item.0.as_ref().is_some_and(|record| record.id == id && !record.status.has_ended())
    }

    /// Whether the task's status is this one.
    pub fn is(&self, status: Status) -> bool {
        self.item.0.as_ref().is_some_and(|record| record.status == status)
    }

    /// Falls with every step, so that every history ends: first what may still
    /// happen from outside, then calls and messages outstanding, receives and
    /// dead letters (more is less), what is in hand, and time to wait.
    pub fn measure(&self) -> [i32; 6] {
        let Left { triggers, duplicates, days, restarts, turns: _ } = self.left;
        let outside = [triggers, duplicates, days, restarts].map(i32::from).iter().sum();
        let received = |message: &Message| i32::from(message.receives) + 1000 * i32::from(message.dead);
        let hands = self.runners.iter().flatten();
        let waits = self.messages.iter().map(|message| message.hidden);
        let time = waits.chain(hands.clone().map(|hand| hand.life)).chain([self.lease()]);
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
            Self::Working { plan: Plan::Open, .. } => 6,
            Self::Working { plan: Plan::Decided(_), .. } => 5,
            Self::Working { plan: Plan::Written(_), .. } => 4,
            Self::Working { plan: Plan::Called, .. } => 3,
            Self::Burying => 2,
            Self::Void | Self::Done(_) | Self::Back(_) => 1,
        }
    }
}
