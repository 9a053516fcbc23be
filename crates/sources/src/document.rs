//! A document as it is kept: its passages and their index, as bytes.

use domain::Source;
use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;

use crate::index::{self, FORM, Segment, SegmentMeta};
use crate::passages::split;

/// A document ready to be searched.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) passages: Vec<String>,
    /// Of texts that are searched as one document, each passage's own.
    pub(crate) titles: Option<Vec<String>>,
    pub(crate) segment: Segment,
    bytes: usize,
}

/// The index of a document cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to index a document")]
pub struct IndexError(#[from] pub(crate) tantivy::TantivyError);

/// Bytes that are no document, or were changed.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableDocument {
    /// They say nothing that a document says.
    #[error("the bytes are no document")]
    Damaged,
    /// Its index was of another form, and could not be made anew.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What comes before the files of the index. The passages are enough to make the
/// index anew, so that another version of the engine can read what this one wrote.
#[derive(Serialize, Deserialize)]
struct Head {
    title: String,
    passages: Vec<String>,
    form: String,
    segment: SegmentMeta,
    /// The endings of the files, and how long each is, in their order.
    files: Vec<(String, usize)>,
    /// The engine trusts its files, so that nobody else may have changed them.
    checksum: u32,
}

impl Document {
    /// Cuts a text into passages and indexes them under its title.
    pub fn new(title: &str, text: &str) -> Result<Self, IndexError> {
        Self::indexed(title, split(text))
    }

    /// The short texts of an agent's own definition, as one document: its passages
    /// are called by the title of their text.
    pub fn of_texts(texts: &[Source]) -> Result<Self, IndexError> {
        let cut = texts
            .iter()
            .flat_map(|source| split(&source.text).into_iter().map(|text| (source.title.clone(), text)));
        let (titles, passages): (Vec<_>, Vec<_>) = cut.unzip();
        let segment = index::build(titles.iter().map(String::as_str).zip(&passages))?;
        Ok(Self { titles: Some(titles), ..Self::whole(passages, segment) })
    }

    fn indexed(title: &str, passages: Vec<String>) -> Result<Self, IndexError> {
        let segment = index::build(passages.iter().map(|passage| (title, passage)))?;
        Ok(Self::whole(passages, segment))
    }

    fn whole(passages: Vec<String>, segment: Segment) -> Self {
        let texts: usize = passages.iter().map(|passage| passage.len() + size_of::<String>()).sum();
        let files: usize = segment.files.iter().map(|(_, bytes)| bytes.len()).sum();
        Self { passages, titles: None, segment, bytes: texts + files }
    }

    /// How many passages it has.
    pub const fn passages(&self) -> usize {
        self.passages.len()
    }

    /// About how much memory it takes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// One line of JSON, then the files of its index.
    pub fn to_bytes(&self, title: &str) -> Vec<u8> {
        let files: Vec<u8> = self.segment.files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let head = Head {
            title: title.to_owned(),
            passages: self.passages.clone(),
            form: FORM.to_owned(),
            segment: self.segment.meta.clone(),
            files: self.segment.files.iter().map(|(ending, bytes)| (ending.clone(), bytes.len())).collect(),
            checksum: crc32fast::hash(&files),
        };
        // Strings, numbers and lists of these are always JSON.
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&files);
        bytes
    }

    /// What [`Self::to_bytes`] wrote, in this version of the product or another.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, UnreadableDocument> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(UnreadableDocument::Damaged)?;
        let files = bytes.split_off(end + 1);
        let head: Head = serde_json::from_slice(&bytes).map_err(|_| UnreadableDocument::Damaged)?;
        match head.segment(OwnedBytes::new(files)) {
            Some(segment) => Ok(Self::whole(head.passages, segment)),
            None => Ok(Self::indexed(&head.title, head.passages)?),
        }
    }
}

impl Head {
    /// The index that came with the passages, if it can be used.
    fn segment(&self, mut bytes: OwnedBytes) -> Option<Segment> {
        let lengths: Option<usize> =
            self.files.iter().try_fold(0, |sum: usize, (_, length)| sum.checked_add(*length));
        let fits = self.form == FORM
            && self.segment.passages as usize == self.passages.len()
            && lengths == Some(bytes.len())
            && self.checksum == crc32fast::hash(&bytes);
        if !fits {
            return None;
        }
        let files = self.files.iter().map(|(ending, length)| {
            let (file, rest) = bytes.clone().split(*length);
            bytes = rest;
            (ending.clone(), file)
        });
        Some(Segment { meta: self.segment.clone(), files: files.collect() })
    }
}
