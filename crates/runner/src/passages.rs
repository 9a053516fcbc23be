//! Which parts of an agent's sources speak to a payload: BM25 over paragraphs.

use bm25::{Document, Language, SearchEngineBuilder};
use domain::{Passage, Payload, Source};
use serde_json::Value;

/// Passages handed to the model, or given as the answer.
const MOST: usize = 3;
/// A passage grows paragraph by paragraph up to about this many bytes.
const PASSAGE_BYTES: usize = 800;

/// The best passages for a question, best first.
pub(crate) fn best(sources: &[Source], question: &str) -> Vec<Passage> {
    let passages: Vec<Passage> = sources.iter().flat_map(split).collect();
    if passages.is_empty() || question.trim().is_empty() {
        return Vec::new();
    }
    let documents = passages
        .iter()
        .enumerate()
        .map(|(index, passage)| Document::new(index, format!("{}\n{}", passage.title, passage.text)));
    let engine = SearchEngineBuilder::<usize>::with_documents(Language::English, documents).build();
    let found = engine.search(question, MOST);
    found.into_iter().filter_map(|hit| passages.get(hit.document.id).cloned()).collect()
}

/// What a payload asks: the text of all its strings, or the value itself.
pub(crate) fn question(payload: &Payload) -> String {
    let mut words = String::new();
    if let Ok(value) = serde_json::from_str(payload.as_json()) {
        collect(&value, &mut words);
    }
    words
}

fn collect(value: &Value, words: &mut String) {
    match value {
        Value::String(text) => {
            words.push_str(text);
            words.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Paragraphs, joined while they are short; a Markdown heading starts a new passage.
fn split(source: &Source) -> Vec<Passage> {
    let mut texts: Vec<String> = Vec::new();
    for paragraph in source.text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()) {
        match texts.last_mut() {
            Some(last) if !paragraph.starts_with('#') && last.len() + paragraph.len() < PASSAGE_BYTES => {
                last.push_str("\n\n");
                last.push_str(paragraph);
            }
            _ => texts.push(paragraph.to_owned()),
        }
    }
    let passage = |text| Passage { title: source.title.clone(), text, source: source.title.clone() };
    texts.into_iter().map(passage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(title: &str, text: &str) -> Source {
        Source { title: title.into(), text: text.into() }
    }

    #[test]
    fn the_passage_that_speaks_to_the_question_comes_first() {
        let sources = [
            source("Shipping", "Orders ship within two days.\n\n# Abroad\n\nCustoms may add a week."),
            source("Returns", "Goods can be returned within 30 days."),
        ];
        let payload = Payload::from_json(br#"{"n":1,"q":"How do I return goods?"}"#).unwrap();
        let found = best(&sources, &question(&payload));
        assert_eq!(found[0].title, "Returns");
        assert_eq!(found[0].text, "Goods can be returned within 30 days.");
    }

    #[test]
    fn nothing_is_found_where_nothing_speaks_to_the_question() {
        assert_eq!(best(&[source("Returns", "Within 30 days.")], "zebra"), []);
        assert_eq!(best(&[], "anything"), []);
        assert_eq!(best(&[source("Returns", "Within 30 days.")], " "), []);
    }

    #[test]
    fn headings_begin_passages() {
        let texts: Vec<String> =
            split(&source("Doc", "a\n\nb\n\n# c\n\nd")).into_iter().map(|p| p.text).collect();
        assert_eq!(texts, ["a\n\nb", "# c\n\nd"]);
    }
}
