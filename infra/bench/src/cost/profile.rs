//! What tasks are like: the ways in which the product is used that differ in cost.

use std::fmt::Write as _;
use std::time::Duration;

use super::model::Says;

/// Tasks of one kind.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// In words, for the report.
    pub(crate) means: &'static str,
    pub(crate) payload: String,
    pub(crate) model: Says,
    /// Each has an `Idempotency-Key`.
    pub(crate) keyed: bool,
    /// How often each is triggered again after its end, with the same key.
    pub(crate) repeats: usize,
    pub(crate) polls: usize,
    /// What its model takes. Reckoned, not waited for.
    pub(crate) model_takes: Duration,
    /// Tasks that one invocation runs.
    pub(crate) batch: usize,
    /// Whether functions know the agent from the task before.
    pub(crate) known: bool,
}

/// Tasks counted in each profile: a batch of the event source mapping.
pub(crate) const TASKS: usize = 10;

pub(crate) fn all() -> Vec<Profile> {
    let small = || Profile {
        name: "small",
        means: "a payload of 150 bytes, an answer of 200, batches of ten, a model that answers at once",
        payload: order(150),
        model: Says::Text(words(200)),
        keyed: false,
        repeats: 0,
        polls: 0,
        model_takes: Duration::ZERO,
        batch: TASKS,
        known: true,
    };
    vec![
        small(),
        Profile {
            name: "alone",
            means: "small, and rare: each task is its own batch, and its functions read the agent anew",
            batch: 1,
            known: false,
            ..small()
        },
        Profile { name: "keyed", means: "small, with an Idempotency-Key", keyed: true, ..small() },
        Profile {
            name: "repeated",
            means: "keyed, and triggered once more after its end",
            keyed: true,
            repeats: 1,
            ..small()
        },
        Profile { name: "polled", means: "small, and asked for five times", polls: 5, ..small() },
        Profile {
            name: "long",
            means: "a payload of 4 KB, an answer of 1 KB, a model that takes 10 s",
            payload: order(4 * 1024),
            model: Says::Text(words(1024)),
            model_takes: Duration::from_secs(10),
            ..small()
        },
        Profile {
            name: "large",
            means: "a payload of 256 KB, an answer of 16 KB, a model that takes 10 s",
            payload: order(256 * 1024),
            model: Says::Text(words(16 * 1024)),
            model_takes: Duration::from_secs(10),
            ..small()
        },
        Profile {
            name: "failing",
            means: "small, and its model refuses it",
            model: Says::Refusal,
            ..small()
        },
    ]
}

/// Numbers that look random and are always the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 24] = [
            "order",
            "customer",
            "returned",
            "within",
            "thirty",
            "days",
            "invoice",
            "number",
            "delivery",
            "address",
            "missing",
            "part",
            "refund",
            "approved",
            "warehouse",
            "please",
            "check",
            "priority",
            "contract",
            "signed",
            "carrier",
            "delayed",
            "until",
            "Thursday",
        ];
        let at = usize::try_from(self.below(WORDS.len() as u64)).unwrap_or_default();
        WORDS.get(at).copied().unwrap_or_default()
    }
}

/// A JSON object of about this many bytes.
fn order(bytes: usize) -> String {
    let mut draw = Draw(1);
    let mut text = r#"{"order":{"id":70113,"lines":["#.to_owned();
    loop {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            r#"{{"sku":"{}-{}","name":"{} {}","quantity":{},"price":"{}.{:02}"}}"#,
            draw.word(),
            draw.below(100_000),
            draw.word(),
            draw.word(),
            draw.below(20),
            draw.below(500),
            draw.below(100),
        );
        if text.len() + 3 >= bytes {
            return text + "]}}";
        }
        text.push(',');
    }
}

/// A text of about this many bytes.
fn words(bytes: usize) -> String {
    let mut draw = Draw(2);
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(draw.word());
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_about_the_size_that_is_said() {
        for bytes in [150, 4096, 256 * 1024] {
            let payload = order(bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
            assert!((bytes..bytes + 100).contains(&payload.len()), "{} for {bytes}", payload.len());
        }
    }
}
