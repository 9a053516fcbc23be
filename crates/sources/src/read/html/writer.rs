//! Writes Markdown for the tags and the characters of a page.

use crate::read::DocumentText;
use crate::read::table::push_delimiter;

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
    "tbody",
    "thead",
    "ul",
    "caption",
];
/// Bytes. A longer cell is part of a page's layout, and stays in paragraphs.
const LONGEST_CELL: usize = 200;

#[derive(Default)]
pub(super) struct MarkdownWriter {
    text: String,
    title: Option<String>,
    is_title_complete: bool,
    state: State,
}

/// What the next tag depends on.
#[derive(Clone, Default)]
struct State {
    /// Within `pre`, white space is significant.
    verbatim: bool,
    /// The tables that we are in.
    tables: usize,
    row: Row,
}

/// The current row of the outermost table.
#[derive(Clone, Default)]
struct Row {
    /// Rows before this one.
    before: usize,
    header_cells: usize,
    data_cells: usize,
    /// Where the open cell starts.
    cell: Option<usize>,
}

/// A place to which the output can be rewound.
pub(super) struct Mark {
    length: usize,
    state: State,
}

impl MarkdownWriter {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            length: self.text.len(),
            state: self.state.clone(),
        }
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        self.text.truncate(mark.length);
        self.state = mark.state;
    }

    pub(super) fn title(&mut self, text: &str) {
        if !self.is_title_complete {
            self.title.get_or_insert_default().push_str(text);
        }
    }

    pub(super) const fn end_title(&mut self) {
        self.is_title_complete = self.title.is_some();
    }

    pub(super) fn characters(&mut self, text: &str) {
        if self.state.verbatim {
            self.text.push_str(text);
        } else {
            self.flow(text);
        }
    }

    /// Collapses white space to one space, and drops it at the start of a line.
    fn flow(&mut self, text: &str) {
        for (index, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            if index > 0 {
                self.space();
            }
            self.text.push_str(word);
        }
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    pub(super) fn tag(&mut self, name: &str, opens: bool) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(name, opens),
            "table" => self.table(opens),
            "tr" => self.row(opens),
            "td" | "th" => self.cell(name, opens),
            "pre" if opens != self.state.verbatim => self.fence(opens),
            _ if self.is_in_cell() && (BLOCKS.contains(&name) || ["br", "li"].contains(&name)) => {
                self.space();
            }
            "br" => self.text.push('\n'),
            "li" if opens => self.start("\n", "- "),
            // Between the rows of a table.
            "tbody" | "thead" if self.state.tables > 0 => self.start("\n", ""),
            _ if BLOCKS.contains(&name) => self.start("\n\n", ""),
            _ => {}
        }
    }

    /// Whether the output is in a short cell of a table without other tables in it.
    fn is_in_cell(&self) -> bool {
        let cell = self.state.row.cell.filter(|_| self.state.tables == 1);
        cell.is_some_and(|start| self.text.len().saturating_sub(start) < LONGEST_CELL)
    }

    fn table(&mut self, opens: bool) {
        self.start("\n\n", "");
        self.state.tables = if opens {
            self.state.tables + 1
        } else {
            self.state.tables.saturating_sub(1)
        };
        if self.state.tables <= 1 {
            self.state.row = Row::default();
        }
        // A table in a cell: the outer one is not data.
        if self.state.tables > 1 {
            self.state.row.before = 1;
        }
    }

    fn row(&mut self, opens: bool) {
        let row = &self.state.row;
        let (headers, cells) = (row.header_cells, row.header_cells + row.data_cells);
        let is_header = row.before == 0 && cells > 1 && (headers == 0 || headers == cells);
        self.start("\n", "");
        if cells > 0 && self.state.tables == 1 {
            if is_header {
                push_delimiter(&mut self.text, cells);
            }
            self.state.row.before += 1;
        }
        self.state.row = Row {
            before: self.state.row.before,
            ..Row::default()
        };
        if opens {
            self.start("\n", "");
        }
    }

    fn cell(&mut self, name: &str, opens: bool) {
        if !opens {
            self.state.row.cell = None;
            return;
        }
        let is_first = self.text.is_empty() || self.text.ends_with('\n');
        let cells = self.state.row.header_cells + self.state.row.data_cells;
        if !is_first || cells > 0 && self.state.tables == 1 {
            let written = self.text.trim_end_matches(' ').len();
            self.text.truncate(written);
            self.text.push_str(" | ");
        }
        match name {
            "th" => self.state.row.header_cells += 1,
            _ => self.state.row.data_cells += 1,
        }
        self.state.row.cell = Some(self.text.len());
    }

    fn heading(&mut self, name: &str, opens: bool) {
        let level = name
            .bytes()
            .last()
            .map_or(1, |digit| usize::from(digit.saturating_sub(b'0')));
        let mark = if opens {
            "######".get(..level).unwrap_or("#")
        } else {
            ""
        };
        self.start("\n\n", mark);
        if opens {
            self.text.push(' ');
        }
    }

    fn fence(&mut self, opens: bool) {
        self.start(
            if opens { "\n\n" } else { "\n" },
            if opens { "```\n" } else { "```\n\n" },
        );
        self.state.verbatim = opens;
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

    pub(super) fn finish(mut self) -> DocumentText {
        if self.state.tables == 1 {
            self.row(false);
        }
        let title = self
            .title
            .map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        DocumentText {
            title: title.filter(|title| !title.is_empty()),
            text: self.text.trim().to_owned(),
        }
    }
}
