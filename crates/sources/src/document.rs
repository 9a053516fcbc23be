//! The stored form of a document: its passages and their index.

use domain::Source;
use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;

use crate::index::{self, INDEX_FORMAT, Segment, SegmentMeta};
use crate::passages::split;

/// Of a CRC-32 checksum in hexadecimal.
const CHECKSUM_BYTES: usize = 8;

#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) passages: Vec<String>,
    /// The title of each passage, for texts that are searched as one document.
    pub(crate) titles: Option<Vec<String>>,
    pub(crate) segment: Segment,
    bytes: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to index a document")]
pub struct IndexError(#[from] pub(crate) tantivy::TantivyError);

/// Why a stored document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableDocument {
    #[error("the stored document is corrupt")]
    Damaged,
    /// The index has another format and could not be rebuilt.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The part before the files of the index. The index can be rebuilt from the passages, so that
/// another version of the engine can read the document.
#[derive(Serialize, Deserialize)]
struct DocumentMeta {
    title: String,
    passages: Vec<String>,
    form: String,
    segment: SegmentMeta,
    /// The extensions and the lengths of the files, in their order.
    files: Vec<(String, usize)>,
}

impl Document {
    /// Splits a text into passages and indexes them with its title.
    pub fn new(title: &str, text: &str) -> Result<Self, IndexError> {
        Self::indexed(title, split(text))
    }

    /// Indexes the short texts of an agent's definition as one document. Each passage has the title
    /// of its text.
    pub fn from_texts(texts: &[Source]) -> Result<Self, IndexError> {
        let cut = texts.iter().flat_map(|source| {
            split(&source.text)
                .into_iter()
                .map(|text| (source.title.clone(), text))
        });
        let (titles, passages): (Vec<_>, Vec<_>) = cut.unzip();
        let segment = index::build(titles.iter().map(String::as_str).zip(&passages))?;
        Ok(Self {
            titles: Some(titles),
            ..Self::from_parts(passages, segment)
        })
    }

    fn indexed(title: &str, passages: Vec<String>) -> Result<Self, IndexError> {
        let segment = index::build(passages.iter().map(|passage| (title, passage)))?;
        Ok(Self::from_parts(passages, segment))
    }

    fn from_parts(passages: Vec<String>, segment: Segment) -> Self {
        let texts: usize = passages
            .iter()
            .map(|passage| passage.len() + size_of::<String>())
            .sum();
        let files: usize = segment.files.iter().map(|(_, bytes)| bytes.len()).sum();
        Self {
            passages,
            titles: None,
            segment,
            bytes: texts + files,
        }
    }

    /// The number of passages.
    pub const fn passages(&self) -> usize {
        self.passages.len()
    }

    /// The approximate size in memory.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Serializes to a checksum, a line of JSON and the files of the index.
    pub fn to_bytes(&self, title: &str) -> Vec<u8> {
        let files = &self.segment.files;
        let meta = DocumentMeta {
            title: title.to_owned(),
            passages: self.passages.clone(),
            form: INDEX_FORMAT.to_owned(),
            segment: self.segment.meta.clone(),
            files: files
                .iter()
                .map(|(ending, bytes)| (ending.clone(), bytes.len()))
                .collect(),
        };
        // Cannot fail: strings, numbers and lists of them are valid JSON.
        let mut content = serde_json::to_vec(&meta).unwrap_or_default();
        content.push(b'\n');
        for (_, file) in files {
            content.extend_from_slice(file);
        }
        [checksum_text(&content).as_bytes(), &content].concat()
    }

    /// Parses the result of [`Self::to_bytes`], also of another version of the product. The engine
    /// trusts its files, so the checksum must match.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, UnreadableDocument> {
        let content = bytes.get(CHECKSUM_BYTES..).unwrap_or_default();
        if bytes.get(..CHECKSUM_BYTES) != Some(checksum_text(content).as_bytes()) {
            return Err(UnreadableDocument::Damaged);
        }
        let end = content
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(UnreadableDocument::Damaged)?;
        let files = bytes.split_off(CHECKSUM_BYTES + end + 1);
        let meta = bytes.get(CHECKSUM_BYTES..).unwrap_or_default();
        let meta: DocumentMeta =
            serde_json::from_slice(meta).map_err(|_| UnreadableDocument::Damaged)?;
        match meta.segment(OwnedBytes::new(files)) {
            Some(segment) => Ok(Self::from_parts(meta.passages, segment)),
            None => Ok(Self::indexed(&meta.title, meta.passages)?),
        }
    }
}

fn checksum_text(content: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(content))
}

impl DocumentMeta {
    /// The stored index, if it has the current format.
    fn segment(&self, mut bytes: OwnedBytes) -> Option<Segment> {
        let length: usize = self.files.iter().map(|(_, length)| length).sum();
        let fits = self.form == INDEX_FORMAT && length == bytes.len();
        if !fits {
            return None;
        }
        let files = self.files.iter().map(|(ending, length)| {
            let (file, rest) = bytes.clone().split(*length);
            bytes = rest;
            (ending.clone(), file)
        });
        Some(Segment {
            meta: self.segment.clone(),
            files: files.collect(),
        })
    }
}
