//! The index of passages: BM25, by tantivy.
//!
//! Each document is a segment, built once at upload. For a search, the segments of an agent's
//! documents are combined in memory with a `meta.json` that lists them. Nothing is indexed at that
//! time, and word frequencies are those of all documents together.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, RamDirectory, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, TokenizerManager,
};
use tantivy::{
    Directory, Index, IndexSettings, ReloadPolicy, Searcher, TantivyDocument, TantivyError,
};

use crate::normalize::searchable;
use crate::words::Words;

/// Changes with the analyzer and the file format. An index with another value is rebuilt.
pub(crate) const INDEX_FORMAT: &str = "tantivy-7-english-2";
const ANALYZER: &str = "passages";
/// The engine's initial memory. It grows with the document.
const WRITER_BYTES: usize = 1_000_000;
/// Bytes. Longer words are not indexed.
const LONGEST_WORD: usize = 60;
const META: &str = "meta.json";

/// The index of one document.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    /// By file extension.
    pub(crate) files: Vec<(String, OwnedBytes)>,
}

/// The entry of a segment in `meta.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SegmentMeta {
    pub(crate) id: String,
    pub(crate) passages: u32,
}

struct IndexFields {
    schema: Schema,
    text: Field,
}

/// Words and their frequencies. Positions are not stored because there are no phrase queries.
static FIELDS: LazyLock<IndexFields> = LazyLock::new(|| {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(ANALYZER)
        .set_index_option(IndexRecordOption::WithFreqs);
    let mut schema = Schema::builder();
    let text = schema.add_text_field(
        "text",
        TextOptions::default().set_indexing_options(indexing),
    );
    IndexFields {
        schema: schema.build(),
        text,
    }
});

/// Removes case, accents and English stop words, and reduces words to their English stems. Words of
/// other languages are mostly unchanged. Expects [`searchable`] text.
pub(crate) fn analyzer() -> TextAnalyzer {
    let words = TextAnalyzer::builder(Words)
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .dynamic();
    let words = match StopWordFilter::new(Language::English) {
        Some(stop_words) => words.filter_dynamic(stop_words),
        None => words,
    };
    words
        .filter_dynamic(Stemmer::new(Language::English))
        .build()
}

fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::new();
    tokenizers.register(ANALYZER, analyzer());
    tokenizers
}

/// Indexes passages, each with the title of its document.
pub(crate) fn build<'a>(
    passages: impl Iterator<Item = (&'a str, &'a String)>,
) -> tantivy::Result<Segment> {
    let directory = RamDirectory::create();
    let index = Index::builder()
        .schema(FIELDS.schema.clone())
        .settings(settings())
        .tokenizers(tokenizers());
    let mut writer = index.single_segment_index_writer(directory.clone(), WRITER_BYTES)?;
    for (title, passage) in passages {
        let mut words = TantivyDocument::new();
        words.add_text(FIELDS.text, searchable(&format!("{title}\n{passage}")));
        writer.add_document(words)?;
    }
    let built = writer.finalize()?;
    let meta = built.searchable_segment_metas()?.into_iter().next();
    let meta =
        meta.ok_or_else(|| TantivyError::InternalError("no segment was built".to_owned()))?;
    let mut files = Vec::new();
    for path in built.load_metas()?.list_segment_files() {
        if let (true, Some(ending)) = (
            directory.exists(&path)?,
            path.extension().and_then(|e| e.to_str()),
        ) {
            let bytes = directory.open_read(&path)?.read_bytes()?;
            files.push((ending.to_owned(), bytes));
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let meta = SegmentMeta {
        id: meta.id().uuid_string(),
        passages: meta.max_doc(),
    };
    Ok(Segment { meta, files })
}

/// Opens the segments as one index.
pub(crate) fn open<'a>(
    segments: impl Iterator<Item = &'a Segment> + Clone,
) -> tantivy::Result<Searcher> {
    let mut files = HashMap::from([(
        PathBuf::from(META),
        OwnedBytes::new(meta_json(segments.clone())?),
    )]);
    for segment in segments {
        for (ending, bytes) in &segment.files {
            files.insert(
                format!("{}.{ending}", segment.meta.id).into(),
                bytes.clone(),
            );
        }
    }
    let mut index = Index::open(MemoryDirectory(Arc::new(files)))?;
    index.set_tokenizers(tokenizers());
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()?;
    Ok(reader.searcher())
}

/// The field in which passages are searched.
pub(crate) fn text_field() -> Field {
    FIELDS.text
}

/// Nothing is stored in the engine's document store. The passages are stored beside the index.
fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: tantivy::store::Compressor::None,
        ..IndexSettings::default()
    }
}

fn meta_json<'a>(segments: impl Iterator<Item = &'a Segment>) -> tantivy::Result<Vec<u8>> {
    let segments: Vec<_> = segments
        .map(|segment| json!({ "segment_id": segment.meta.id, "max_doc": segment.meta.passages, "deletes": null }))
        .collect();
    let meta = json!({
        "index_settings": settings(), "segments": segments, "schema": FIELDS.schema, "opstamp": 0,
    });
    Ok(serde_json::to_vec(&meta).map_err(io::Error::from)?)
}

/// Read-only files in memory, shared by concurrent searches.
#[derive(Clone, Debug)]
struct MemoryDirectory(Arc<HashMap<PathBuf, OwnedBytes>>);

impl MemoryDirectory {
    fn file(&self, path: &Path) -> Result<&OwnedBytes, OpenReadError> {
        self.0
            .get(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }
}

fn read_only() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

impl Directory for MemoryDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.file(path)?.clone()))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.0.contains_key(path))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.file(path)?.to_vec())
    }

    /// Read-only files need no lock.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}
