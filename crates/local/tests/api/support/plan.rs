//! Which calls of a scenario fail, and how. AWS calls and model calls are numbered
//! together, in the order in which they are made.

use std::sync::{Arc, Mutex};

/// What can happen to a call. For a call to a model, a fault that only AWS can have is
/// replaced by the most similar one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is refused, or closed without an answer.
    Unreachable,
    /// Answered 500, without effect.
    Failed,
    /// Refused because of too many requests.
    Throttled,
    /// The same with another error code: a table's capacity, a transaction's reasons or a
    /// model's `Retry-After`.
    Overloaded,
    /// It takes effect, and the response is lost or cut off.
    AnswerLost,
    /// No effect and no response until the caller's timeout.
    Stalled,
    /// It takes effect, and no response comes until the caller's timeout.
    Late,
    /// The connection breaks, and the request takes effect after this many further calls,
    /// or at the end of the scenario.
    Ghost(usize),
    /// The process dies before the request is sent.
    DiedBefore,
    /// The process dies after the effect, before the response.
    DiedAfter,
    /// The process dies, and the request takes effect after this many further calls.
    DiedInFlight(usize),
}

/// For [`Fault::Ghost`] and [`Fault::DiedInFlight`]: later than any call.
pub(crate) const AT_THE_END: usize = 1_000_000;

/// A fault of `times` calls, from call number `at` (from 0) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
    pub(crate) times: usize,
}

impl Strike {
    /// Whether a caller waits for a timeout.
    pub(crate) fn stalls(&self) -> bool {
        matches!(self.fault, Fault::Stalled | Fault::Late)
    }
}

/// The plan of one scenario, shared by all fake services.
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
    pub(crate) fn new(strikes: &[Strike]) -> Self {
        Self(Arc::new(Mutex::new(State {
            strikes: strikes.to_vec(),
            ..State::default()
        })))
    }

    /// Calls are numbered from here on.
    pub(crate) fn arm(&self) {
        self.0.lock().unwrap().armed = true;
    }

    /// There are no faults from here on.
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
        (
            number,
            state.strikes.iter().find(hit).map(|strike| strike.fault),
        )
    }

    /// The calls made while armed.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }

    /// How many faults are planned.
    pub(crate) fn faults(&self) -> usize {
        self.0.lock().unwrap().strikes.len()
    }

    /// Whether a caller waits for a timeout.
    pub(crate) fn stalls(&self) -> bool {
        self.0.lock().unwrap().strikes.iter().any(Strike::stalls)
    }

    /// Whether a request may take effect after its caller has gone on.
    pub(crate) fn has_ghosts(&self) -> bool {
        let is_ghost =
            |strike: &Strike| matches!(strike.fault, Fault::Ghost(_) | Fault::DiedInFlight(_));
        self.0.lock().unwrap().strikes.iter().any(is_ghost)
    }

    /// Whether one call failed once and the SDK repeated it. Then the product must not
    /// notice the fault. The SDK does not retry if the clients of the process, here those
    /// of all cases, have used up their shared retry budget.
    pub(crate) fn was_retried_by_the_sdk(&self) -> bool {
        let state = self.0.lock().unwrap();
        let [strike] = state.strikes.as_slice() else {
            return false;
        };
        let again = state.calls.get(strike.at) == state.calls.get(strike.at + 1);
        let died = matches!(
            strike.fault,
            Fault::DiedBefore | Fault::DiedAfter | Fault::DiedInFlight(_)
        );
        again && strike.times == 1 && !died
    }

    /// Whether every fault happened at least once.
    pub(crate) fn was_reached(&self) -> bool {
        let state = self.0.lock().unwrap();
        state
            .strikes
            .iter()
            .all(|strike| strike.at < state.calls.len())
    }
}
