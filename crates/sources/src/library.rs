//! The documents of one agent, searched together.

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

/// Passages handed to the model unasked, or given as the answer.
const MOST: usize = 3;
/// Of the best passage's score; weaker ones speak of something else.
const WORTH_TELLING: f32 = 0.5;
/// A search looks up each word of its question once a document; a payload of
/// megabytes would hold up other runs.
const QUESTION_BYTES: usize = 8 * 1024;

/// A document, and what answers call it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its title.
    pub title: String,
    /// Where it comes from: a URL or a file name.
    pub source: String,
    /// Its passages and their index.
    pub document: Arc<Document>,
}

impl Volume {
    fn passage(&self, number: usize) -> Option<Passage> {
        let Document { passages, titles, .. } = self.document.as_ref();
        let text = passages.get(number)?.clone();
        let (title, source) = match titles.as_ref().and_then(|titles| titles.get(number)) {
            Some(title) => (title, title),
            None => (&self.title, &self.source),
        };
        Some(Passage { title: title.clone(), text, source: source.clone() })
    }
}

/// Documents that are searched together.
pub struct Library {
    volumes: Vec<Volume>,
    searcher: Searcher,
    /// Which volume each segment of the searcher is.
    volume_of: Vec<usize>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("volumes", &self.volumes.len()).finish_non_exhaustive()
    }
}

impl Library {
    /// Puts them side by side. What is in them was indexed before.
    pub fn new(volumes: Vec<Volume>) -> Result<Self, IndexError> {
        let searcher = index::open(volumes.iter().map(|volume| &volume.document.segment))?;
        let volume_of = searcher.segment_readers().iter().map(|reader| {
            let id = reader.segment_id().uuid_string();
            volumes.iter().position(|volume| volume.document.segment.meta.id == id).unwrap_or(usize::MAX)
        });
        let volume_of = volume_of.collect();
        Ok(Self { volumes, searcher, volume_of })
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.volumes.iter().map(|volume| volume.document.bytes()).sum()
    }

    /// The passages that speak to a question, best first: those that are given
    /// to a model unasked.
    pub fn best(&self, question: &str) -> Result<Vec<Passage>, IndexError> {
        let found = self.scored(question, MOST)?;
        let enough = found.first().map_or(0.0, |(best, _)| best * WORTH_TELLING);
        Ok(found.into_iter().filter(|(score, _)| *score >= enough).map(|(_, passage)| passage).collect())
    }

    /// Up to `limit` passages that share a word with the question, best first.
    pub fn search(&self, question: &str, limit: usize) -> Result<Vec<Passage>, IndexError> {
        Ok(self.scored(question, limit)?.into_iter().map(|(_, passage)| passage).collect())
    }

    fn scored(&self, question: &str, limit: usize) -> Result<Vec<(f32, Passage)>, IndexError> {
        let words = words(&bounded(question));
        if words.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let field = index::text_field();
        let query = words.iter().map(|word| {
            let term = Term::from_field_text(field, word);
            Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
        });
        let query = BooleanQuery::union(query.collect());
        let found = self.searcher.search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        let passage = |(score, at): (f32, tantivy::DocAddress)| {
            let volume = self.volumes.get(*self.volume_of.get(at.segment_ord as usize)?)?;
            Some((score, volume.passage(at.doc_id as usize)?))
        };
        Ok(found.into_iter().filter_map(passage).collect())
    }
}

/// The words of a question as the index knows them, each once.
fn words(question: &str) -> BTreeSet<String> {
    let (mut analyzer, mut words) = (index::analyzer(), BTreeSet::new());
    let mut stream = analyzer.token_stream(question);
    while let Some(word) = stream.next() {
        words.insert(word.text.clone());
    }
    words
}

/// A question as it is, or of a long one its words, each once, as many as there is
/// room for.
fn bounded(question: &str) -> Cow<'_, str> {
    if question.len() <= QUESTION_BYTES {
        return question.into();
    }
    let (mut seen, mut words) = (HashSet::new(), String::new());
    for word in question.split_whitespace() {
        if words.len() + word.len() < QUESTION_BYTES && seen.insert(word) {
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
        let volume = |(title, text): &(&str, &str)| Volume {
            title: (*title).to_owned(),
            source: format!("{title}.md"),
            document: Arc::new(Document::new(title, text).unwrap()),
        };
        Library::new(documents.iter().map(volume).collect()).unwrap()
    }

    #[test]
    fn the_passage_that_speaks_to_the_question_comes_first() {
        let library = library(&[
            ("Shipping", "Orders ship within two days.\n\n# Abroad\n\nCustoms may add a week."),
            ("Returns", "Goods can be returned within 30 days."),
        ]);
        let found = library.best("How do I return goods?").unwrap();
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
    fn texts_of_a_definition_are_called_by_their_own_titles() {
        let text = |title: &str, text: &str| domain::Source { title: title.into(), text: text.into() };
        let texts = [text("Shipping", "Two days."), text("Empty", ""), text("Returns", "Within 30 days.")];
        let document = Arc::new(Document::of_texts(&texts).unwrap());
        let library = Library::new(vec![Volume { title: "-".into(), source: "-".into(), document }]).unwrap();
        let found = &library.best("returns").unwrap()[0];
        assert_eq!((found.title.as_str(), found.source.as_str()), ("Returns", "Returns"));
    }

    #[test]
    fn a_question_in_a_script_without_spaces_finds_its_passage() {
        let library = library(&[("政策", "购买后三十天内可以退货。"), ("时间", "商店上午九点开门。")]);
        assert_eq!(library.best("可以退货吗").unwrap()[0].title, "政策");
        assert_eq!(library.best("几点开门").unwrap()[0].title, "时间");
    }

    #[test]
    fn nothing_is_found_where_nothing_speaks_to_the_question() {
        let returns = library(&[("Returns", "Within 30 days.")]);
        for question in ["zebra", " ", "the of and", ""] {
            assert_eq!(returns.best(question).unwrap(), [], "{question:?}");
        }
        assert_eq!(library(&[]).best("anything").unwrap(), []);
        assert_eq!(returns.search("days", 0).unwrap(), []);
    }

    #[test]
    fn a_long_question_is_heard_to_its_end_and_costs_no_more_than_a_short_one() {
        let long = format!("{} zebra", "lorem ipsum ".repeat(100_000));
        assert_eq!(bounded(&long), "lorem ipsum zebra ");
        let words: String = (0..400_000).map(|n| format!("w{n} ")).collect();
        assert!(bounded(&words).len() <= QUESTION_BYTES);
        assert!(bounded(&"x".repeat(100_000)).is_empty());

        let text = "a sentence about many things\n\n".repeat(8000);
        let library = library(&[("Things", &text), ("Zoo", "The zebra is fed at noon.")]);
        assert_eq!(library.best(&long).unwrap()[0].title, "Zoo");
        assert!(library.best(&words).unwrap().is_empty());
    }

    #[test]
    fn a_document_is_searched_after_it_was_bytes_as_before() {
        let text = "# Zoo\n\nThe zebra is fed at noon.\n\n# Shop\n\nIt opens at nine.";
        let bytes = Document::new("Zoo", text).unwrap().to_bytes("Zoo");
        // An index of another form is made anew, and so is one that was damaged.
        let other_form = String::from_utf8_lossy(&bytes).replacen("tantivy-7", "tantivy-6", 1).into_bytes();
        let shorter = bytes[..bytes.len() - 1].to_vec();
        let mut changed = bytes.clone();
        changed[bytes.len() - 300] ^= 1;
        for bytes in [bytes, other_form, shorter, changed] {
            let document = Document::from_bytes(bytes).unwrap();
            let volume = Volume { title: "Z".into(), source: "z".into(), document: Arc::new(document) };
            let found = Library::new(vec![volume]).unwrap().best("When is the zebra fed?").unwrap();
            assert_eq!(found[0].text, "# Zoo\n\nThe zebra is fed at noon.");
        }
    }

    #[test]
    fn bytes_that_are_no_document_are_refused() {
        for bytes in [&b""[..], b"{}\n", b"x\n\n", b"no line"] {
            assert!(Document::from_bytes(bytes.to_vec()).is_err());
        }
    }
}
