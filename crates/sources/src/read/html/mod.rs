//! Converts HTML and XHTML to Markdown, as far as it is useful for searching and reading: headings,
//! lists, tables, paragraphs and code.
//!
//! The page is processed token by token and never as a tree. So time and memory are proportional to
//! its size, and any nesting depth is possible.

mod writer;

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::DocumentText;
use writer::MarkdownWriter;

/// Elements whose content is not text for readers.
const SKIPPED: [&str; 7] = [
    "template", "svg", "math", "nav", "noscript", "object", "select",
];
/// The content of a page. An element of [`SKIPPED`] around it was not closed.
const CONTENT: [&str; 2] = ["main", "article"];
/// Elements whose content is read up to their end tag, and no tags in it.
const RAW: [(&str, RawKind); 8] = [
    ("script", RawKind::ScriptData),
    ("style", RawKind::Rawtext),
    ("iframe", RawKind::Rawtext),
    ("noembed", RawKind::Rawtext),
    ("noframes", RawKind::Rawtext),
    ("xmp", RawKind::Rawtext),
    ("title", RawKind::Rcdata),
    ("textarea", RawKind::Rcdata),
];
/// In this many bytes, a page shows that it is XHTML.
const XHTML_SEARCH_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Html,
    /// As XML: any element can be closed by its own tag (`<div/>`), and CDATA sections are text.
    Xhtml,
}

impl Syntax {
    /// XHTML has an XML declaration or the namespace of XHTML.
    pub(super) fn of(page: &str) -> Self {
        let start: String = page.chars().take(XHTML_SEARCH_BYTES).collect();
        let is_xml = start
            .trim_start_matches('\u{feff}')
            .trim_start()
            .starts_with("<?xml");
        if is_xml || start.contains("http://www.w3.org/1999/xhtml") {
            Self::Xhtml
        } else {
            Self::Html
        }
    }
}

/// The page's text and its title.
pub(super) fn html_to_text(page: &str, syntax: Syntax) -> DocumentText {
    let sink = PageSink {
        reader: RefCell::new(PageReader {
            syntax,
            end_tags: count_end_tags(page),
            writer: MarkdownWriter::default(),
            raw: None,
            skipped: None,
        }),
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(page));
    // Every script is skipped, so the tokenizer never stops before the end.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.reader.into_inner().writer.finish()
}

/// How many end tags the page has for each element of [`RAW`].
fn count_end_tags(page: &str) -> [usize; RAW.len()] {
    let mut counts = [0; RAW.len()];
    for (at, _) in page.match_indices("</") {
        let rest = page.as_bytes().get(at + 2..).unwrap_or_default();
        for (count, (name, _)) in counts.iter_mut().zip(RAW) {
            let is_name = rest
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
            let ends = rest
                .get(name.len())
                .is_none_or(|byte| !byte.is_ascii_alphanumeric());
            *count += usize::from(is_name && ends);
        }
    }
    counts
}

struct PageSink {
    reader: RefCell<PageReader>,
}

struct PageReader {
    syntax: Syntax,
    /// The end tags of each element of [`RAW`] that are still to come.
    end_tags: [usize; RAW.len()],
    writer: MarkdownWriter,
    /// The element of [`RAW`] that we are in.
    raw: Option<&'static str>,
    /// The skipped element that we are in.
    skipped: Option<SkippedElement>,
}

struct SkippedElement {
    name: String,
    depth: usize,
    /// The output before the element. At its end, everything after that is dropped. An element that
    /// is never closed stays, because it contains the rest of the page.
    before: writer::Mark,
}

impl TokenSink for PageSink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reader = self.reader.borrow_mut();
        match token {
            Token::CharacterTokens(text) => reader.characters(&text),
            Token::TagToken(tag) => {
                if let Some(kind) = reader.tag(&tag) {
                    return TokenSinkResult::RawData(kind);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }

    /// Whether CDATA sections are text.
    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.reader.borrow().syntax == Syntax::Xhtml
    }
}

impl PageReader {
    fn characters(&mut self, text: &str) {
        match self.raw {
            None | Some("xmp" | "textarea") => self.writer.characters(text),
            // If there are several titles, such as those of pictures, the first is the page's.
            Some("title") if self.skipped.is_none() => self.writer.title(text),
            Some(_) => {}
        }
    }

    /// Returns how the tokenizer must read the content of this element, if not as HTML.
    fn tag(&mut self, tag: &Tag) -> Option<RawKind> {
        let (name, opens) = (&*tag.name, tag.kind == TagKind::StartTag);
        // `<svg/>` is valid, and in XHTML so is `<div/>`. No author means the rest of the page to be
        // a script, so `<script/>` is empty, too.
        let is_empty = opens && tag.self_closing;
        if let Some(at) = RAW.iter().position(|(raw, _)| *raw == name) {
            return self.raw_tag(at, opens, is_empty);
        }
        if is_empty && (self.syntax == Syntax::Xhtml || SKIPPED.contains(&name)) {
            // `<p/>` and `<td/>` separate what is before them from what is behind them.
            if !SKIPPED.contains(&name) && name != "pre" {
                self.writer.tag(name, true);
                if name != "br" && name != "hr" {
                    self.writer.tag(name, false);
                }
            }
            return None;
        }
        if !self.skips(name, opens) {
            self.writer.tag(name, opens);
        }
        None
    }

    fn raw_tag(&mut self, at: usize, opens: bool, is_empty: bool) -> Option<RawKind> {
        let (name, kind) = *RAW.get(at)?;
        let end_tags = self.end_tags.get_mut(at)?;
        if !opens {
            *end_tags = end_tags.saturating_sub(1);
            if name == "title" && self.raw == Some(name) && self.skipped.is_none() {
                self.writer.end_title();
            }
            self.raw = None;
            return None;
        }
        // An element that is never closed would swallow the rest of the page.
        if is_empty || *end_tags == 0 {
            return None;
        }
        self.raw = Some(name);
        Some(kind)
    }

    /// Whether this tag starts or ends a skipped element.
    fn skips(&mut self, name: &str, opens: bool) -> bool {
        let Some(skipped) = &mut self.skipped else {
            if opens && SKIPPED.contains(&name) {
                self.skipped = Some(SkippedElement {
                    name: name.to_owned(),
                    depth: 1,
                    before: self.writer.mark(),
                });
            }
            return SKIPPED.contains(&name);
        };
        let is_content = opens && CONTENT.contains(&name);
        if skipped.name != name && !is_content {
            return SKIPPED.contains(&name);
        }
        skipped.depth = match (is_content, opens) {
            (true, _) => 0,
            (false, true) => skipped.depth + 1,
            (false, false) => skipped.depth - 1,
        };
        if skipped.depth == 0
            && let Some(skipped) = self.skipped.take()
        {
            self.writer.rewind(skipped.before);
        }
        !is_content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_converted_to_markdown_with_its_title() {
        let page =
            "<!doctype html><html><head><title>Returns &amp;\n refunds</title><style>p{}</style></head>
            <body><nav><a>Home</a></nav><h1>Returns</h1><p>Goods can be <b>returned</b>
            within&nbsp;30 days.<p>Ask us.<ul><li>One<li>Two</ul><script>let x = '<p>no</p>';</script>
            <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
            <pre>let  y;\n\n  z</pre>End";
        let document = html_to_text(page, Syntax::of(page));
        assert_eq!(document.title.as_deref(), Some("Returns & refunds"));
        assert_eq!(
            document.text,
            "# Returns\n\nGoods can be returned within\u{a0}30 days.\n\nAsk us.\n\n- One\n- Two\n\na | b\n--- | ---\n1 | 2\n\n```\nlet  y;\n\n  z\n```\n\nEnd"
        );
    }

    #[test]
    fn any_nesting_depth_is_possible_and_the_text_is_not_longer_than_the_page() {
        for unit in [
            "<div>",
            "<b><p>",
            "<table><tr><td>",
            "<nav>",
            "<svg><title>",
            "<pre>",
            "<",
            "&",
            "<!--",
        ] {
            let document = html_to_text(&unit.repeat(200_000), Syntax::Html);
            assert!(document.text.len() <= 2 * unit.len() * 200_000, "{unit}");
        }
    }

    #[test]
    fn an_element_that_is_not_closed_does_not_swallow_the_rest_of_the_page() {
        for start in [
            "<svg/>",
            "<a href='/'><svg class='icon' viewBox='0 0 1 1'/></a>",
            "<svg><path d=''/><svg/></svg>",
            "<math/>",
            "<object/>",
            "<nav/>",
            "<script/>",
            "<script src='a.js' />",
            "<script src=a.js>",
            "<style/>",
            "<style>",
            "<title/>",
            "<title>",
            "<textarea/>",
            "<iframe src='x'/>",
            "<iframe src='x'>",
            "<noframes>",
            "<object data='x'>",
            "<noscript>",
            "<select><option>",
            "<template>",
            "<svg><title>a</title>",
            "<nav><nav></nav>",
            "<nav><a>Home</a><main>",
            "<script>let x = 1;</script><script/>",
        ] {
            for end in ["", "<nav>Menu</nav><script>no()</script><title>no</title>"] {
                let page = format!("<h1>Help</h1>{start}<p>Refunds are paid.</p><p>Soon.{end}");
                let text = html_to_text(&page, Syntax::Html).text;
                let swallows_by_its_end_tag =
                    !end.is_empty() && ["<script src=a.js>", "<title>"].contains(&start);
                assert!(
                    text.contains("Refunds are paid.\n\nSoon.") || swallows_by_its_end_tag,
                    "{start} {end}: {text}"
                );
                assert!(!text.contains("no()"), "{start}: {text}");
            }
        }
    }

    #[test]
    fn the_content_of_a_page_within_navigation_is_read() {
        let page = "<nav><a>Home</a><main><p>Refunds are paid.</main></nav><p>End";
        assert_eq!(
            html_to_text(page, Syntax::Html).text,
            "Refunds are paid.\n\nEnd"
        );
    }

    #[test]
    fn xhtml_is_read_as_xml() {
        let page = "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head>
            <title>Help</title><script src='a.js'/><style/></head><body><div/><pre/><p>Refunds
            <![CDATA[are <paid>]]> within<br/>days.</p></body></html>";
        let document = html_to_text(page, Syntax::of(page));
        assert_eq!(document.title.as_deref(), Some("Help"));
        assert_eq!(document.text, "Refunds are <paid> within\ndays.");
    }

    #[test]
    fn a_table_has_one_line_per_row_and_a_line_under_its_header() {
        let page = "<table><thead><tr><th><p>Name</p></th><th>Price<br>in EUR</th></tr></thead>
            <tbody><tr><td><div>A1</div></td><td><ul><li>4.90</ul></td></tr>
            <tr><td>B2<td></tr></table>";
        assert_eq!(
            html_to_text(page, Syntax::Html).text,
            "Name | Price in EUR\n--- | ---\nA1 | 4.90\nB2 |"
        );
        let records =
            "<table><tr><th>Name</th><td>A1</td></tr><tr><th>Price</th><td>4</td></table>";
        assert_eq!(
            html_to_text(records, Syntax::Html).text,
            "Name | A1\nPrice | 4"
        );
    }
}
