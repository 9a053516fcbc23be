//! The queue on one machine: visibility timeout, delays, receive count, dead
//! letters and turns by group, as SQS has them, in memory.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{AgentId, TaskId};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// For [`MemoryQueue::delete`] and [`MemoryQueue::defer`]; new at each receive.
    pub receipt: String,
    /// What was sent.
    pub body: String,
    /// Whose it is.
    pub agent: AgentId,
    /// How often it was received, this time included.
    pub receives: u32,
    /// It was received too often without being deleted.
    pub dead_lettered: bool,
}

/// An in-process queue of task ids.
#[derive(Debug)]
pub struct MemoryQueue {
    visibility: Duration,
    max_receives: u32,
    state: Mutex<State>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Visible messages by agent; no queue in here is empty.
    waiting: HashMap<AgentId, VecDeque<Entry>>,
    /// Whose turn it is; each agent with waiting messages once.
    turns: VecDeque<AgentId>,
    /// Received messages by receipt.
    in_flight: HashMap<u64, Entry>,
    /// When hidden messages come back: (time, receipt).
    hidden: BTreeSet<(Instant, u64)>,
    next_receipt: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    task: TaskId,
    agent: AgentId,
    receives: u32,
    back_at: Instant,
}

impl MemoryQueue {
    /// `visibility`: how long a received message stays hidden; `max_receives`:
    /// how often it is handed out before it counts as a dead letter.
    pub fn new(visibility: Duration, max_receives: u32) -> Self {
        Self { visibility, max_receives, state: Mutex::default(), arrival: Notify::new() }
    }

    /// Adds a message.
    pub fn send(&self, task: TaskId, agent: AgentId) {
        self.state().push(Entry { task, agent, receives: 0, back_at: Instant::now() });
        self.arrival.notify_one();
    }

    /// Adds a message that is handed out after `delay`.
    pub fn send_later(&self, task: TaskId, agent: AgentId, delay: Duration) {
        let mut state = self.state();
        let receipt = state.next_receipt;
        state.next_receipt += 1;
        state.hide(receipt, Entry { task, agent, receives: 0, back_at: Instant::now() + delay });
        drop(state);
        self.arrival.notify_one();
    }

    /// The next message, as soon as there is one.
    pub async fn receive(&self) -> Message {
        loop {
            let (message, comes_back_at) = self.try_receive();
            if let Some(message) = message {
                return message;
            }
            match comes_back_at {
                Some(at) => tokio::select! {
                    () = self.arrival.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.arrival.notified().await,
            }
        }
    }

    /// Removes a received message for good.
    pub fn delete(&self, receipt: &str) {
        let mut state = self.state();
        state.take(receipt);
    }

    /// Hides a received message for `delay` from now.
    pub fn defer(&self, receipt: &str, delay: Duration) {
        let mut state = self.state();
        if let Some((receipt, mut entry)) = state.take(receipt) {
            entry.back_at = Instant::now() + delay;
            state.hide(receipt, entry);
        }
        drop(state);
        // The receiver may be waiting for a later moment.
        self.arrival.notify_one();
    }

    fn try_receive(&self) -> (Option<Message>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state();
        state.bring_back(now);
        let Some(mut entry) = state.pop() else {
            return (None, state.hidden.first().map(|(at, _)| *at));
        };
        entry.receives += 1;
        entry.back_at = now + self.visibility;
        let receipt = state.next_receipt;
        state.next_receipt += 1;
        let message = Message {
            receipt: receipt.to_string(),
            body: entry.task.to_string(),
            agent: entry.agent,
            receives: entry.receives,
            dead_lettered: entry.receives > self.max_receives,
        };
        state.hide(receipt, entry);
        (Some(message), None)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, entry: Entry) {
        let queue = self.waiting.entry(entry.agent).or_default();
        if queue.is_empty() {
            self.turns.push_back(entry.agent);
        }
        queue.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let agent = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&agent)?;
        let entry = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&agent);
        } else {
            self.turns.push_back(agent);
        }
        entry
    }

    fn hide(&mut self, receipt: u64, entry: Entry) {
        self.hidden.insert((entry.back_at, receipt));
        self.in_flight.insert(receipt, entry);
    }

    fn take(&mut self, receipt: &str) -> Option<(u64, Entry)> {
        let receipt = receipt.parse().ok()?;
        let entry = self.in_flight.remove(&receipt)?;
        self.hidden.remove(&(entry.back_at, receipt));
        Some((receipt, entry))
    }

    fn bring_back(&mut self, now: Instant) {
        while let Some(&(back_at, receipt)) = self.hidden.first() {
            if back_at > now {
                break;
            }
            self.hidden.pop_first();
            if let Some(entry) = self.in_flight.remove(&receipt) {
                self.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Moment, TaskKey};

    use super::*;

    fn task(n: u8) -> TaskId {
        TaskId::new(Moment::from_millis(u64::from(n)), TaskKey::random([n; 10]))
    }

    fn agent(n: u8) -> AgentId {
        AgentId::random([n; 16])
    }

    fn queue() -> MemoryQueue {
        MemoryQueue::new(Duration::from_secs(30), 2)
    }

    #[tokio::test(start_paused = true)]
    async fn agents_take_turns() {
        let queue = queue();
        for n in 0..3 {
            queue.send(task(n), agent(1));
        }
        queue.send(task(9), agent(2));
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(queue.receive().await.body);
        }
        assert_eq!(order, [task(0), task(9), task(1), task(2)].map(|id| id.to_string()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_comes_back_until_it_is_deleted_and_then_is_a_dead_letter() {
        let queue = queue();
        queue.send(task(1), agent(1));
        let started = Instant::now();
        let (first, second) = (queue.receive().await, queue.receive().await);
        assert_eq!(started.elapsed().as_secs(), 30);
        assert!(!first.dead_lettered && !second.dead_lettered);
        let third = queue.receive().await;
        assert!(third.dead_lettered);
        queue.delete(&third.receipt);
        let again = tokio::time::timeout(Duration::from_secs(3600), queue.receive()).await;
        assert!(again.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deferred_message_comes_back_when_its_delay_is_over() {
        let queue = queue();
        queue.send(task(1), agent(1));
        let message = queue.receive().await;
        queue.defer(&message.receipt, Duration::from_millis(700));
        let started = Instant::now();
        assert_eq!(queue.receive().await.body, message.body);
        assert_eq!(started.elapsed().as_millis(), 700);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_receipt_deletes_nothing() {
        let queue = queue();
        queue.send(task(1), agent(1));
        let old = queue.receive().await;
        let new = queue.receive().await;
        queue.delete(&old.receipt);
        queue.delete("nonsense");
        queue.defer(&new.receipt, Duration::ZERO);
        assert_eq!(queue.receive().await.body, new.body);
    }
}
