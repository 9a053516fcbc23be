//! What can happen in a state.

use std::time::Duration;

use domain::{AttemptEnd, ErrorType, Fault, RetryPolicy, after_fault};
use stateright::{Model, Property};

use crate::config::{Bounds, Config, Rule};
use crate::properties;
use crate::state::{Breach, Hand, Message, Plan, Stage, State};

/// One thing that can happen. Numbers name a runner, or a place in the state's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A request with the key arrives and makes its put, or its send if that comes first.
    Trigger,
    /// A request makes its second call, and its caller gets the answer or does not.
    Proceed {
        /// Which request.
        request: usize,
        /// The caller learns of it.
        answered: bool,
    },
    /// A request's second call fails, or its process dies before it.
    GiveUp {
        /// Which request.
        request: usize,
    },
    /// The queue makes two of a message.
    Duplicate {
        /// Which message.
        message: usize,
    },
    /// The queue moves a message that was received too often.
    DeadLetter {
        /// Which message.
        message: usize,
    },
    /// A runner takes a message.
    Receive {
        /// Which message.
        message: usize,
        /// Which runner.
        runner: usize,
    },
    /// It claims the task.
    Claim {
        /// Which runner.
        runner: usize,
        /// Its clock is a tick ahead of the others'.
        ahead: bool,
    },
    /// No other run is in progress any more: it claims the task to run alone.
    ClaimAlone {
        /// Which runner.
        runner: usize,
        /// Its clock is a tick ahead of the others'.
        ahead: bool,
    },
    /// It cannot be alone now, and puts the task off.
    PutOff {
        /// Which runner.
        runner: usize,
        /// Its clock is a tick ahead of the others'.
        ahead: bool,
    },
    /// Its run came to an end, which it records.
    Finish {
        /// Which runner.
        runner: usize,
        /// The agent answered.
        success: bool,
    },
    /// The model wants tools called.
    Decide {
        /// Which runner.
        runner: usize,
    },
    /// It writes down which.
    WriteDown {
        /// Which runner.
        runner: usize,
    },
    /// It calls them.
    CallTools {
        /// Which runner.
        runner: usize,
    },
    /// Its run met a passing fault: it releases the task for another attempt.
    Release {
        /// Which runner.
        runner: usize,
    },
    /// It could not read what the run needs: it releases the task at once.
    ReleaseUnread {
        /// Which runner.
        runner: usize,
    },
    /// It ends the task as `worker_lost`.
    Bury {
        /// Which runner.
        runner: usize,
        /// Its clock is a tick ahead of the others'.
        ahead: bool,
    },
    /// It deletes its message, or hides it for a while.
    Leave {
        /// Which runner.
        runner: usize,
    },
    /// It dies, or cannot reach our storage.
    Crash {
        /// Which runner.
        runner: usize,
    },
    /// A tick passes.
    Tick,
    /// 24 hours pass.
    Day,
    /// The one process dies or is stopped, and starts again.
    Restart {
        /// It was stopped, and gave back what was under way.
        clean: bool,
    },
}

impl Action {
    /// Whether it may just as well never happen.
    pub const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Trigger | Self::Duplicate { .. } | Self::Day | Self::Restart { .. } | Self::Crash { .. }
        )
    }
}

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What comes after a breach says nothing more.
        if state.past.breach.is_none() {
            self.outside(state, actions);
            self.queue(state, actions);
            for (runner, hand) in state.runners.iter().enumerate() {
                if let Some(hand) = hand {
                    self.runner(state, runner, hand, actions);
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.step(&mut next, action);
        next.sort();
        // Runners are alike; told histories are clearer when each keeps its number.
        if self.without.is_none() {
            next.sort_runners();
        }
        if next.past.breach.is_none() && next.measure() >= last.measure() {
            next.past.breach = Some(Breach::Endless);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Config {
    fn outside(&self, state: &State, actions: &mut Vec<Action>) {
        if state.left.triggers > 0 {
            actions.push(Action::Trigger);
        }
        for request in 0..state.requests.len() {
            actions.push(Action::Proceed { request, answered: true });
            actions.push(Action::Proceed { request, answered: false });
            actions.push(Action::GiveUp { request });
        }
        if state.left.days > 0 && state.item.0.is_some() {
            actions.push(Action::Day);
        }
        if state.left.restarts > 0 && state.item.0.is_some() {
            actions.push(Action::Restart { clean: false });
            actions.push(Action::Restart { clean: true });
        }
        if Self::can_tick(state) {
            actions.push(Action::Tick);
        }
    }

    fn queue(&self, state: &State, actions: &mut Vec<Action>) {
        // Runners without a message are alike: the first takes the next one.
        let free = state.runners.iter().position(Option::is_none);
        let mut previous = None;
        for (message, found) in state.messages.iter().enumerate() {
            // Messages alike are next to each other.
            if previous.replace(found) == Some(found) {
                continue;
            }
            if state.left.duplicates > 0 {
                actions.push(Action::Duplicate { message });
            }
            let consumed = !found.dead || self.holds(Rule::DeadLetters);
            if found.hidden > 0 || !consumed {
                continue;
            }
            if !found.dead && found.receives >= self.bounds.receives {
                actions.push(Action::DeadLetter { message });
            } else if let Some(runner) = free {
                actions.push(Action::Receive { message, runner });
            }
        }
    }

    fn runner(&self, state: &State, runner: usize, hand: &Hand, actions: &mut Vec<Action>) {
        // A clock that is ahead matters only at the lease's last tick.
        let clocks = if state.lease() == 1 { &[false, true][..] } else { &[false] };
        match hand.stage {
            Stage::Claiming => actions.extend(clocks.iter().map(|&ahead| Action::Claim { runner, ahead })),
            Stage::WaitingToBeAlone => {
                for &ahead in clocks {
                    actions.push(Action::ClaimAlone { runner, ahead });
                    actions.push(Action::PutOff { runner, ahead });
                }
            }
            Stage::Burying => actions.extend(clocks.iter().map(|&ahead| Action::Bury { runner, ahead })),
            Stage::Working { attempt, plan } => {
                self.tools(state, runner, plan, actions);
                if matches!(plan, Plan::Open | Plan::Called) {
                    actions.push(Action::Finish { runner, success: true });
                }
                actions.push(Action::Finish { runner, success: false });
                if retries(attempt, &self.bounds) {
                    actions.push(Action::Release { runner });
                }
                actions.push(Action::ReleaseUnread { runner });
            }
            Stage::Void | Stage::Done(_) | Stage::Back(_) => actions.push(Action::Leave { runner }),
        }
        if may_fail(state, runner) {
            actions.push(Action::Crash { runner });
        }
    }

    fn tools(&self, state: &State, runner: usize, plan: Plan, actions: &mut Vec<Action>) {
        match plan {
            Plan::Open if state.left.turns > 0 => actions.push(Action::Decide { runner }),
            Plan::Decided(_) if self.holds(Rule::WriteFirst) => actions.push(Action::WriteDown { runner }),
            Plan::Decided(_) | Plan::Written(_) => actions.push(Action::CallTools { runner }),
            Plan::Open | Plan::Called => {}
        }
    }

    /// A tick passes if that changes anything, and delays nobody who must not be late.
    fn can_tick(state: &State) -> bool {
        let must_act = |(runner, hand): (usize, &Option<Hand>)| {
            hand.is_some_and(|hand| hand.life <= 1) && !may_fail(state, runner)
        };
        let waits = state.lease() > 0
            || state.messages.iter().any(|message| message.hidden > 0)
            || state.runners.iter().flatten().any(|hand| hand.life > 0);
        waits && !state.runners.iter().enumerate().any(must_act)
    }
}

/// A runner may die or be late at any point, but not at every dead letter: from
/// the second receive on it comes to its end in time.
fn may_fail(state: &State, runner: usize) -> bool {
    let is_last_hope =
        |message: &Message| message.holder == Some(runner) && message.dead && message.receives > 1;
    !state.messages.iter().any(is_last_hope)
}

/// The product's own decision, for a fault that may pass.
fn retries(attempt: u32, bounds: &Bounds) -> bool {
    let policy = RetryPolicy { max_attempts: bounds.attempts, timeout: Duration::MAX };
    let fault = Fault::passing(ErrorType::ModelError, "busy");
    matches!(after_fault(fault, attempt, Duration::ZERO, policy), AttemptEnd::Release { .. })
}
