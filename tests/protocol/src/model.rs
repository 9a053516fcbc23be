//! The actions that are possible in a state.

use std::time::Duration;

use domain::{AttemptEnd, ErrorType, Fault, RetryPolicy, after_fault};
use stateright::{Model, Property};

use crate::config::{Bounds, Config, Rule};
use crate::properties;
use crate::state::{Breach, Hand, Message, Plan, Stage, State};

/// One action. Numbers are indexes of runners, requests and messages in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A trigger arrives and stores its task, or sends its id if that comes first.
    Trigger,
    /// A request makes its second call.
    Proceed {
        request: usize,
        /// The caller receives the response.
        answered: bool,
    },
    /// A request's second call fails, or its process dies before it.
    GiveUp {
        request: usize,
    },
    /// The queue duplicates a message.
    Duplicate {
        message: usize,
    },
    /// The queue moves a message to the dead-letter queue.
    DeadLetter {
        message: usize,
    },
    /// A runner receives a message.
    Receive {
        message: usize,
        runner: usize,
    },
    /// The runner claims the task.
    Claim {
        runner: usize,
        /// Its clock is one tick ahead.
        ahead: bool,
    },
    /// No other run is in progress. The runner claims the task to run alone.
    ClaimAlone {
        runner: usize,
        /// Its clock is one tick ahead.
        ahead: bool,
    },
    /// Another run is in progress. The runner postpones the task.
    Postpone {
        runner: usize,
        /// Its clock is one tick ahead.
        ahead: bool,
    },
    /// The run has ended, and the runner records its result.
    Finish {
        runner: usize,
        success: bool,
    },
    /// The model decides to call tools.
    Decide {
        runner: usize,
    },
    /// The runner stores the decision.
    StoreDecision {
        runner: usize,
    },
    /// The runner calls the tools.
    CallTools {
        runner: usize,
    },
    /// The run had a transient error. The runner releases the task for another attempt.
    Release {
        runner: usize,
    },
    /// The runner could not read what the run needs, and releases the task at once.
    ReleaseUnread {
        runner: usize,
    },
    /// The runner ends the task as `worker_lost`.
    EndAbandoned {
        runner: usize,
        /// Its clock is one tick ahead.
        ahead: bool,
    },
    /// The runner deletes its message, or hides it for a while.
    Leave {
        runner: usize,
    },
    /// The runner dies, or cannot reach our storage.
    Crash {
        runner: usize,
    },
    Tick,
    /// 24 hours pass.
    Day,
    /// The local server dies or is stopped, and starts again.
    Restart {
        /// The server was stopped, and gave back the runs in progress.
        clean: bool,
    },
}

impl Action {
    /// Whether the action may never happen.
    pub const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Trigger
                | Self::Duplicate { .. }
                | Self::Day
                | Self::Restart { .. }
                | Self::Crash { .. }
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
        // The actions after a breach do not matter.
        if state.past.breach.is_none() {
            self.outside_actions(state, actions);
            self.queue_actions(state, actions);
            for (runner, hand) in state.runners.iter().enumerate() {
                if let Some(hand) = hand {
                    self.runner_actions(state, runner, hand, actions);
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.step(&mut next, action);
        next.sort();
        // Runners are interchangeable. In a printed history, each has a fixed number.
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
    fn outside_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.remaining.triggers > 0 {
            actions.push(Action::Trigger);
        }
        for request in 0..state.requests.len() {
            actions.push(Action::Proceed {
                request,
                answered: true,
            });
            actions.push(Action::Proceed {
                request,
                answered: false,
            });
            actions.push(Action::GiveUp { request });
        }
        if state.remaining.days > 0 && state.item.0.is_some() {
            actions.push(Action::Day);
        }
        if state.remaining.restarts > 0 && state.item.0.is_some() {
            actions.push(Action::Restart { clean: false });
            actions.push(Action::Restart { clean: true });
        }
        if Self::can_tick(state) {
            actions.push(Action::Tick);
        }
    }

    fn queue_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Runners without a message are interchangeable, so the first one receives it.
        let free = state.runners.iter().position(Option::is_none);
        let mut previous = None;
        for (message, found) in state.messages.iter().enumerate() {
            // Equal messages are next to each other.
            if previous.replace(found) == Some(found) {
                continue;
            }
            if state.remaining.duplicates > 0 {
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

    fn runner_actions(&self, state: &State, runner: usize, hand: &Hand, actions: &mut Vec<Action>) {
        // A clock that is ahead matters only in the lease's last tick.
        let clocks = if state.lease() == 1 {
            &[false, true][..]
        } else {
            &[false]
        };
        match hand.stage {
            Stage::Claiming => {
                actions.extend(clocks.iter().map(|&ahead| Action::Claim { runner, ahead }))
            }
            Stage::WaitingToBeAlone => {
                for &ahead in clocks {
                    actions.push(Action::ClaimAlone { runner, ahead });
                    actions.push(Action::Postpone { runner, ahead });
                }
            }
            Stage::EndingAbandoned => {
                actions.extend(
                    clocks
                        .iter()
                        .map(|&ahead| Action::EndAbandoned { runner, ahead }),
                );
            }
            Stage::Working { attempt, plan } => {
                self.tool_actions(state, runner, plan, actions);
                if matches!(plan, Plan::Open | Plan::Called) {
                    actions.push(Action::Finish {
                        runner,
                        success: true,
                    });
                }
                actions.push(Action::Finish {
                    runner,
                    success: false,
                });
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

    fn tool_actions(&self, state: &State, runner: usize, plan: Plan, actions: &mut Vec<Action>) {
        match plan {
            Plan::Open if state.remaining.turns > 0 => actions.push(Action::Decide { runner }),
            Plan::Decided(_) if self.holds(Rule::WriteFirst) => {
                actions.push(Action::StoreDecision { runner });
            }
            Plan::Decided(_) | Plan::Stored(_) => actions.push(Action::CallTools { runner }),
            Plan::Open | Plan::Called => {}
        }
    }

    /// A tick passes only if it changes the state, and makes no runner late that must not be.
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

/// A runner may die or be late at any point, but not with every dead letter: after the second
/// receive, it finishes in time.
fn may_fail(state: &State, runner: usize) -> bool {
    let is_last_hope =
        |message: &Message| message.holder == Some(runner) && message.dead && message.receives > 1;
    !state.messages.iter().any(is_last_hope)
}

/// The product's decision about a transient error.
fn retries(attempt: u32, bounds: &Bounds) -> bool {
    let policy = RetryPolicy {
        max_attempts: bounds.attempts,
        timeout: Duration::MAX,
    };
    let fault = Fault::transient(ErrorType::ModelError, "busy");
    matches!(
        after_fault(fault, attempt, Duration::ZERO, policy),
        AttemptEnd::Release { .. }
    )
}
