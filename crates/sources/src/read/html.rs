//! Converts HTML to Markdown, as far as it is useful for searching and reading: headings, lists,
//! paragraphs and code.
//!
//! The page is processed token by token and never as a tree. So time and memory are proportional to
//! its size, and any nesting depth is possible.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::DocumentText;

/// Elements whose content is not text for readers.
const SKIPPED: [&str; 12] = [
    "script", "style", "template", "svg", "math", "nav", "noscript", "iframe", "object", "select",
    "noembed", "noframes",
];
/// Elements that start and end a paragraph.
const BLOCKS: [&str; 26] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "main",
    "ol",
    "p",
    "section",
    "summary",
    "table",
    "tbody",
    "ul",
    "caption",
];

/// The page's text and its title.
pub(super) fn html_to_text(page: &str) -> DocumentText {
    let tokenizer = Tokenizer::new(PageSink::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(page));
    // Every script is skipped, so the tokenizer never stops before the end.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.writer.into_inner().finish()
}

#[derive(Default)]
struct PageSink {
    writer: RefCell<MarkdownWriter>,
}

#[derive(Default)]
struct MarkdownWriter {
    text: String,
    title: Option<String>,
    in_title: bool,
    /// Within `pre`, white space is significant.
    verbatim: bool,
    /// The skipped element that we are in, and its nesting depth.
    skipped: Option<(String, usize)>,
}

impl TokenSink for PageSink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.writer.borrow_mut();
        match token {
            Token::CharacterTokens(text) => writer.characters(&text),
            Token::TagToken(tag) => {
                let raw = raw_kind(&tag);
                writer.tag(&tag);
                if let Some(kind) = raw {
                    return TokenSinkResult::RawData(kind);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// The state of the tokenizer after a tag (HTML standard, section 13.2.6.4).
fn raw_kind(tag: &Tag) -> Option<RawKind> {
    if tag.kind == TagKind::EndTag {
        return None;
    }
    match &*tag.name {
        "script" => Some(RawKind::ScriptData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(RawKind::Rawtext),
        "title" | "textarea" => Some(RawKind::Rcdata),
        _ => None,
    }
}

impl MarkdownWriter {
    fn characters(&mut self, text: &str) {
        if self.in_title {
            self.title.get_or_insert_default().push_str(text);
        } else if self.skipped.is_none() && self.verbatim {
            self.text.push_str(text);
        } else if self.skipped.is_none() {
            self.flow(text);
        }
    }

    /// Collapses white space to one space, and drops it at the start of a line.
    fn flow(&mut self, text: &str) {
        for (index, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            if index > 0 && !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let (name, opens) = (&*tag.name, tag.kind == TagKind::StartTag);
        if self.skips(name, opens) {
            return;
        }
        match name {
            // If there are several titles, such as those of pictures, the first is the page's.
            "title" => self.in_title = opens && self.title.is_none(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(name, opens),
            "pre" if opens != self.verbatim => self.fence(opens),
            "br" => self.text.push('\n'),
            "li" if opens => self.start("\n", "- "),
            "tr" => self.start("\n", ""),
            "td" | "th" if opens && !self.text.ends_with('\n') => self.text.push_str(" | "),
            _ if BLOCKS.contains(&name) => self.start("\n\n", ""),
            _ => {}
        }
    }

    /// Whether this tag is within a skipped element, or starts one.
    fn skips(&mut self, name: &str, opens: bool) -> bool {
        match &mut self.skipped {
            Some((skipped, depth)) if skipped == name => {
                *depth = if opens { *depth + 1 } else { *depth - 1 };
                if *depth == 0 {
                    self.skipped = None;
                }
                true
            }
            Some(_) => true,
            None if opens && SKIPPED.contains(&name) => {
                self.skipped = Some((name.to_owned(), 1));
                true
            }
            None => false,
        }
    }

    fn heading(&mut self, name: &str, opens: bool) {
        let level = name
            .bytes()
            .last()
            .map_or(1, |digit| usize::from(digit.saturating_sub(b'0')));
        self.start(
            "\n\n",
            if opens {
                "######".get(..level).unwrap_or("#")
            } else {
                ""
            },
        );
        if opens {
            self.text.push(' ');
        }
    }

    fn fence(&mut self, opens: bool) {
        self.start(
            if opens { "\n\n" } else { "\n" },
            if opens { "```\n" } else { "```\n\n" },
        );
        self.verbatim = opens;
    }

    /// Ends the previous block, unless it is empty, and starts one with `mark`.
    fn start(&mut self, end: &str, mark: &str) {
        let written = self.text.trim_end_matches(' ').len();
        self.text.truncate(written);
        while !self.text.is_empty() && !self.text.ends_with(end) {
            self.text.push('\n');
        }
        self.text.push_str(mark);
    }

    fn finish(self) -> DocumentText {
        let title = self
            .title
            .map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        DocumentText {
            title: title.filter(|title| !title.is_empty()),
            text: self.text.trim().to_owned(),
        }
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
        let document = html_to_text(page);
        assert_eq!(document.title.as_deref(), Some("Returns & refunds"));
        assert_eq!(
            document.text,
            "# Returns\n\nGoods can be returned within\u{a0}30 days.\n\nAsk us.\n\n- One\n- Two\n\na | b\n1 | 2\n\n```\nlet  y;\n\n  z\n```\n\nEnd"
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
            let document = html_to_text(&unit.repeat(200_000));
            assert!(document.text.len() <= 2 * unit.len() * 200_000, "{unit}");
        }
    }
}
