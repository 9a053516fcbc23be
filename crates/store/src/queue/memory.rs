//! The queue of the local server, in memory. Like SQS, it has visibility timeouts, delays,
//! receive counts, dead letters and message groups that take turns.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{AgentId, TaskId};
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// Identifies this receive in [`MemoryQueue::delete`] and [`MemoryQueue::defer`].
    pub receipt: String,
    pub task: TaskId,
    pub agent: AgentId,
    /// How often the message was received, including this time.
    pub receives: u32,
    /// The message was received more than `max_receives` times.
    pub dead_lettered: bool,
}

#[derive(Debug)]
pub struct MemoryQueue {
    visibility: Duration,
    max_receives: u32,
    state: Mutex<QueueState>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Visible messages by agent. Empty queues are removed.
    waiting: HashMap<AgentId, VecDeque<QueuedTask>>,
    /// Agents with visible messages, each once, in the order of their turns.
    turns: VecDeque<AgentId>,
    /// Received messages by receipt.
    in_flight: HashMap<u64, QueuedTask>,
    /// When hidden messages become visible: (time, receipt).
    hidden: BTreeSet<(Instant, u64)>,
    next_receipt: u64,
}

#[derive(Clone, Debug)]
struct QueuedTask {
    task: TaskId,
    agent: AgentId,
    receives: u32,
    visible_at: Instant,
}

impl MemoryQueue {
    /// `visibility` is the visibility timeout. A message that is received more often than
    /// `max_receives` is a dead letter.
    pub fn new(visibility: Duration, max_receives: u32) -> Self {
        Self {
            visibility,
            max_receives,
            state: Mutex::default(),
            arrival: Notify::new(),
        }
    }

    pub fn send(&self, task: TaskId, agent: AgentId) {
        self.state().push(QueuedTask {
            task,
            agent,
            receives: 0,
            visible_at: Instant::now(),
        });
        self.arrival.notify_one();
    }

    /// Adds a message that becomes visible after `delay`.
    pub fn send_later(&self, task: TaskId, agent: AgentId, delay: Duration) {
        let mut state = self.state();
        let receipt = state.next_receipt;
        state.next_receipt += 1;
        state.hide(
            receipt,
            QueuedTask {
                task,
                agent,
                receives: 0,
                visible_at: Instant::now() + delay,
            },
        );
        drop(state);
        self.arrival.notify_one();
    }

    /// Waits for the next message.
    pub async fn receive(&self) -> QueueMessage {
        loop {
            let (message, next_visible_at) = self.try_receive();
            if let Some(message) = message {
                return message;
            }
            match next_visible_at {
                Some(at) => tokio::select! {
                    () = self.arrival.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.arrival.notified().await,
            }
        }
    }

    /// Does nothing if the receipt is not the latest of its message.
    pub fn delete(&self, receipt: &str) {
        let mut state = self.state();
        state.take(receipt);
    }

    /// Hides a received message for `delay` from now.
    pub fn defer(&self, receipt: &str, delay: Duration) {
        let mut state = self.state();
        if let Some((receipt, mut entry)) = state.take(receipt) {
            entry.visible_at = Instant::now() + delay;
            state.hide(receipt, entry);
        }
        drop(state);
        // The receiver may be sleeping until a later time.
        self.arrival.notify_one();
    }

    fn try_receive(&self) -> (Option<QueueMessage>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state();
        state.show_due(now);
        let Some(mut entry) = state.pop() else {
            return (None, state.hidden.first().map(|(at, _)| *at));
        };
        entry.receives += 1;
        entry.visible_at = now + self.visibility;
        let receipt = state.next_receipt;
        state.next_receipt += 1;
        let message = QueueMessage {
            receipt: receipt.to_string(),
            task: entry.task,
            agent: entry.agent,
            receives: entry.receives,
            dead_lettered: entry.receives > self.max_receives,
        };
        state.hide(receipt, entry);
        (Some(message), None)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn push(&mut self, entry: QueuedTask) {
        let queue = self.waiting.entry(entry.agent).or_default();
        if queue.is_empty() {
            self.turns.push_back(entry.agent);
        }
        queue.push_back(entry);
    }

    fn pop(&mut self) -> Option<QueuedTask> {
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

    fn hide(&mut self, receipt: u64, entry: QueuedTask) {
        self.hidden.insert((entry.visible_at, receipt));
        self.in_flight.insert(receipt, entry);
    }

    fn take(&mut self, receipt: &str) -> Option<(u64, QueuedTask)> {
        let receipt = receipt.parse().ok()?;
        let entry = self.in_flight.remove(&receipt)?;
        self.hidden.remove(&(entry.visible_at, receipt));
        Some((receipt, entry))
    }

    fn show_due(&mut self, now: Instant) {
        while let Some(&(visible_at, receipt)) = self.hidden.first() {
            if visible_at > now {
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
            order.push(queue.receive().await.task);
        }
        assert_eq!(order, [task(0), task(9), task(1), task(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_never_deleted_is_received_again_and_becomes_a_dead_letter() {
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
    async fn a_deferred_message_is_visible_after_its_delay() {
        let queue = queue();
        queue.send(task(1), agent(1));
        let message = queue.receive().await;
        queue.defer(&message.receipt, Duration::from_millis(700));
        let started = Instant::now();
        assert_eq!(queue.receive().await.task, message.task);
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
        assert_eq!(queue.receive().await.task, new.task);
    }
}
