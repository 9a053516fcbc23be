//! An agent's sources: documents of all formats become text, text becomes
//! passages, passages become an index, and a question finds the best of them.
//!
//! Nothing here does I/O. Reading order: [`read()`] turns a file into text,
//! [`Document`] is its passages and their index, a [`Library`] searches several.

mod document;
mod index;
mod library;
mod passages;
mod read;
mod words;

pub use document::{Document, IndexError, UnreadableDocument};
pub use library::{Library, Volume};
pub use read::{Format, MAX_FILE_BYTES, MAX_TEXT_BYTES, ReadError, Reading, read};

/// A number that the same bytes have again.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
