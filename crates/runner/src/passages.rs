//! Which parts of an agent's sources speak to a payload: BM25 over paragraphs.

use std::borrow::Cow;
use std::collections::HashSet;

use bm25::{Document, Language, SearchEngineBuilder};
use domain::{ErrorType, Fault, Passage, Source};

/// Passages handed to the model, or given as the answer.
const MOST: usize = 3;
/// Of the best passage's score; weaker ones speak of something else.
const WORTH_TELLING: f32 = 0.5;
/// A passage grows paragraph by paragraph up to about this many bytes.
const PASSAGE_BYTES: usize = 800;
/// Scoring compares every word of a question with every word of the sources: a
/// payload of megabytes would hold up all runs of its process for a minute.
const QUESTION_BYTES: usize = 8 * 1024;

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
    let found = engine.search(&bounded(question), MOST);
    let enough = found.first().map_or(0.0, |best| best.score * WORTH_TELLING);
    let worth_telling = found.into_iter().filter(|hit| hit.score >= enough);
    worth_telling.filter_map(|hit| passages.get(hit.document.id).cloned()).collect()
}

/// The answer of an agent without a model: its best passages, word for word.
pub(crate) fn as_answer(passages: &[Passage]) -> Result<String, Fault> {
    if passages.is_empty() {
        return Err(Fault::permanent(
            ErrorType::EmptyAnswer,
            "No passage of the agent's sources speaks to this payload; add sources or give the agent a model",
        ));
    }
    let passages: Vec<String> =
        passages.iter().map(|passage| format!("{}\n— {}", passage.text, passage.title)).collect();
    Ok(passages.join("\n\n"))
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

/// Paragraphs, joined while they are short; a Markdown heading starts a new
/// passage, and a fenced block is never cut.
fn split(source: &Source) -> Vec<Passage> {
    let mut texts: Vec<String> = Vec::new();
    for paragraph in paragraphs(&source.text) {
        match texts.last_mut() {
            Some(last) if !paragraph.starts_with('#') && last.len() + paragraph.len() < PASSAGE_BYTES => {
                last.push_str("\n\n");
                last.push_str(&paragraph);
            }
            _ => texts.push(paragraph),
        }
    }
    let passage = |text| Passage { title: source.title.clone(), text, source: source.title.clone() };
    texts.into_iter().map(passage).collect()
}

/// Runs of lines between blank lines.
fn paragraphs(text: &str) -> Vec<String> {
    let (mut paragraphs, mut paragraph, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines().map(str::trim_end).chain([""]) {
        fenced ^= line.trim_start().starts_with("```");
        if line.is_empty() && !fenced {
            if !paragraph.is_empty() {
                paragraphs.push(std::mem::take(&mut paragraph));
            }
            continue;
        }
        if !paragraph.is_empty() {
            paragraph.push('\n');
        }
        paragraph.push_str(line);
    }
    paragraphs.extend((!paragraph.is_empty()).then_some(paragraph));
    paragraphs
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
        let found = best(&sources, "How do I return goods?");
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
    fn a_long_question_is_heard_to_its_end_and_costs_no_more_than_a_short_one() {
        let long = format!("{} zebra", "lorem ipsum ".repeat(100_000));
        assert_eq!(bounded(&long), "lorem ipsum zebra ");
        let words: String = (0..400_000).map(|n| format!("w{n} ")).collect();
        assert!(bounded(&words).len() <= QUESTION_BYTES);
        assert!(bounded(&"x".repeat(100_000)).is_empty());

        let text = "a sentence about many things\n\n".repeat(8000);
        let sources = [source("Things", &text), source("Zoo", "The zebra is fed at noon.")];
        assert_eq!(best(&sources, &long)[0].title, "Zoo");
        assert!(best(&sources, &words).is_empty());
    }

    #[test]
    fn headings_begin_passages() {
        let texts: Vec<String> =
            split(&source("Doc", "a\n\nb\n\n# c\n\nd")).into_iter().map(|p| p.text).collect();
        assert_eq!(texts, ["a\n\nb", "# c\n\nd"]);
    }

    #[test]
    fn a_fenced_block_is_kept_whole() {
        let text = "Try:\n\n```sh\n  a\n\n# b\n```\n\nc";
        assert_eq!(paragraphs(text), ["Try:", "```sh\n  a\n\n# b\n```", "c"]);
    }
}
