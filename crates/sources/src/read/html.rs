//! HTML as Markdown, as far as searching and reading need it: headings, lists,
//! paragraphs and code.
//!
//! Read token by token and never as a tree, so that time and memory grow with the
//! page and no nesting is too deep.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::Reading;

/// What is between these tags is no text for readers.
const UNREAD: [&str; 12] = [
    "script", "style", "template", "svg", "math", "nav", "noscript", "iframe", "object", "select", "noembed",
    "noframes",
];
/// These begin and end a paragraph.
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
pub(super) fn read(page: &str) -> Reading {
    let tokenizer = Tokenizer::new(Page::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(page));
    // Every script is skipped, so the tokenizer never stops before the end.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.written.into_inner().finish()
}

#[derive(Default)]
struct Page {
    written: RefCell<Written>,
}

#[derive(Default)]
struct Written {
    text: String,
    title: Option<String>,
    in_title: bool,
    /// Within `pre`: white space counts.
    verbatim: bool,
    /// The unread element that we are in, and how many of its kind.
    unread: Option<(String, usize)>,
}

impl TokenSink for Page {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut written = self.written.borrow_mut();
        match token {
            Token::CharacterTokens(text) => written.characters(&text),
            Token::TagToken(tag) => {
                let raw = raw_kind(&tag);
                written.tag(&tag);
                if let Some(kind) = raw {
                    return TokenSinkResult::RawData(kind);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// How the tokenizer goes on after a tag (HTML standard, section 13.2.6.4).
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

impl Written {
    fn characters(&mut self, text: &str) {
        if self.in_title {
            self.title.get_or_insert_default().push_str(text);
        } else if self.unread.is_none() && self.verbatim {
            self.text.push_str(text);
        } else if self.unread.is_none() {
            self.flow(text);
        }
    }

    /// Runs of white space become one space, and none at a line's beginning.
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
            // Of several titles, such as those of pictures, the first is the page's.
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

    /// Whether this tag is within an element that is not read, or begins one.
    fn skips(&mut self, name: &str, opens: bool) -> bool {
        match &mut self.unread {
            Some((unread, depth)) if unread == name => {
                *depth = if opens { *depth + 1 } else { *depth - 1 };
                if *depth == 0 {
                    self.unread = None;
                }
                true
            }
            Some(_) => true,
            None if opens && UNREAD.contains(&name) => {
                self.unread = Some((name.to_owned(), 1));
                true
            }
            None => false,
        }
    }

    fn heading(&mut self, name: &str, opens: bool) {
        let level = name.bytes().last().map_or(1, |digit| usize::from(digit.saturating_sub(b'0')));
        self.start("\n\n", if opens { "######".get(..level).unwrap_or("#") } else { "" });
        if opens {
            self.text.push(' ');
        }
    }

    fn fence(&mut self, opens: bool) {
        self.start(if opens { "\n\n" } else { "\n" }, if opens { "```\n" } else { "```\n\n" });
        self.verbatim = opens;
    }

    /// Ends what came before, unless nothing did since the last end.
    fn start(&mut self, end: &str, mark: &str) {
        let written = self.text.trim_end_matches(' ').len();
        self.text.truncate(written);
        while !self.text.is_empty() && !self.text.ends_with(end) {
            self.text.push('\n');
        }
        self.text.push_str(mark);
    }

    fn finish(self) -> Reading {
        let title = self.title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        Reading { title: title.filter(|title| !title.is_empty()), text: self.text.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_markdown_and_keeps_its_title() {
        let page =
            "<!doctype html><html><head><title>Returns &amp;\n refunds</title><style>p{}</style></head>
            <body><nav><a>Home</a></nav><h1>Returns</h1><p>Goods can be <b>returned</b>
            within&nbsp;30 days.<p>Ask us.<ul><li>One<li>Two</ul><script>let x = '<p>no</p>';</script>
            <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
            <pre>let  y;\n\n  z</pre>End";
        let read = read(page);
        assert_eq!(read.title.as_deref(), Some("Returns & refunds"));
        assert_eq!(
            read.text,
            "# Returns\n\nGoods can be returned within\u{a0}30 days.\n\nAsk us.\n\n- One\n- Two\n\na | b\n1 | 2\n\n```\nlet  y;\n\n  z\n```\n\nEnd"
        );
    }

    #[test]
    fn no_page_is_too_deep_and_none_takes_more_than_its_length() {
        for unit in ["<div>", "<b><p>", "<table><tr><td>", "<nav>", "<svg><title>", "<pre>", "<", "&", "<!--"]
        {
            let read = read(&unit.repeat(200_000));
            assert!(read.text.len() <= 2 * unit.len() * 200_000, "{unit}");
        }
    }
}
