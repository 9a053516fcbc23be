//! Ids: a task's as a caller sends it, an agent's, and a task's key as stored.
#![no_main]

use domain::{AgentId, TaskId, TaskKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(id) = TaskId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        assert_eq!(TaskId::new(id.created_at(), id.key()), id);
        assert!(id.created_at().millis() < 1 << 48);
        let _ = id.created_at().rfc3339();
    }
    if let Some(id) = AgentId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Some(key) = TaskKey::from_hex(text) {
        assert_eq!(key.as_hex(), text.to_ascii_lowercase());
    }
});
