//! The sources of agents: their documents and the texts of their definitions.
//!
//! The agent's record lists its documents. A run that finds them in memory reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{AgentId, DocumentContent, ErrorType, Fault, Passage};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sources::{Document, IndexError, IndexedDocument, Library, UnreadableDocument};
use store::{Agents, Documents, StoreError, StoredAgent, error_chain};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

/// The memory for the documents of all agents. The function has more for the runs
/// themselves. The documents of one agent take up to a third of this.
const MAX_BYTES: usize = 96 * 1024 * 1024;
/// The memory of a library without its documents.
const LIBRARY_BYTES: usize = 64 * 1024;
/// How many documents are read in parallel.
const PARALLEL_READS: usize = 8;
/// How often documents may change during a search before it gives up.
const MAX_CHANGES: usize = 3;

/// The sources of all agents.
#[derive(Debug)]
pub struct Sources {
    agents: Arc<Agents>,
    documents: Documents,
    cache: Mutex<LibraryCache>,
}

/// Why an agent's sources cannot be searched.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    #[error("failed to read the agent's documents")]
    Store(#[from] StoreError),
    #[error("a stored document is corrupt")]
    Unreadable(#[from] UnreadableDocument),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the agent's documents keep changing")]
    Changing,
    /// The search panicked, or the process is stopping.
    #[error("the search was interrupted")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl From<SourcesError> for Fault {
    fn from(error: SourcesError) -> Self {
        tracing::error!(error = error_chain(&error), "sources not searched");
        let message = "The agent's documents could not be searched";
        match error {
            SourcesError::Store(
                StoreError::Unavailable { .. }
                | StoreError::Newer { .. }
                | StoreError::BeingDeleted,
            )
            | SourcesError::Changing => Self::transient(ErrorType::Internal, message),
            SourcesError::Store(StoreError::Damaged { .. })
            | SourcesError::Unreadable(_)
            | SourcesError::Index(_)
            | SourcesError::BrokenOff(_) => Self::permanent(ErrorType::Internal, message),
        }
    }
}

/// The libraries of agents. The least recently used ones are evicted.
#[derive(Debug, Default)]
struct LibraryCache {
    by_agent: HashMap<AgentId, LibrarySlot>,
    uses: u64,
}

#[derive(Debug, Default)]
struct LibrarySlot {
    /// Locked while the library is loaded, so that runs that start together load it once.
    library: Arc<AsyncMutex<Option<CachedLibrary>>>,
    bytes: usize,
    used: u64,
}

#[derive(Clone, Debug)]
struct CachedLibrary {
    revision: u64,
    library: Arc<Library>,
    contents: HashMap<DocumentContent, Arc<Document>>,
}

impl Sources {
    pub fn new(agents: Arc<Agents>, documents: Documents) -> Self {
        Self {
            agents,
            documents,
            cache: Mutex::default(),
        }
    }

    /// The passages that match a payload best. The model gets them with the prompt. Without a
    /// model they are the answer.
    pub async fn best_passages(
        &self,
        record: &StoredAgent,
        query: String,
    ) -> Result<Vec<Passage>, SourcesError> {
        let Some(library) = self.library(record).await? else {
            return Ok(Vec::new());
        };
        Ok(spawn_blocking(move || library.best_passages(&query)).await??)
    }

    /// Up to `limit` passages for a query, best first. Used by the tool `search_sources`.
    pub async fn search(
        &self,
        record: &StoredAgent,
        query: String,
        limit: usize,
    ) -> Result<Vec<Passage>, SourcesError> {
        let Some(library) = self.library(record).await? else {
            return Ok(Vec::new());
        };
        Ok(spawn_blocking(move || library.search(&query, limit)).await??)
    }

    /// The library of this revision of the agent, or of a later one.
    async fn library(&self, record: &StoredAgent) -> Result<Option<Arc<Library>>, SourcesError> {
        if !has_sources(record) {
            return Ok(None);
        }
        let id = record.agent.id();
        let cell = self.library_cell(id);
        let mut cached = cell.lock().await;
        if let Some(found) = cached
            .as_ref()
            .filter(|found| found.revision >= record.revision)
        {
            return Ok(Some(Arc::clone(&found.library)));
        }
        let loaded = self.load(record, cached.take()).await?;
        let library = Arc::clone(&loaded.library);
        *cached = Some(loaded);
        self.record_size(id, LIBRARY_BYTES + library.bytes());
        Ok(Some(library))
    }

    /// Reads the documents that are not in memory yet. If one was replaced or deleted since the
    /// record was read, reads the record again.
    async fn load(
        &self,
        record: &StoredAgent,
        known: Option<CachedLibrary>,
    ) -> Result<CachedLibrary, SourcesError> {
        let known = known.map(|cached| cached.contents).unwrap_or_default();
        let mut record = record.clone();
        for _ in 0..MAX_CHANGES {
            if let Some(contents) = self.load_contents(&record, &known).await? {
                return spawn_blocking(move || build_library(&record, contents)).await?;
            }
            match self.agents.get(record.agent.id()).await? {
                Some(now) => record = now,
                // The agent and its documents were deleted during the run.
                None => record.catalogue = record.catalogue.emptied(),
            }
        }
        Err(SourcesError::Changing)
    }

    /// Every document of the record, or `None` if one of them is missing.
    async fn load_contents(
        &self,
        record: &StoredAgent,
        known: &HashMap<DocumentContent, Arc<Document>>,
    ) -> Result<Option<HashMap<DocumentContent, Arc<Document>>>, SourcesError> {
        let id = record.agent.id();
        let read = async |content: DocumentContent| {
            if let Some(document) = known.get(&content) {
                return Ok(Some((content, Arc::clone(document))));
            }
            let bytes = self.documents.read(id, &content).await?;
            let Some(bytes) = bytes else {
                return Ok::<_, SourcesError>(None);
            };
            let document = spawn_blocking(move || Document::from_bytes(bytes)).await??;
            Ok(Some((content, Arc::new(document))))
        };
        let listed = record.catalogue.documents().iter();
        let reads: Vec<_> = listed.map(|listed| read(listed.content.clone())).collect();
        let read: Vec<Option<_>> = stream::iter(reads)
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        Ok(read.into_iter().collect())
    }

    fn library_cell(&self, id: AgentId) -> Arc<AsyncMutex<Option<CachedLibrary>>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let used = cache.uses;
        let slot = cache.by_agent.entry(id).or_default();
        slot.used = used;
        Arc::clone(&slot.library)
    }

    /// Records the size of a library, and evicts others until all fit.
    fn record_size(&self, id: AgentId, bytes: usize) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = cache.by_agent.get_mut(&id) {
            slot.bytes = bytes;
        }
        cache.make_room(id);
    }
}

impl LibraryCache {
    fn make_room(&mut self, for_agent: AgentId) {
        while self.by_agent.values().map(|slot| slot.bytes).sum::<usize>() > MAX_BYTES {
            let others = self
                .by_agent
                .iter()
                .filter(|(id, slot)| **id != for_agent && slot.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(id, _)| *id) else {
                return;
            };
            self.by_agent.remove(&oldest);
        }
    }
}

fn has_sources(record: &StoredAgent) -> bool {
    !record.agent.definition().sources.is_empty() || !record.catalogue.documents().is_empty()
}

/// Combines the documents and the texts of the definition in one library.
fn build_library(
    record: &StoredAgent,
    contents: HashMap<DocumentContent, Arc<Document>>,
) -> Result<CachedLibrary, SourcesError> {
    let texts = &record.agent.definition().sources;
    let mut documents = Vec::new();
    if !texts.is_empty() {
        let document = Arc::new(Document::from_texts(texts)?);
        documents.push(IndexedDocument {
            title: String::new(),
            source: String::new(),
            document,
        });
    }
    for listed in record.catalogue.documents() {
        if let Some(document) = contents.get(&listed.content) {
            let (title, source) = (listed.title.clone(), listed.source.clone());
            documents.push(IndexedDocument {
                title,
                source,
                document: Arc::clone(document),
            });
        }
    }
    let library = Arc::new(Library::new(documents)?);
    Ok(CachedLibrary {
        revision: record.revision,
        library,
        contents,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_libraries_are_evicted_and_never_the_one_in_use() {
        let id = |n| AgentId::random([n; 16]);
        let slot = |used, bytes| LibrarySlot {
            used,
            bytes,
            ..LibrarySlot::default()
        };
        let mut cache = LibraryCache::default();
        for (n, used) in [(1, 30), (2, 10), (3, 20)] {
            cache.by_agent.insert(id(n), slot(used, MAX_BYTES / 3));
        }
        cache.make_room(id(2));
        assert_eq!(cache.by_agent.len(), 3);
        cache.by_agent.insert(id(4), slot(40, MAX_BYTES / 2));
        cache.make_room(id(2));
        let mut remaining: Vec<u64> = cache.by_agent.values().map(|slot| slot.used).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, [10, 40]);
        cache.by_agent.insert(id(5), slot(50, 2 * MAX_BYTES));
        cache.make_room(id(5));
        assert_eq!(cache.by_agent.len(), 1);
    }
}
