//! A document as the table hands it over, damaged in any way.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sources::{Document, IndexedDocument, Library};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::from_bytes(bytes.to_vec()) else {
        return;
    };
    let passages = document.passages();
    let volume = IndexedDocument {
        title: "t".into(),
        source: "s".into(),
        document: Arc::new(document),
    };
    let library = Library::new(vec![volume]).unwrap();
    assert!(library.search("zebra noon", 3).unwrap().len() <= passages);
});
