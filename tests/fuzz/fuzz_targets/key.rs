//! An `Idempotency-Key` header.
#![no_main]

use domain::{IdempotencyKey, Salt, TaskKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| {
    let Ok(Some(key)) = IdempotencyKey::parse([header]) else {
        return;
    };
    let text = key.as_str();
    assert!((1..=256).contains(&text.chars().count()));
    assert_eq!(text, text.trim());
    assert!(std::str::from_utf8(header).unwrap().contains(text));
    let padded = format!("\t {text} ");
    assert_eq!(
        IdempotencyKey::parse([padded.as_bytes()]),
        Ok(Some(key.clone()))
    );

    let derived = TaskKey::derived(&Salt::new([1; 32]), &key);
    assert_eq!(derived, TaskKey::derived(&Salt::new([1; 32]), &key));
    assert_ne!(derived, TaskKey::derived(&Salt::new([2; 32]), &key));
    assert_eq!(TaskKey::from_hex(&derived.as_hex()), Some(derived));
});
