//! The documents of one agent, as its record lists them.
//!
//! What a document says lies elsewhere, under a name that is never used twice. The
//! record is written before and after: a content is announced, then written, then
//! listed; it is unlisted, then deleted, then forgotten. So whatever dies on the
//! way, nothing is listed that is not there, and nothing is there that the record
//! does not name.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::Moment;

/// Most documents of one agent.
const MAX_DOCUMENTS: usize = 200;
/// Most text of all documents of one agent: with its index half as much again is
/// in memory while it runs.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of a title.
const MAX_TITLE_BYTES: usize = 200;
/// Most bytes of a source's name.
const MAX_SOURCE_BYTES: usize = 500;
/// Most bytes of all titles and names, which share an item with the agent.
const MAX_NAMES_BYTES: usize = 32 * 1024;
/// Longer than any upload takes: what was announced before and is not listed
/// belongs to nobody.
const UPLOAD_TIME: Duration = Duration::from_secs(15 * 60);

/// The documents of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    #[serde(default)]
    documents: Vec<Listed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leftovers: Vec<Leftover>,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What answers call it.
    pub title: String,
    /// Where it comes from: a URL or a file name. An agent has one document of a name.
    pub source: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its text.
    pub text_bytes: u64,
    /// Pieces that it was cut into.
    pub passages: u32,
    /// When it was uploaded, in milliseconds since 1970.
    pub created_at: u64,
    /// Where its content lies.
    pub content: Content,
}

/// Where the content of a document lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// A name that is never used twice.
    pub name: String,
    /// In how many parts.
    pub parts: u32,
}

/// A content that may lie there and that no document has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leftover {
    content: Content,
    /// When it was announced, if it was not listed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced_at: Option<u64>,
}

/// Why an agent does not get a document, in words for its owner.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The title is too long.
    #[error("`title` must have 1 to 200 bytes")]
    Title,
    /// The name is too long.
    #[error("`source` must have 1 to 500 bytes without control characters")]
    Source,
    /// There are too many.
    #[error("The agent has 200 documents, the most there can be; delete some, or put several into one file")]
    TooManyDocuments,
    /// They say too much.
    #[error(
        "The agent's documents would hold more than 16777216 bytes of text; delete some, or spread them over several agents"
    )]
    TooMuchText,
    /// Their names and titles are too long together.
    #[error(
        "The names and titles of the agent's documents would take more than 32768 bytes; give shorter ones"
    )]
    NamesTooLong,
    /// It took so long that its content may be gone.
    #[error("The upload took too long; try again")]
    TooLate,
}

impl Listed {
    /// Under which it is managed: the same for the same source.
    pub fn id(&self) -> String {
        Sha256::digest(&self.source).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Catalogue {
    /// Whether the agent never had any, or has none and leaves nothing behind.
    pub const fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.leftovers.is_empty()
    }

    /// The documents, in the order in which they were first uploaded.
    pub fn documents(&self) -> &[Listed] {
        &self.documents
    }

    /// The document of this id.
    pub fn find(&self, id: &str) -> Option<&Listed> {
        self.documents.iter().find(|document| document.id() == id)
    }

    /// Before a content is written.
    #[must_use]
    pub fn announced(mut self, content: Content, now: Moment) -> Self {
        self.leftovers.push(Leftover { content, announced_at: Some(now.millis()) });
        self
    }

    /// Whether there is room for a document, in place of the one of the same name.
    pub fn check_room(&self, document: &Listed) -> Result<(), CatalogueError> {
        if !(1..=MAX_TITLE_BYTES).contains(&document.title.len()) {
            return Err(CatalogueError::Title);
        }
        let is_plain = !document.source.chars().any(char::is_control);
        if !(1..=MAX_SOURCE_BYTES).contains(&document.source.len()) || !is_plain {
            return Err(CatalogueError::Source);
        }
        let others = || self.documents.iter().filter(|other| other.source != document.source);
        let all = || others().chain([document]);
        if others().count() >= MAX_DOCUMENTS {
            return Err(CatalogueError::TooManyDocuments);
        }
        if all().map(|document| document.text_bytes).sum::<u64>() > MAX_TEXT_BYTES {
            return Err(CatalogueError::TooMuchText);
        }
        let names: usize = all().map(|document| document.title.len() + document.source.len()).sum();
        if names > MAX_NAMES_BYTES { Err(CatalogueError::NamesTooLong) } else { Ok(()) }
    }

    /// With a document whose content is written. The one of the same name gives
    /// it its place.
    pub fn with(mut self, document: Listed) -> Result<Self, CatalogueError> {
        self.check_room(&document)?;
        let announced = self.leftovers.iter().position(|leftover| leftover.content == document.content);
        self.leftovers.remove(announced.ok_or(CatalogueError::TooLate)?);
        match self.documents.iter_mut().find(|other| other.source == document.source) {
            Some(place) => {
                let replaced = std::mem::replace(place, document);
                self.leftovers.push(Leftover { content: replaced.content, announced_at: None });
            }
            None => self.documents.push(document),
        }
        Ok(self)
    }

    /// Without the document of this id, if there is one.
    #[must_use]
    pub fn without(mut self, id: &str) -> Self {
        let (gone, kept) = self.documents.into_iter().partition(|document| document.id() == id);
        self.documents = kept;
        self.leave(gone);
        self
    }

    /// Without documents, for an agent that is to be deleted: what was announced
    /// will never be listed.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        let gone = std::mem::take(&mut self.documents);
        self.leave(gone);
        for leftover in &mut self.leftovers {
            leftover.announced_at = None;
        }
        self
    }

    fn leave(&mut self, gone: Vec<Listed>) {
        self.leftovers.extend(
            gone.into_iter().map(|document| Leftover { content: document.content, announced_at: None }),
        );
    }

    /// What can be deleted.
    pub fn deletable(&self, now: Moment) -> Vec<Content> {
        let is_left = |leftover: &&Leftover| match leftover.announced_at {
            None => true,
            Some(at) => now.since(Moment::from_millis(at)) > UPLOAD_TIME,
        };
        self.leftovers.iter().filter(is_left).map(|leftover| leftover.content.clone()).collect()
    }

    /// Once these are deleted.
    #[must_use]
    pub fn forgotten(mut self, deleted: &[Content]) -> Self {
        self.leftovers.retain(|leftover| !deleted.contains(&leftover.content));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1_767_225_600_000);

    fn content(name: &str) -> Content {
        Content { name: name.to_owned(), parts: 2 }
    }

    fn document(source: &str, name: &str) -> Listed {
        Listed {
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
        catalogue.announced(content(name), NOW).with(document(source, name)).unwrap()
    }

    #[test]
    fn a_document_of_the_same_name_takes_the_place_of_the_earlier_one_and_its_id() {
        let first = with(with(Catalogue::default(), "a.md", "1"), "b.md", "2");
        let id = first.documents()[0].id();
        let second = with(first, "a.md", "3");
        let contents: Vec<&str> = second.documents().iter().map(|d| d.content.name.as_str()).collect();
        assert_eq!(contents, ["3", "2"]);
        assert_eq!(second.find(&id).unwrap().content.name, "3");
        assert_eq!(second.deletable(NOW), [content("1")]);
        assert_eq!(second.clone().forgotten(&[content("1")]).deletable(NOW), []);
    }

    #[test]
    fn whatever_dies_on_the_way_every_content_is_listed_or_left_over() {
        let announced = Catalogue::default().announced(content("1"), NOW);
        assert!(!announced.is_empty());
        assert_eq!(announced.deletable(NOW), [], "it may be under way");
        assert_eq!(announced.deletable(NOW.plus(UPLOAD_TIME + Duration::from_millis(1))), [content("1")]);
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
        let late = Catalogue::default().announced(content("1"), NOW).forgotten(&[content("1")]);
        assert_eq!(late.with(document("a", "1")), Err(CatalogueError::TooLate));
    }

    #[test]
    fn every_limit_says_what_to_do_and_replacing_needs_no_room() {
        let mut full = Catalogue::default();
        for n in 0..MAX_DOCUMENTS {
            full = with(full, &format!("{n}.md"), &n.to_string());
        }
        assert_eq!(full.check_room(&document("other", "x")), Err(CatalogueError::TooManyDocuments));
        assert_eq!(full.check_room(&document("7.md", "x")), Ok(()));
        let large = Listed { text_bytes: MAX_TEXT_BYTES - 10, ..document("large", "l") };
        let large = Catalogue::default().announced(content("l"), NOW).with(large).unwrap();
        assert_eq!(large.check_room(&document("small", "s")), Ok(()));
        let one_more = Listed { text_bytes: 11, ..document("small", "s") };
        assert_eq!(large.check_room(&one_more), Err(CatalogueError::TooMuchText));
        let none = Catalogue::default();
        for (title, source, error) in [
            ("", "a", CatalogueError::Title),
            (&"t".repeat(201), "a", CatalogueError::Title),
            ("t", "", CatalogueError::Source),
            ("t", "a\nb", CatalogueError::Source),
            ("t", &"s".repeat(501), CatalogueError::Source),
        ] {
            let document = Listed { title: title.to_owned(), source: source.to_owned(), ..document("", "x") };
            assert_eq!(none.check_room(&document), Err(error));
        }
        let mut named = Catalogue::default();
        for n in 0..65 {
            named = with(named, &format!("{n:0>499}"), &n.to_string());
        }
        assert_eq!(named.check_room(&document(&"n".repeat(300), "x")), Err(CatalogueError::NamesTooLong));
    }
}
