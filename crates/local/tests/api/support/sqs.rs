//! A fake SQS: two standard queues with delays, visibility, receive counts, receipts and
//! redrive, on the test's clock. The product sends requests. The event source mapping
//! of the test receives and deletes with methods.
//!
//! As on AWS, and unlike in emulators:
//!
//! - Receive counts continue after the redrive to the dead-letter queue.
//! - Messages that a throttled mapping returns count as received.
//! - Lambda does not deliver a message that a function sent to its own queue for the 16th
//!   time in a chain.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::Moment;
use serde_json::{Value, json};

use super::Time;

pub(crate) const LIVE: &str = "http://embedded.invalid/queue";
pub(crate) const DEAD: &str = "http://embedded.invalid/dead-letters";
/// As in template.yaml, where it is the timeout of the invocation.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(60);
const MAX_DELAY: u64 = 900;
const MAX_VISIBILITY: u64 = 43_200;
const MAX_BODY: usize = 1024;
/// Sends of one chain from a function to its own queue after which Lambda stops it
/// (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>).
const MAX_HOPS: u32 = 16;

/// A received message.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) receipt: String,
    pub(crate) body: String,
    pub(crate) group: String,
    pub(crate) receives: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Sqs {
    time: Time,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    messages: Vec<Stored>,
    max_receives: u32,
    /// For ids and receipts, which are unique numbers.
    drawn: u64,
    /// Every body ever sent.
    sent: Vec<String>,
    most_hops: u32,
}

#[derive(Clone, Debug)]
struct Stored {
    queue: &'static str,
    id: String,
    body: String,
    group: String,
    receives: u32,
    /// How often this task was sent by the function that had received it.
    hops: u32,
    visible_at: Moment,
    receipts: Vec<String>,
}

impl Sqs {
    pub(crate) fn new(time: Time) -> Self {
        let state = State {
            messages: Vec::new(),
            max_receives: runner::MAX_RECEIVES,
            drawn: 0,
            sent: Vec::new(),
            most_hops: 0,
        };
        Self {
            time,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn redrive_after(&self, max_receives: u32) {
        self.state.lock().unwrap().max_receives = max_receives;
    }

    /// Handles one request. Returns a status and JSON.
    pub(crate) fn call(&self, operation: &str, request: &Value) -> (u16, Value) {
        let queue = [LIVE, DEAD]
            .into_iter()
            .find(|url| request["QueueUrl"] == *url);
        let Some(queue) = queue else {
            return refusal("QueueDoesNotExist");
        };
        let now = self.time.clock().now();
        let mut state = self.state.lock().unwrap();
        match operation {
            "SendMessage" => state.send(queue, request, now),
            "ChangeMessageVisibility" => state.change_visibility(queue, request, now),
            other => panic!("the product calls SQS {other}"),
        }
    }

    /// Receives up to `most` visible messages. A message that was received too often
    /// becomes a dead letter instead.
    pub(crate) fn receive(&self, queue: &'static str, most: usize) -> Vec<Received> {
        let now = self.time.clock().now();
        let mut state = self.state.lock().unwrap();
        state.redrive(now);
        state.stop_loops(now);
        let visible: Vec<usize> = (0..state.messages.len())
            .filter(|&at| state.messages[at].queue == queue && state.messages[at].visible_at <= now)
            .take(most)
            .collect();
        visible
            .into_iter()
            .map(|at| state.hand_out(at, now))
            .collect()
    }

    /// A second copy of a message in flight, which a standard queue may deliver.
    pub(crate) fn twin(&self, of: &Received) -> Received {
        let now = self.time.clock().now();
        let mut state = self.state.lock().unwrap();
        let at = state
            .messages
            .iter()
            .position(|message| message.id == of.id)
            .expect("it is in flight");
        state.hand_out(at, now)
    }

    pub(crate) fn delete(&self, message: &Received) {
        self.state
            .lock()
            .unwrap()
            .messages
            .retain(|stored| stored.id != message.id);
    }

    /// When the next message is visible, or `None` if there is no message.
    pub(crate) fn next_visible(&self) -> Option<Moment> {
        self.state
            .lock()
            .unwrap()
            .messages
            .iter()
            .map(|message| message.visible_at)
            .min()
    }

    /// Sets the receive count of every message.
    pub(crate) fn wear_out(&self, receives: u32) {
        for message in &mut self.state.lock().unwrap().messages {
            message.receives = receives;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().unwrap().messages.is_empty()
    }

    /// The longest chain of sends from a function to its own queue, so far.
    pub(crate) fn most_hops(&self) -> u32 {
        self.state.lock().unwrap().most_hops
    }

    /// Whether a message with this body was ever sent.
    pub(crate) fn was_sent(&self, body: &str) -> bool {
        self.state
            .lock()
            .unwrap()
            .sent
            .iter()
            .any(|sent| sent == body)
    }
}

impl State {
    fn draw(&mut self, what: &str) -> String {
        self.drawn += 1;
        format!("{what}-{}", self.drawn)
    }

    fn send(&mut self, queue: &'static str, request: &Value, now: Moment) -> (u16, Value) {
        let delay = request["DelaySeconds"].as_u64().unwrap_or_default();
        let body = request["MessageBody"].as_str().unwrap_or_default();
        if delay > MAX_DELAY || body.is_empty() || body.len() > MAX_BODY {
            return refusal("InvalidParameterValue");
        }
        let id = self.draw("message");
        self.sent.push(body.to_owned());
        let received = |message: &&Stored| {
            message.body == body && message.receives > 0 && message.visible_at > now
        };
        let hops = self
            .messages
            .iter()
            .find(received)
            .map_or(0, |message| message.hops + 1);
        self.most_hops = self.most_hops.max(hops);
        self.messages.push(Stored {
            queue,
            id: id.clone(),
            body: body.to_owned(),
            group: request["MessageGroupId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            receives: 0,
            hops,
            visible_at: now.plus(Duration::from_secs(delay)),
            receipts: Vec::new(),
        });
        (200, json!({ "MessageId": id, "MD5OfMessageBody": "x" }))
    }

    fn change_visibility(&mut self, queue: &str, request: &Value, now: Moment) -> (u16, Value) {
        let seconds = request["VisibilityTimeout"].as_u64().unwrap_or(u64::MAX);
        if seconds > MAX_VISIBILITY {
            return refusal("InvalidParameterValue");
        }
        let receipt = request["ReceiptHandle"].as_str().unwrap_or_default();
        let held = |message: &&mut Stored| {
            message.queue == queue && message.receipts.iter().any(|known| known == receipt)
        };
        match self.messages.iter_mut().find(held) {
            None => refusal("ReceiptHandleIsInvalid"),
            Some(message) if message.visible_at <= now => refusal("MessageNotInflight"),
            Some(message) => {
                message.visible_at = now.plus(Duration::from_secs(seconds));
                (200, json!({}))
            }
        }
    }

    fn redrive(&mut self, now: Moment) {
        let max_receives = self.max_receives;
        for message in &mut self.messages {
            if message.queue == LIVE
                && message.receives >= max_receives
                && message.visible_at <= now
            {
                message.queue = DEAD;
            }
        }
    }

    /// Lambda receives such a message and does not invoke the function with it.
    fn stop_loops(&mut self, now: Moment) {
        for message in &mut self.messages {
            if message.hops >= MAX_HOPS && message.visible_at <= now {
                message.receives += 1;
                message.visible_at = now.plus(VISIBILITY);
            }
        }
    }

    fn hand_out(&mut self, at: usize, now: Moment) -> Received {
        let receipt = self.draw("receipt");
        let message = &mut self.messages[at];
        message.receives += 1;
        message.visible_at = now.plus(VISIBILITY);
        message.receipts.push(receipt.clone());
        Received {
            id: message.id.clone(),
            receipt,
            body: message.body.clone(),
            group: message.group.clone(),
            receives: message.receives,
        }
    }
}

fn refusal(code: &str) -> (u16, Value) {
    (
        400,
        json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": code }),
    )
}
