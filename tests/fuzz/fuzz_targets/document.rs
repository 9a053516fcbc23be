//! An untrusted document: text of any charset, Markdown, a web page. The
//! first byte says which.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sources::{Document, DocumentFormat, IndexedDocument, Library, MAX_TEXT_BYTES, read_document};

/// A fenced block, and the headings that it stands under.
const LONGEST_PASSAGE: usize = 4000 + 6 * 130;
const CHARSETS: [Option<&str>; 4] = [None, Some("utf-16le"), Some("shift_jis"), Some("latin1")];

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else {
        return;
    };
    let format = if first % 2 == 0 {
        DocumentFormat::Text
    } else {
        DocumentFormat::Html
    };
    let charset = CHARSETS[usize::from(first / 2) % CHARSETS.len()];
    let Ok(reading) = read_document(bytes, format, charset) else {
        return;
    };
    assert!(!reading.text.trim().is_empty() && reading.text.len() <= MAX_TEXT_BYTES);
    // No character takes more than three times its bytes in another charset, and
    // no tag leaves more marks than it has letters.
    assert!(reading.text.len() <= 8 * bytes.len());
    let document = Document::new("t", &reading.text).unwrap();
    assert!(document.passages() > 0, "a text without passages");
    let stored = Document::from_bytes(document.to_bytes("t")).unwrap();
    assert_eq!(stored.passages(), document.passages());
    let volume = IndexedDocument {
        title: "t".into(),
        source: "s".into(),
        document: Arc::new(stored),
    };
    let library = Library::new(vec![volume]).unwrap();
    for passage in library.search(&reading.text, 3).unwrap() {
        assert!(
            passage.text.len() <= LONGEST_PASSAGE,
            "{} bytes",
            passage.text.len()
        );
    }
});
