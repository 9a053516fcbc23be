//! Which calls of a scenario fail, and how. AWS calls and model calls are numbered
//! in one sequence, in the order in which they are made.

use std::sync::{Arc, Mutex};

/// What can happen to a call. Where a model's server is called, a fault that makes
/// a difference to AWS alone is the one that comes nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is refused, or closed without an answer.
    Unreachable,
    /// Answered 500, without effect.
    Failed,
    /// Answered as whoever is asked too often does.
    Throttled,
    /// The same in other words: a table's capacity, a transaction's reasons, a
    /// model's `Retry-After`.
    Overloaded,
    /// It takes effect, and the answer is lost or cut off.
    AnswerLost,
    /// No effect and no answer, until the caller's time-out.
    Stalled,
    /// It takes effect, and no answer comes until the caller's time-out.
    Late,
    /// The connection breaks, and the request takes effect all the same: after so
    /// many further calls, or, past the last one, when all is over.
    Ghost(usize),
    /// The process dies before the request is sent.
    DiedBefore,
    /// The process dies after the effect, before the answer.
    DiedAfter,
    /// The process dies, and the request takes effect after so many further calls.
    DiedInFlight(usize),
}

/// For [`Fault::Ghost`] and [`Fault::DiedInFlight`]: later than any call.
pub(crate) const AT_THE_END: usize = 1_000_000;

/// A fault of the call number `at` (from 0) and those after it, `times` in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
    pub(crate) times: usize,
}

impl Strike {
    /// Whether somebody waits for a time-out.
    pub(crate) fn stalls(&self) -> bool {
        matches!(self.fault, Fault::Stalled | Fault::Late)
    }
}

/// The plan of one scenario, shared by all that are called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    armed: bool,
    strikes: Vec<Strike>,
    /// The names of the calls since the plan was armed.
    calls: Vec<String>,
}

impl Plan {
    pub(crate) fn of(strikes: &[Strike]) -> Self {
        Self(Arc::new(Mutex::new(State { strikes: strikes.to_vec(), ..State::default() })))
    }

    /// Calls are numbered from here on.
    pub(crate) fn arm(&self) {
        self.0.lock().unwrap().armed = true;
    }

    /// No fault from here on.
    pub(crate) fn disarm(&self) {
        self.0.lock().unwrap().armed = false;
    }

    /// The number of this call, and what happens to it.
    pub(crate) fn next(&self, call: &str) -> (usize, Option<Fault>) {
        let mut state = self.0.lock().unwrap();
        let number = state.calls.len();
        if !state.armed {
            return (number, None);
        }
        state.calls.push(call.to_owned());
        let hit = |strike: &&Strike| (strike.at..strike.at + strike.times).contains(&number);
        (number, state.strikes.iter().find(hit).map(|strike| strike.fault))
    }

    /// The calls made while armed.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }

    /// How many faults are planned.
    pub(crate) fn faults(&self) -> usize {
        self.0.lock().unwrap().strikes.len()
    }

    /// Whether somebody waits for a time-out.
    pub(crate) fn stalls(&self) -> bool {
        self.0.lock().unwrap().strikes.iter().any(Strike::stalls)
    }

    /// Whether a request may take effect after its caller has gone on.
    pub(crate) fn has_ghosts(&self) -> bool {
        let is_ghost = |strike: &Strike| matches!(strike.fault, Fault::Ghost(_) | Fault::DiedInFlight(_));
        self.0.lock().unwrap().strikes.iter().any(is_ghost)
    }

    /// Whether one call failed once and was made again at once: then the product
    /// must not notice. The SDK does not try again when all clients of the process,
    /// here those of all cases, have used up their common budget of retries.
    pub(crate) fn was_mended_by_the_sdk(&self) -> bool {
        let state = self.0.lock().unwrap();
        let [strike] = state.strikes.as_slice() else { return false };
        let again = state.calls.get(strike.at) == state.calls.get(strike.at + 1);
        let died = matches!(strike.fault, Fault::DiedBefore | Fault::DiedAfter | Fault::DiedInFlight(_));
        again && strike.times == 1 && !died
    }

    /// Whether every strike came at least once.
    pub(crate) fn was_reached(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.strikes.iter().all(|strike| strike.at < state.calls.len())
    }
}
