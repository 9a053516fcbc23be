//! The body of a trigger: untrusted JSON.
#![no_main]

use std::collections::HashMap;

use domain::{Payload, PayloadError};
use fuzz::{NOW, agent_with, task_id};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

const MOST_LEVELS: usize = 128;

fuzz_target!(|body: &[u8]| {
    let read = serde_json::from_slice::<Value>(without_mark(body));
    match Payload::from_json(body) {
        Ok(payload) => accepted(&payload, body),
        // What a strict parser makes a value of is a payload, unless it is null.
        Err(PayloadError::Null) => assert!(read.unwrap().is_null()),
        Err(error) => assert!(read.is_err(), "refused as {error:?}"),
    }
});

fn accepted(payload: &Payload, body: &[u8]) {
    let json = payload.as_json();
    assert!(
        body.windows(json.len())
            .any(|window| window == json.as_bytes()),
        "not as sent"
    );
    assert_ne!(json, "null");
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    assert!(levels(raw) <= MOST_LEVELS);
    assert_eq!(Payload::from_json(json.as_bytes()).as_ref(), Ok(payload));
    let _ = payload.words();
    if json.starts_with(['{', '[']) {
        let rendered = agent_with("{{ payload }}")
            .prompt(payload, task_id(), NOW)
            .render();
        assert_eq!(rendered.unwrap(), json);
    }
}

/// A byte-order mark is dropped, and the rest is JSON by the book.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// Counted on what a parser hands back, where the product counts brackets.
fn levels(raw: &RawValue) -> usize {
    let text = raw.get();
    let inner: Vec<&RawValue> = if text.starts_with('[') {
        serde_json::from_str(text).unwrap()
    } else if text.starts_with('{') {
        // Without those whose name is not Unicode.
        let fields: HashMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
        fields.into_values().collect()
    } else {
        return 0;
    };
    1 + inner.into_iter().map(levels).max().unwrap_or(0)
}
