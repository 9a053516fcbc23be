//! Searches the documents of one agent together.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use domain::Passage;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{Searcher, Term};

use crate::Document;
use crate::document::IndexError;
use crate::index;
use crate::normalize::searchable;

/// Passages that the model gets with the prompt, or that are the answer without a model.
const MAX_BEST_PASSAGES: usize = 3;
/// Relative to the best passage's score. Passages with a lower score are usually off topic.
const MIN_RELATIVE_SCORE: f32 = 0.5;
/// A search looks up each word of its query once per document. A payload of megabytes would delay
/// other runs.
const MAX_QUERY_BYTES: usize = 8 * 1024;

/// A document with the title and the source that answers cite.
#[derive(Clone, Debug)]
pub struct IndexedDocument {
    pub title: String,
    /// A URL or a file name.
    pub source: String,
    pub document: Arc<Document>,
}

impl IndexedDocument {
    fn passage(&self, number: usize) -> Option<Passage> {
        let Document {
            passages, titles, ..
        } = self.document.as_ref();
        let text = passages.get(number)?.clone();
        let (title, source) = match titles.as_ref().and_then(|titles| titles.get(number)) {
            Some(title) => (title, title),
            None => (&self.title, &self.source),
        };
        Some(Passage {
            title: title.clone(),
            text,
            source: source.clone(),
        })
    }
}

/// The documents of one agent.
pub struct Library {
    documents: Vec<IndexedDocument>,
    searcher: Searcher,
    /// The index of the document of each segment of the searcher.
    document_of_segment: Vec<usize>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("documents", &self.documents.len())
            .finish_non_exhaustive()
    }
}

impl Library {
    /// Combines the indexes of the documents.
    pub fn new(documents: Vec<IndexedDocument>) -> Result<Self, IndexError> {
        let searcher = index::open(documents.iter().map(|indexed| &indexed.document.segment))?;
        let document_of_segment = searcher.segment_readers().iter().map(|reader| {
            let id = reader.segment_id().uuid_string();
            documents
                .iter()
                .position(|indexed| indexed.document.segment.meta.id == id)
                .unwrap_or(usize::MAX)
        });
        let document_of_segment = document_of_segment.collect();
        Ok(Self {
            documents,
            searcher,
            document_of_segment,
        })
    }

    /// The approximate size in memory.
    pub fn bytes(&self) -> usize {
        self.documents
            .iter()
            .map(|indexed| indexed.document.bytes())
            .sum()
    }

    /// The passages that match a query well, best first. The model gets them with the prompt.
    pub fn best_passages(&self, query: &str) -> Result<Vec<Passage>, IndexError> {
        let found = self.search_scored(query, MAX_BEST_PASSAGES)?;
        let min_score = found
            .first()
            .map_or(0.0, |(best, _)| best * MIN_RELATIVE_SCORE);
        Ok(found
            .into_iter()
            .filter(|(score, _)| *score >= min_score)
            .map(|(_, passage)| passage)
            .collect())
    }

    /// Up to `limit` passages that share a word with the query, best first.
    pub fn search(&self, query: &str, limit: usize) -> Result<Vec<Passage>, IndexError> {
        Ok(self
            .search_scored(query, limit)?
            .into_iter()
            .map(|(_, passage)| passage)
            .collect())
    }

    fn search_scored(&self, query: &str, limit: usize) -> Result<Vec<(f32, Passage)>, IndexError> {
        let words = words(&bounded(query));
        if words.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let field = index::text_field();
        let query = words.iter().map(|word| {
            let term = Term::from_field_text(field, word);
            Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
        });
        let query = BooleanQuery::union(query.collect());
        let found = self
            .searcher
            .search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        let passage = |(score, at): (f32, tantivy::DocAddress)| {
            let indexed = self
                .documents
                .get(*self.document_of_segment.get(at.segment_ord as usize)?)?;
            Some((score, indexed.passage(at.doc_id as usize)?))
        };
        Ok(found.into_iter().filter_map(passage).collect())
    }
}

/// The unique words of a query, as in the index.
fn words(query: &str) -> BTreeSet<String> {
    let (mut analyzer, mut words) = (index::analyzer(), BTreeSet::new());
    let query = searchable(query);
    let mut stream = analyzer.token_stream(&query);
    while let Some(word) = stream.next() {
        words.insert(word.text.clone());
    }
    words
}

/// The query itself or, if it is long, as many of its unique words as fit in [`MAX_QUERY_BYTES`].
fn bounded(query: &str) -> Cow<'_, str> {
    if query.len() <= MAX_QUERY_BYTES {
        return query.into();
    }
    let (mut seen, mut words) = (HashSet::new(), String::new());
    for word in query.split_whitespace() {
        if words.len() + word.len() < MAX_QUERY_BYTES && seen.insert(word) {
            words.push_str(word);
            words.push(' ');
        }
    }
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(documents: &[(&str, &str)]) -> Library {
        let indexed = |(title, text): &(&str, &str)| IndexedDocument {
            title: (*title).to_owned(),
            source: format!("{title}.md"),
            document: Arc::new(Document::new(title, text).unwrap()),
        };
        Library::new(documents.iter().map(indexed).collect()).unwrap()
    }

    #[test]
    fn the_best_match_comes_first() {
        let library = library(&[
            (
                "Shipping",
                "Orders ship within two days.\n\n# Abroad\n\nCustoms may add a week.",
            ),
            ("Returns", "Goods can be returned within 30 days."),
        ]);
        let found = library.best_passages("How do I return goods?").unwrap();
        let returns = Passage {
            title: "Returns".into(),
            text: "Goods can be returned within 30 days.".into(),
            source: "Returns.md".into(),
        };
        assert_eq!(found, [returns]);
        assert_eq!(library.search("customs abroad days", 10).unwrap().len(), 3);
        assert_eq!(library.search("customs abroad days", 2).unwrap().len(), 2);
    }

    #[test]
    fn passages_of_a_definition_have_the_titles_of_their_texts() {
        let text = |title: &str, text: &str| domain::Source {
            title: title.into(),
            text: text.into(),
        };
        let texts = [
            text("Shipping", "Two days."),
            text("Empty", ""),
            text("Returns", "Within 30 days."),
        ];
        let document = Arc::new(Document::from_texts(&texts).unwrap());
        let library = Library::new(vec![IndexedDocument {
            title: "-".into(),
            source: "-".into(),
            document,
        }])
        .unwrap();
        let found = &library.best_passages("returns").unwrap()[0];
        assert_eq!(
            (found.title.as_str(), found.source.as_str()),
            ("Returns", "Returns")
        );
    }

    #[test]
    fn a_query_in_a_script_without_spaces_matches() {
        let library = library(&[
            ("政策", "购买后三十天内可以退货。"),
            ("时间", "商店上午九点开门。"),
        ]);
        assert_eq!(
            library.best_passages("可以退货吗").unwrap()[0].title,
            "政策"
        );
        assert_eq!(library.best_passages("几点开门").unwrap()[0].title, "时间");
    }

    #[test]
    fn no_passage_is_returned_if_none_matches() {
        let returns = library(&[("Returns", "Within 30 days.")]);
        for question in ["zebra", " ", "the of and", ""] {
            assert_eq!(returns.best_passages(question).unwrap(), [], "{question:?}");
        }
        assert_eq!(library(&[]).best_passages("anything").unwrap(), []);
        assert_eq!(returns.search("days", 0).unwrap(), []);
    }

    #[test]
    fn a_long_query_is_used_to_its_end_and_has_a_bounded_cost() {
        let long = format!("{} zebra", "lorem ipsum ".repeat(100_000));
        assert_eq!(bounded(&long), "lorem ipsum zebra ");
        let words: String = (0..400_000).map(|n| format!("w{n} ")).collect();
        assert!(bounded(&words).len() <= MAX_QUERY_BYTES);
        assert!(bounded(&"x".repeat(100_000)).is_empty());

        let text = "a sentence about many things\n\n".repeat(8000);
        let library = library(&[("Things", &text), ("Zoo", "The zebra is fed at noon.")]);
        assert_eq!(library.best_passages(&long).unwrap()[0].title, "Zoo");
        assert!(library.best_passages(&words).unwrap().is_empty());
    }

    #[test]
    fn a_stored_document_is_searchable() {
        let text = "# Zoo\n\nThe zebra is fed at noon.\n\n# Shop\n\nIt opens at nine.";
        let bytes = Document::new("Zoo", text).unwrap().to_bytes("Zoo");
        // An index of another format is rebuilt.
        let other_format = String::from_utf8_lossy(&bytes[8..])
            .replacen("tantivy-7", "tantivy-6", 1)
            .into_bytes();
        let other_format = [
            format!("{:08x}", crc32fast::hash(&other_format)).as_bytes(),
            &other_format,
        ]
        .concat();
        for bytes in [bytes, other_format] {
            let document = Document::from_bytes(bytes).unwrap();
            let indexed = IndexedDocument {
                title: "Z".into(),
                source: "z".into(),
                document: Arc::new(document),
            };
            let found = Library::new(vec![indexed])
                .unwrap()
                .best_passages("When is the zebra fed?")
                .unwrap();
            assert_eq!(found[0].text, "# Zoo\n\nThe zebra is fed at noon.");
        }
    }

    #[test]
    fn corrupt_documents_are_refused() {
        let bytes = Document::new("Zoo", "The zebra is fed at noon.")
            .unwrap()
            .to_bytes("Zoo");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Document::from_bytes(changed).is_err(), "{at}");
            assert!(Document::from_bytes(bytes[..at].to_vec()).is_err(), "{at}");
        }
        assert!(Document::from_bytes(bytes).is_ok());
    }
}
