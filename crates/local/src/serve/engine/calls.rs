//! Calls that wait for their turn. The database does one thing at a time, and so does
//! who asks it: a thread for each call would have to be woken for each, only to wait
//! for the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls, and whether somebody takes them.
#[derive(Debug)]
pub(super) struct Calls<C>(Mutex<State<C>>);

#[derive(Debug)]
struct State<C> {
    waiting: VecDeque<C>,
    is_served: bool,
}

/// Who has this takes the calls. It may be dropped at any time, as a thread's that was
/// never started; then the next call is given another.
#[derive(Debug)]
pub(super) struct Serving<C> {
    calls: Arc<Calls<C>>,
    is_over: bool,
}

impl<C> Default for Calls<C> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), is_served: false }))
    }
}

impl<C> Calls<C> {
    /// Adds a call. If nobody takes calls, it is for the caller to have somebody do so.
    #[must_use]
    pub(super) fn add(self: &Arc<Self>, call: C) -> Option<Serving<C>> {
        let mut state = self.state();
        state.waiting.push_back(call);
        let was_served = std::mem::replace(&mut state.is_served, true);
        (!was_served).then(|| Serving { calls: Arc::clone(self), is_over: false })
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Serving<C> {
    /// The call whose turn it is. After `None` nobody takes calls.
    pub(super) fn next(&mut self) -> Option<C> {
        let mut state = self.calls.state();
        let next = state.waiting.pop_front();
        self.is_over = next.is_none();
        state.is_served = !self.is_over;
        next
    }
}

impl<C> Drop for Serving<C> {
    fn drop(&mut self) {
        if !self.is_over {
            self.calls.state().is_served = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_calls_as_long_as_there_are_any() {
        let calls = Arc::new(Calls::default());
        let mut serving = calls.add(1).unwrap();
        assert!(calls.add(2).is_none());
        assert_eq!((serving.next(), serving.next()), (Some(1), Some(2)));
        assert!(calls.add(3).is_none());
        assert_eq!((serving.next(), serving.next()), (Some(3), None));
        let another = calls.add(4).unwrap();
        drop(serving);
        assert!(calls.add(5).is_none());
        drop(another);
        let mut third = calls.add(6).unwrap();
        assert_eq!((third.next(), third.next(), third.next()), (Some(4), Some(5), Some(6)));
    }
}
