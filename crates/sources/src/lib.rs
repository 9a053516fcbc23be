//! An agent's sources. Documents are converted to text, split into passages and indexed. A search
//! returns the best passages for a query.
//!
//! This crate does no I/O. Reading order: [`read_document`] converts a file to text, a [`Document`]
//! has its passages and their index, and a [`Library`] searches several documents.

mod document;
mod index;
mod library;
mod normalize;
mod passages;
mod read;
mod words;

pub use document::{Document, IndexError, UnreadableDocument};
pub use library::{IndexedDocument, Library};
pub use read::{
    DocumentFormat, DocumentText, MAX_FILE_BYTES, MAX_TEXT_BYTES, ReadError, read_document,
};

/// A CRC-32 checksum.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
