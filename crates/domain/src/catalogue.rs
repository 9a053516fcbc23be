//! The documents of one agent, as its record lists them.
//!
//! The content of a document is stored elsewhere, under a name that is never used twice. The
//! record is written before and after:
//!
//! - To add a document, its content is announced, then written, then listed.
//! - To delete one, its content is unlisted, then deleted, then forgotten.
//!
//! So after a crash at any step, every listed content exists, and the record names every
//! content that exists.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::Moment;

const MAX_DOCUMENTS: usize = 200;
/// Text of all documents of one agent, in bytes. With the index, 1.5 times as much is in
/// memory during a run.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;
const MAX_TITLE_BYTES: usize = 200;
const MAX_SOURCE_BYTES: usize = 500;
/// Bytes of all titles and names. They share a DynamoDB item with the agent.
const MAX_NAMES_BYTES: usize = 32 * 1024;
/// Longer than any upload takes. A content that was announced earlier and is still not listed
/// is abandoned.
const UPLOAD_TIME: Duration = Duration::from_secs(15 * 60);

/// The documents of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    #[serde(default)]
    documents: Vec<ListedDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leftovers: Vec<Leftover>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDocument {
    /// The title that answers cite.
    pub title: String,
    /// The origin: a URL or a file name. Unique within the agent.
    pub source: String,
    /// Size of the file.
    pub bytes: u64,
    /// Size of its text.
    pub text_bytes: u64,
    pub passages: u32,
    /// The time of the upload, in milliseconds since 1970.
    pub created_at: u64,
    pub content: DocumentContent,
}

/// Where the content of a document is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DocumentContent {
    /// Never used twice.
    pub name: String,
    /// The number of blobs that hold it.
    pub parts: u32,
}

/// A content that may exist but is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leftover {
    content: DocumentContent,
    /// Set if it was announced but never listed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced_at: Option<u64>,
}

/// Why a document is refused. The texts are for the agent's owner.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    #[error("`title` must have 1 to 200 bytes")]
    Title,
    #[error("`source` must have 1 to 500 bytes without control characters")]
    Source,
    #[error(
        "The agent has 200 documents, which is the maximum; delete some, or combine several into one file"
    )]
    TooManyDocuments,
    #[error(
        "The agent's documents would contain more than 16777216 bytes of text; delete some, or distribute them over several agents"
    )]
    TooMuchText,
    #[error(
        "The names and titles of the agent's documents would have more than 32768 bytes; shorten them"
    )]
    NamesTooLong,
    /// The content may have been deleted in the meantime.
    #[error("The upload took too long; try again")]
    TooLate,
}

impl ListedDocument {
    /// The id in the API, derived from `source`.
    pub fn id(&self) -> String {
        Sha256::digest(&self.source)
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Catalogue {
    /// Whether there are no documents and no leftover contents.
    pub const fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.leftovers.is_empty()
    }

    /// In the order in which the documents were first uploaded.
    pub fn documents(&self) -> &[ListedDocument] {
        &self.documents
    }

    pub fn find(&self, id: &str) -> Option<&ListedDocument> {
        self.documents.iter().find(|document| document.id() == id)
    }

    /// Call this before a content is written.
    #[must_use]
    pub fn announced(mut self, content: DocumentContent, now: Moment) -> Self {
        self.leftovers.push(Leftover {
            content,
            announced_at: Some(now.millis()),
        });
        self
    }

    /// Checks that the document fits the limits. It replaces a document with the same source.
    pub fn check_room(&self, document: &ListedDocument) -> Result<(), CatalogueError> {
        if !(1..=MAX_TITLE_BYTES).contains(&document.title.len()) {
            return Err(CatalogueError::Title);
        }
        let is_plain = !document.source.chars().any(char::is_control);
        if !(1..=MAX_SOURCE_BYTES).contains(&document.source.len()) || !is_plain {
            return Err(CatalogueError::Source);
        }
        let others = || {
            self.documents
                .iter()
                .filter(|other| other.source != document.source)
        };
        let all = || others().chain([document]);
        if others().count() >= MAX_DOCUMENTS {
            return Err(CatalogueError::TooManyDocuments);
        }
        if all().map(|document| document.text_bytes).sum::<u64>() > MAX_TEXT_BYTES {
            return Err(CatalogueError::TooMuchText);
        }
        let names: usize = all()
            .map(|document| document.title.len() + document.source.len())
            .sum();
        if names > MAX_NAMES_BYTES {
            Err(CatalogueError::NamesTooLong)
        } else {
            Ok(())
        }
    }

    /// Lists a document whose content was written. It replaces a document with the same
    /// source.
    pub fn with(mut self, document: ListedDocument) -> Result<Self, CatalogueError> {
        self.check_room(&document)?;
        let announced = self
            .leftovers
            .iter()
            .position(|leftover| leftover.content == document.content);
        self.leftovers
            .remove(announced.ok_or(CatalogueError::TooLate)?);
        match self
            .documents
            .iter_mut()
            .find(|other| other.source == document.source)
        {
            Some(place) => {
                let replaced = std::mem::replace(place, document);
                self.leftovers.push(Leftover {
                    content: replaced.content,
                    announced_at: None,
                });
            }
            None => self.documents.push(document),
        }
        Ok(self)
    }

    /// Removes the document with this id, if there is one.
    #[must_use]
    pub fn without(mut self, id: &str) -> Self {
        let (removed, remaining) = self
            .documents
            .into_iter()
            .partition(|document| document.id() == id);
        self.documents = remaining;
        self.add_leftovers(removed);
        self
    }

    /// Removes all documents, for an agent that is being deleted. Announced contents will
    /// never be listed.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        let removed = std::mem::take(&mut self.documents);
        self.add_leftovers(removed);
        for leftover in &mut self.leftovers {
            leftover.announced_at = None;
        }
        self
    }

    fn add_leftovers(&mut self, removed: Vec<ListedDocument>) {
        self.leftovers
            .extend(removed.into_iter().map(|document| Leftover {
                content: document.content,
                announced_at: None,
            }));
    }

    /// The contents that can be deleted.
    pub fn deletable(&self, now: Moment) -> Vec<DocumentContent> {
        let is_deletable = |leftover: &&Leftover| match leftover.announced_at {
            None => true,
            Some(at) => now.since(Moment::from_millis(at)) > UPLOAD_TIME,
        };
        self.leftovers
            .iter()
            .filter(is_deletable)
            .map(|leftover| leftover.content.clone())
            .collect()
    }

    /// Call this after these contents were deleted.
    #[must_use]
    pub fn forgotten(mut self, deleted: &[DocumentContent]) -> Self {
        self.leftovers
            .retain(|leftover| !deleted.contains(&leftover.content));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1_767_225_600_000);

    fn content(name: &str) -> DocumentContent {
        DocumentContent {
            name: name.to_owned(),
            parts: 2,
        }
    }

    fn document(source: &str, name: &str) -> ListedDocument {
        ListedDocument {
            title: "T".to_owned(),
            source: source.to_owned(),
            bytes: 10,
            text_bytes: 10,
            passages: 1,
            created_at: NOW.millis(),
            content: content(name),
        }
    }

    fn with(catalogue: Catalogue, source: &str, name: &str) -> Catalogue {
        catalogue
            .announced(content(name), NOW)
            .with(document(source, name))
            .unwrap()
    }

    #[test]
    fn a_document_with_the_same_source_replaces_the_earlier_one_and_has_its_id() {
        let first = with(with(Catalogue::default(), "a.md", "1"), "b.md", "2");
        let id = first.documents()[0].id();
        let second = with(first, "a.md", "3");
        let contents: Vec<&str> = second
            .documents()
            .iter()
            .map(|d| d.content.name.as_str())
            .collect();
        assert_eq!(contents, ["3", "2"]);
        assert_eq!(second.find(&id).unwrap().content.name, "3");
        assert_eq!(second.deletable(NOW), [content("1")]);
        assert_eq!(second.clone().forgotten(&[content("1")]).deletable(NOW), []);
    }

    #[test]
    fn after_a_crash_at_any_step_every_content_is_listed_or_a_leftover() {
        let announced = Catalogue::default().announced(content("1"), NOW);
        assert!(!announced.is_empty());
        assert_eq!(announced.deletable(NOW), [], "it may be in progress");
        assert_eq!(
            announced.deletable(NOW.plus(UPLOAD_TIME + Duration::from_millis(1))),
            [content("1")]
        );
        let listed = announced.with(document("a", "1")).unwrap();
        let gone = listed.clone().without(&document("a", "1").id());
        assert_eq!(gone.deletable(NOW), [content("1")]);
        assert!(gone.forgotten(&[content("1")]).is_empty());
        let emptied = listed.announced(content("2"), NOW).emptied();
        assert_eq!(emptied.documents(), []);
        assert_eq!(emptied.deletable(NOW), [content("2"), content("1")]);
    }

    #[test]
    fn a_content_that_may_have_been_deleted_is_never_listed() {
        let late = Catalogue::default()
            .announced(content("1"), NOW)
            .forgotten(&[content("1")]);
        assert_eq!(late.with(document("a", "1")), Err(CatalogueError::TooLate));
    }

    #[test]
    fn every_limit_is_enforced_and_replacing_a_document_is_always_possible() {
        let mut full = Catalogue::default();
        for n in 0..MAX_DOCUMENTS {
            full = with(full, &format!("{n}.md"), &n.to_string());
        }
        assert_eq!(
            full.check_room(&document("other", "x")),
            Err(CatalogueError::TooManyDocuments)
        );
        assert_eq!(full.check_room(&document("7.md", "x")), Ok(()));
        let large = ListedDocument {
            text_bytes: MAX_TEXT_BYTES - 10,
            ..document("large", "l")
        };
        let large = Catalogue::default()
            .announced(content("l"), NOW)
            .with(large)
            .unwrap();
        assert_eq!(large.check_room(&document("small", "s")), Ok(()));
        let one_more = ListedDocument {
            text_bytes: 11,
            ..document("small", "s")
        };
        assert_eq!(
            large.check_room(&one_more),
            Err(CatalogueError::TooMuchText)
        );
        let none = Catalogue::default();
        for (title, source, error) in [
            ("", "a", CatalogueError::Title),
            (&"t".repeat(201), "a", CatalogueError::Title),
            ("t", "", CatalogueError::Source),
            ("t", "a\nb", CatalogueError::Source),
            ("t", &"s".repeat(501), CatalogueError::Source),
        ] {
            let document = ListedDocument {
                title: title.to_owned(),
                source: source.to_owned(),
                ..document("", "x")
            };
            assert_eq!(none.check_room(&document), Err(error));
        }
        let mut named = Catalogue::default();
        for n in 0..65 {
            named = with(named, &format!("{n:0>499}"), &n.to_string());
        }
        assert_eq!(
            named.check_room(&document(&"n".repeat(300), "x")),
            Err(CatalogueError::NamesTooLong)
        );
    }
}
