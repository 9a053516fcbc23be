//! What an agent can look up: its documents and the texts of its definition.
//!
//! The record of the agent says which documents it has, so a run that finds them
//! in memory reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{AgentId, Content, ErrorType, Fault, Passage};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sources::{Document, IndexError, Library, UnreadableDocument, Volume};
use store::{AgentRecord, Agents, Documents, StoreError, error_chain};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

/// What is kept in memory of all agents' documents together. The function has
/// more for the runs themselves; an agent's documents take up to a third of this.
const MOST_BYTES: usize = 96 * 1024 * 1024;
/// What a library takes beside its documents.
const LIBRARY_BYTES: usize = 64 * 1024;
/// Documents read at a time.
const AT_ONCE: usize = 8;
/// How often documents may change under a search before it gives up.
const MOST_CHANGES: usize = 3;

/// The sources of all agents.
#[derive(Debug)]
pub struct Sources {
    agents: Arc<Agents>,
    documents: Documents,
    shelves: Mutex<Shelves>,
}

/// Why an agent's sources cannot be searched.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// They cannot be read.
    #[error("failed to read the agent's documents")]
    Store(#[from] StoreError),
    /// A document is not what was written.
    #[error("a document cannot be read back")]
    Unreadable(#[from] UnreadableDocument),
    /// The engine failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// They changed again and again while they were read.
    #[error("the agent's documents keep changing")]
    Changing,
    /// A search panicked, or the process ends.
    #[error("a search broke off")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl From<SourcesError> for Fault {
    fn from(error: SourcesError) -> Self {
        tracing::error!(error = error_chain(&error), "sources not searched");
        let message = "The agent's documents could not be searched";
        match error {
            SourcesError::Store(
                StoreError::Unavailable { .. } | StoreError::Newer { .. } | StoreError::BeingDeleted,
            )
            | SourcesError::Changing => Self::passing(ErrorType::Internal, message),
            SourcesError::Store(StoreError::Damaged { .. })
            | SourcesError::Unreadable(_)
            | SourcesError::Index(_)
            | SourcesError::BrokenOff(_) => Self::permanent(ErrorType::Internal, message),
        }
    }
}

/// Libraries by agent, and which was used last.
#[derive(Debug, Default)]
struct Shelves {
    by_agent: HashMap<AgentId, Shelf>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Held while the library is read, so that runs that start together read it once.
    place: Arc<AsyncMutex<Option<Shelved>>>,
    bytes: usize,
    used: u64,
}

#[derive(Clone, Debug)]
struct Shelved {
    revision: u64,
    library: Arc<Library>,
    contents: HashMap<Content, Arc<Document>>,
}

impl Sources {
    /// The documents of these agents.
    pub fn new(agents: Arc<Agents>, documents: Documents) -> Self {
        Self { agents, documents, shelves: Mutex::default() }
    }

    /// The passages that speak to a payload: what a model is given unasked, and
    /// what answers without one.
    pub async fn best(&self, record: &AgentRecord, question: String) -> Result<Vec<Passage>, SourcesError> {
        let Some(library) = self.library(record).await? else { return Ok(Vec::new()) };
        Ok(spawn_blocking(move || library.best(&question)).await??)
    }

    /// Up to `limit` passages for a query, best first: the tool `search_sources`.
    pub async fn search(
        &self,
        record: &AgentRecord,
        query: String,
        limit: usize,
    ) -> Result<Vec<Passage>, SourcesError> {
        let Some(library) = self.library(record).await? else { return Ok(Vec::new()) };
        Ok(spawn_blocking(move || library.search(&query, limit)).await??)
    }

    /// The library of this revision of the agent, or of a later one.
    async fn library(&self, record: &AgentRecord) -> Result<Option<Arc<Library>>, SourcesError> {
        if !has_sources(record) {
            return Ok(None);
        }
        let id = record.agent.id();
        let place = self.place(id);
        let mut shelved = place.lock().await;
        if let Some(found) = shelved.as_ref().filter(|found| found.revision >= record.revision) {
            return Ok(Some(Arc::clone(&found.library)));
        }
        let read = self.read(record, shelved.take()).await?;
        let library = Arc::clone(&read.library);
        *shelved = Some(read);
        self.keep(id, LIBRARY_BYTES + library.bytes());
        Ok(Some(library))
    }

    /// Reads what is not in memory yet. A document that was replaced or deleted
    /// since the record was read is looked for in the record as it is now.
    async fn read(&self, record: &AgentRecord, known: Option<Shelved>) -> Result<Shelved, SourcesError> {
        let known = known.map(|shelved| shelved.contents).unwrap_or_default();
        let mut record = record.clone();
        for _ in 0..MOST_CHANGES {
            if let Some(contents) = self.contents(&record, &known).await? {
                return spawn_blocking(move || shelved(&record, contents)).await?;
            }
            match self.agents.get(record.agent.id()).await? {
                Some(now) => record = now,
                // Deleted with its documents, while a run of it goes on.
                None => record.catalogue = record.catalogue.emptied(),
            }
        }
        Err(SourcesError::Changing)
    }

    /// Every document of the record, or nothing if one is gone.
    async fn contents(
        &self,
        record: &AgentRecord,
        known: &HashMap<Content, Arc<Document>>,
    ) -> Result<Option<HashMap<Content, Arc<Document>>>, SourcesError> {
        let id = record.agent.id();
        let read = async |content: Content| {
            if let Some(document) = known.get(&content) {
                return Ok(Some((content, Arc::clone(document))));
            }
            let bytes = self.documents.read(id, &content).await?;
            let Some(bytes) = bytes else { return Ok::<_, SourcesError>(None) };
            let document = spawn_blocking(move || Document::from_bytes(bytes)).await??;
            Ok(Some((content, Arc::new(document))))
        };
        let listed = record.catalogue.documents().iter();
        let reads: Vec<_> = listed.map(|listed| read(listed.content.clone())).collect();
        let read: Vec<Option<_>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().collect())
    }

    fn place(&self, id: AgentId) -> Arc<AsyncMutex<Option<Shelved>>> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.uses += 1;
        let used = shelves.uses;
        let shelf = shelves.by_agent.entry(id).or_default();
        shelf.used = used;
        Arc::clone(&shelf.place)
    }

    /// Notes what a library takes, and puts others away until all have room.
    fn keep(&self, id: AgentId, bytes: usize) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.by_agent.get_mut(&id) {
            shelf.bytes = bytes;
        }
        shelves.make_room(id);
    }
}

impl Shelves {
    fn make_room(&mut self, for_agent: AgentId) {
        while self.by_agent.values().map(|shelf| shelf.bytes).sum::<usize>() > MOST_BYTES {
            let others = self.by_agent.iter().filter(|(id, shelf)| **id != for_agent && shelf.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, shelf)| shelf.used).map(|(id, _)| *id) else { return };
            self.by_agent.remove(&oldest);
        }
    }
}

fn has_sources(record: &AgentRecord) -> bool {
    !record.agent.draft().sources.is_empty() || !record.catalogue.documents().is_empty()
}

/// The documents and the definition's own texts, side by side.
fn shelved(record: &AgentRecord, contents: HashMap<Content, Arc<Document>>) -> Result<Shelved, SourcesError> {
    let texts = &record.agent.draft().sources;
    let mut volumes = Vec::new();
    if !texts.is_empty() {
        let document = Arc::new(Document::of_texts(texts)?);
        volumes.push(Volume { title: String::new(), source: String::new(), document });
    }
    for listed in record.catalogue.documents() {
        if let Some(document) = contents.get(&listed.content) {
            let (title, source) = (listed.title.clone(), listed.source.clone());
            volumes.push(Volume { title, source, document: Arc::clone(document) });
        }
    }
    let library = Arc::new(Library::new(volumes)?);
    Ok(Shelved { revision: record.revision, library, contents })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_used_longest_ago_make_room_and_never_the_one_that_needs_it() {
        let id = |n| AgentId::random([n; 16]);
        let shelf = |used, bytes| Shelf { used, bytes, ..Shelf::default() };
        let mut shelves = Shelves::default();
        for (n, used) in [(1, 30), (2, 10), (3, 20)] {
            shelves.by_agent.insert(id(n), shelf(used, MOST_BYTES / 3));
        }
        shelves.make_room(id(2));
        assert_eq!(shelves.by_agent.len(), 3);
        shelves.by_agent.insert(id(4), shelf(40, MOST_BYTES / 2));
        shelves.make_room(id(2));
        let mut left: Vec<u64> = shelves.by_agent.values().map(|shelf| shelf.used).collect();
        left.sort_unstable();
        assert_eq!(left, [10, 40]);
        shelves.by_agent.insert(id(5), shelf(50, 2 * MOST_BYTES));
        shelves.make_room(id(5));
        assert_eq!(shelves.by_agent.len(), 1);
    }
}
