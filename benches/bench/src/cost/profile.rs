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
    /// What its model takes. Calculated, not waited for.
    pub(crate) model_takes: Duration,
    /// Tasks that one invocation runs.
    pub(crate) batch: usize,
    /// Whether functions know the agent from the task before.
    pub(crate) known: bool,
}

/// Tasks counted in each profile: a batch of the event source mapping.
pub(crate) const TASKS: usize = 10;

pub(crate) fn all() -> Vec<Profile> {
    vec![
        small(),
        Profile {
            name: "single",
            means: "small, in a steady trickle: each task is its own batch, of an agent that is known",
            batch: 1,
            ..small()
        },
        Profile {
            name: "alone",
            means: "small, and rare: each task is its own batch, and its functions read the agent again; the \
                    cold starts that rare tasks have are not in it",
            batch: 1,
            known: false,
            ..small()
        },
        Profile {
            name: "keyed",
            means: "small, with an Idempotency-Key",
            keyed: true,
            ..small()
        },
        Profile {
            name: "repeated",
            means: "keyed, and triggered once more after its end",
            keyed: true,
            repeats: 1,
            ..small()
        },
        Profile {
            name: "polled",
            means: "small, and asked for five times",
            polls: 5,
            ..small()
        },
        slow(
            "long",
            "a payload of 4 KB, an answer of 1 KB, batches of ten, a model that takes 10 s",
            4 * 1024,
            1024,
        ),
        slow(
            "large",
            "a payload of 256 KB, an answer of 16 KB, batches of ten, a model that takes 10 s",
            256 * 1024,
            16 * 1024,
        ),
        Profile {
            name: "failing",
            means: "small, and its model refuses it",
            model: Says::Refusal,
            ..small()
        },
    ]
}

fn small() -> Profile {
    Profile {
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
    }
}

/// With a model that takes its time, a payload and an answer of so many bytes.
fn slow(name: &'static str, means: &'static str, payload: usize, answer: usize) -> Profile {
    Profile {
        name,
        means,
        payload: order(payload),
        model: Says::Text(words(answer)),
        model_takes: Duration::from_secs(10),
        ..small()
    }
}

/// Made-up words and numbers: they look random, and are always the same.
/// Like words of a language some come often and most seldom, so that they deflate as
/// real text does.
struct Draw {
    state: u64,
    vocabulary: Vec<String>,
}

impl Draw {
    const VOCABULARY: usize = 2000;

    fn new(seed: u64) -> Self {
        let mut draw = Self {
            state: 3,
            vocabulary: Vec::new(),
        };
        draw.vocabulary = (0..Self::VOCABULARY).map(|_| draw.new_word()).collect();
        draw.state = seed;
        draw
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap_or_default() % bound
    }

    /// Of two to four syllables.
    fn new_word(&mut self) -> String {
        const BEGINNINGS: &str = "b d f g k l m n p r s t v z st tr pl ch";
        const ENDS: &str = "a e i o u an er in on";
        (0..2 + self.below(3))
            .flat_map(|_| [self.part(BEGINNINGS), self.part(ENDS)])
            .collect()
    }

    fn part(&mut self, of: &'static str) -> &'static str {
        let parts = of.split(' ');
        parts
            .clone()
            .nth(self.below(parts.count()))
            .unwrap_or_default()
    }

    /// The first of the vocabulary come most.
    fn word(&mut self) -> &str {
        let among = self.below(Self::VOCABULARY) + 1;
        let at = self.below(among);
        self.vocabulary.get(at).map_or("", String::as_str)
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<String> = (0..count).map(|_| self.word().to_owned()).collect();
        words.join(" ")
    }
}

/// A JSON object of about this many bytes.
fn order(bytes: usize) -> String {
    let mut draw = Draw::new(28);
    let mut text = r#"{"order":{"id":70113,"lines":["#.to_owned();
    loop {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            r#"{{"sku":"{}-{}","name":"{}","note":"{}","quantity":{},"price":"{}.{:02}"}}"#,
            draw.words(1),
            draw.below(100_000),
            draw.words(2),
            draw.words(6),
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
    let mut draw = Draw::new(2);
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(draw.word());
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::Compression;
    use flate2::read::DeflateEncoder;

    use super::*;

    #[test]
    fn payloads_are_json_of_about_the_size_that_is_said() {
        for bytes in [150, 4096, 256 * 1024] {
            let payload = order(bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
            assert!(
                (bytes..bytes + 100).contains(&payload.len()),
                "{} for {bytes}",
                payload.len()
            );
        }
    }

    #[test]
    fn payloads_and_answers_deflate_as_real_text_does() {
        // As `store` does it.
        let percent = |text: &str| {
            let mut deflated = Vec::new();
            DeflateEncoder::new(text.as_bytes(), Compression::new(2))
                .read_to_end(&mut deflated)
                .unwrap();
            100 * deflated.len() / text.len()
        };
        let real = percent(
            include_str!("../../../../docs/operations/runbook.md")
                .get(..16 * 1024)
                .unwrap(),
        );
        for text in [order(16 * 1024), words(16 * 1024)] {
            let drawn = percent(&text);
            assert!(
                drawn.abs_diff(real) <= 5,
                "to {drawn} instead of {real} %: {text:.100}"
            );
        }
    }
}
