//! Calls that wait for the database. One worker runs all calls, because the database
//! handles one at a time: a thread per call would only wake up to wait for the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Waiting calls, and whether a worker takes them.
#[derive(Debug)]
pub(super) struct CallQueue<C>(Mutex<CallQueueState<C>>);

#[derive(Debug)]
struct CallQueueState<C> {
    waiting: VecDeque<C>,
    has_worker: bool,
}

/// The right to take the calls. It may be dropped at any time, for example with a thread
/// that never started: the next call then gets a new worker.
#[derive(Debug)]
pub(super) struct CallWorker<C> {
    queue: Arc<CallQueue<C>>,
    is_finished: bool,
}

impl<C> Default for CallQueue<C> {
    fn default() -> Self {
        Self(Mutex::new(CallQueueState {
            waiting: VecDeque::new(),
            has_worker: false,
        }))
    }
}

impl<C> CallQueue<C> {
    /// Adds a call. If this returns a worker, there is no other, and the caller must run it.
    #[must_use]
    pub(super) fn push_call(self: &Arc<Self>, call: C) -> Option<CallWorker<C>> {
        let mut state = self.state();
        state.waiting.push_back(call);
        let had_worker = std::mem::replace(&mut state.has_worker, true);
        (!had_worker).then(|| CallWorker {
            queue: Arc::clone(self),
            is_finished: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, CallQueueState<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> CallWorker<C> {
    /// The call that has waited longest. After `None` this is no longer the worker.
    pub(super) fn next_call(&mut self) -> Option<C> {
        let mut state = self.queue.state();
        let next = state.waiting.pop_front();
        self.is_finished = next.is_none();
        state.has_worker = !self.is_finished;
        next
    }
}

impl<C> Drop for CallWorker<C> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.queue.state().has_worker = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_takes_calls_until_none_waits() {
        let calls = Arc::new(CallQueue::default());
        let mut worker = calls.push_call(1).unwrap();
        assert!(calls.push_call(2).is_none());
        assert_eq!((worker.next_call(), worker.next_call()), (Some(1), Some(2)));
        assert!(calls.push_call(3).is_none());
        assert_eq!((worker.next_call(), worker.next_call()), (Some(3), None));
        let another = calls.push_call(4).unwrap();
        drop(worker);
        assert!(calls.push_call(5).is_none());
        drop(another);
        let mut third = calls.push_call(6).unwrap();
        assert_eq!(
            (third.next_call(), third.next_call(), third.next_call()),
            (Some(4), Some(5), Some(6))
        );
    }
}
