//! A PDF. The product reads one in a process of its own, which may end over it;
//! that this happens rarely is looked for here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sources::{DocumentFormat, MAX_TEXT_BYTES, read_document};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reading) = read_document(bytes, DocumentFormat::Pdf, None) {
        assert!(!reading.text.trim().is_empty() && reading.text.len() <= MAX_TEXT_BYTES);
    }
});
