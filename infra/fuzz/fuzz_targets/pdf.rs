//! A PDF. The product reads one in a process of its own, which may end over it;
//! that this happens rarely is looked for here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sources::{Format, MAX_TEXT_BYTES, read};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reading) = read(bytes, Format::Pdf, None) {
        assert!(!reading.text.trim().is_empty() && reading.text.len() <= MAX_TEXT_BYTES);
    }
});
