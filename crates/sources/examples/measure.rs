//! Measures the speed of reading, indexing, loading and searching with a corpus of HTML pages, and
//! the quality of search results against the corpus's own index.
//!
//! ```sh
//! apt-get download postgresql-doc-15 && dpkg-deb -x postgresql-doc-15_*.deb /tmp/pg
//! cargo run --release -p sources --example measure -- /tmp/pg/usr/share/doc/postgresql-doc-15/html
//! ```
//!
//! Pages are joined to documents of about 80 KB of text, because an agent has at most 200
//! documents. If there is a page `bookindex.html`, as in DocBook's HTML, each of its entries is a
//! query, and the pages that it links to are the correct results. This page is not searched.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a command-line tool, which may panic"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sources::{Document, DocumentFormat, DocumentText, IndexedDocument, Library};

const DOCUMENT_BYTES: usize = 80_000;
const BOOK_INDEX: &str = "bookindex.html";
/// As in the tool `search_sources`.
const LIMIT: usize = 5;

struct Page {
    name: String,
    reading: DocumentText,
}

fn main() {
    let folders: Vec<PathBuf> = std::env::args().skip(1).map(Into::into).collect();
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| html_files(folder))
        .collect();
    files.sort();
    let started = Instant::now();
    let pages: Vec<Page> = files.iter().filter_map(|file| read_page(file)).collect();
    let text: usize = pages.iter().map(|page| page.reading.text.len()).sum();
    println!(
        "read: {} pages, {text} bytes of text, {:?}",
        pages.len(),
        started.elapsed()
    );

    let questions: Vec<String> = pages
        .iter()
        .filter_map(|page| page.reading.title.clone())
        .collect();
    speed(&joined(&pages), &questions);
    for file in files.iter().filter(|file| file.ends_with(BOOK_INDEX)) {
        let entries = entries(&std::fs::read_to_string(file).expect("the index is readable"));
        quality(&pages, &entries);
    }
}

fn html_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of HTML pages");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let of_path = |path: PathBuf| match path.is_dir() {
        true => html_files(&path),
        false if path.extension().is_some_and(|ending| ending == "html") => vec![path],
        false => Vec::new(),
    };
    paths.flat_map(of_path).collect()
}

fn read_page(file: &Path) -> Option<Page> {
    let name = file.file_name()?.to_str()?.to_owned();
    let reading =
        sources::read_document(&std::fs::read(file).ok()?, DocumentFormat::Html, None).ok()?;
    (name != BOOK_INDEX).then_some(Page { name, reading })
}

fn joined(pages: &[Page]) -> Vec<(String, String)> {
    let mut documents: Vec<(String, String)> = Vec::new();
    for Page { name, reading } in pages {
        match documents.last_mut() {
            Some((_, text)) if text.len() + reading.text.len() < DOCUMENT_BYTES => {
                text.push_str("\n\n");
                text.push_str(&reading.text);
            }
            _ => documents.push((name.clone(), reading.text.clone())),
        }
    }
    documents
}

fn speed(documents: &[(String, String)], questions: &[String]) {
    let (started, mut passages, mut raw) = (Instant::now(), 0, 0);
    let stored: Vec<Vec<u8>> = documents
        .iter()
        .map(|(title, text)| {
            let document = Document::new(title, text).expect("a text is indexed");
            let bytes = document.to_bytes(title);
            passages += document.passages();
            raw += bytes.len();
            deflated(&bytes)
        })
        .collect();
    let packed: usize = stored.iter().map(Vec::len).sum();
    println!(
        "index: {} documents, {passages} passages, {:?}; {raw} bytes, packed {packed}",
        documents.len(),
        started.elapsed()
    );

    let (before, started) = (resident(), Instant::now());
    let library = library(documents.iter().zip(&stored).map(|((title, _), bytes)| {
        let document = Document::from_bytes(inflated(bytes)).expect("what was written");
        (title.clone(), document)
    }));
    let took = started.elapsed();
    println!(
        "cold load: {took:?}; {} bytes by its own count, {} KB more resident",
        library.bytes(),
        resident() - before
    );

    let mut times: Vec<Duration> = questions
        .iter()
        .map(|question| time_of(&library, question))
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).or(times.last());
    println!(
        "search: {} questions, p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(99),
        times.last()
    );
    let long: String = documents
        .iter()
        .map(|(_, text)| text.as_str())
        .take(20)
        .collect();
    println!(
        "search for {} bytes of text: {:?}",
        long.len(),
        time_of(&library, &long)
    );
}

fn time_of(library: &Library, question: &str) -> Duration {
    let started = Instant::now();
    library
        .search(question, LIMIT)
        .expect("a library is searched");
    started.elapsed()
}

fn quality(pages: &[Page], entries: &[(String, BTreeSet<String>)]) {
    let library = library(pages.iter().map(|page| {
        let title = page.reading.title.as_deref().unwrap_or(&page.name);
        (
            page.name.clone(),
            Document::new(title, &page.reading.text).expect("a text is indexed"),
        )
    }));
    let mut found = [0_u32; 3];
    for (question, right) in entries {
        let passages = library.search(question, 10).expect("a library is searched");
        let rank = passages
            .iter()
            .position(|passage| right.contains(&passage.source));
        for (count, within) in found.iter_mut().zip([1, 3, 10]) {
            *count += u32::from(rank.is_some_and(|rank| rank < within));
        }
    }
    let [first, third, tenth] = found.map(|count| 100.0 * f64::from(count) / entries.len() as f64);
    println!(
        "quality: {} queries from the book's index; a correct page is first for {first:.1} %, among 3 passages for {third:.1} %, among 10 for {tenth:.1} %",
        entries.len()
    );
}

fn library(documents: impl Iterator<Item = (String, Document)>) -> Library {
    let indexed = |(source, document): (String, Document)| IndexedDocument {
        title: source.clone(),
        source,
        document: Arc::new(document),
    };
    Library::new(documents.map(indexed).collect()).expect("documents are opened")
}

/// The entries of an index in DocBook's HTML: a term with its broader terms, and the pages that it
/// links to.
fn entries(index: &str) -> Vec<(String, BTreeSet<String>)> {
    let (mut entries, mut above) = (Vec::new(), Vec::<String>::new());
    for piece in index.split("<dt").skip(1) {
        let Some((_, rest)) = piece.split_once('>') else {
            continue;
        };
        let term = plain(rest.split(['<', ',']).next().unwrap_or_default());
        let question = above
            .iter()
            .map(String::as_str)
            .chain([term.as_str()])
            .collect::<Vec<_>>()
            .join(" ");
        let pages: BTreeSet<String> = rest.split("href=\"").skip(1).filter_map(page_of).collect();
        if !term.is_empty() && !pages.is_empty() {
            entries.push((question, pages));
        }
        if rest.contains("<dl>") {
            above.push(term);
        }
        for _ in 0..rest.matches("</dl>").count() {
            above.pop();
        }
    }
    entries
}

fn page_of(link: &str) -> Option<String> {
    let page = link.split(['#', '"']).next()?;
    page.ends_with(".html").then(|| page.to_owned())
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        .trim()
        .to_owned()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory takes everything")
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    DeflateDecoder::new(bytes)
        .read_to_end(&mut content)
        .expect("what was deflated");
    content
}

/// The resident memory of this process, in kilobytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
