//! The text of the main part of a Word document.

use std::collections::HashMap;

use super::xml::{Node, StartTag, read_xml};
use super::{level_of_name, outline_level};
use crate::read::table::TableWriter;
use crate::read::{MAX_TEXT_BYTES, ReadError};

/// Deleted and moved text, and copies of text boxes for old programs.
const SKIPPED: [&str; 5] = ["del", "moveFrom", "Fallback", "pPrChange", "rPrChange"];
const MAX_LEVEL: usize = 6;

pub(super) struct BodyReader<'a> {
    styles: &'a HashMap<String, usize>,
    text: String,
    /// The open paragraphs: one, and those of text boxes in it.
    paragraphs: Vec<Paragraph>,
    tables: Vec<OpenTable>,
    /// How deep we are in skipped elements.
    skipped: usize,
    /// Whether we are in the text of a run.
    in_text: bool,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    level: Option<usize>,
    is_list_item: bool,
}

struct OpenTable {
    writer: TableWriter,
    text: String,
    row: Vec<String>,
    cell: String,
}

impl<'a> BodyReader<'a> {
    pub(super) fn read(xml: &str, styles: &'a HashMap<String, usize>) -> Result<String, ReadError> {
        let mut body = Self {
            styles,
            text: String::new(),
            paragraphs: Vec::new(),
            tables: Vec::new(),
            skipped: 0,
            in_text: false,
        };
        read_xml(xml, |node| body.visit(node))?;
        while !body.tables.is_empty() {
            body.end_table();
        }
        Ok(body.text.trim().to_owned())
    }

    fn visit(&mut self, node: Node<'_>) -> Result<(), ReadError> {
        match node {
            Node::Start(tag) if self.skipped > 0 || SKIPPED.contains(&&*tag.name) => {
                self.skipped += usize::from(!tag.is_empty);
            }
            Node::End(_) if self.skipped > 0 => self.skipped -= 1,
            Node::Start(tag) => self.start(&tag),
            Node::End(name) => self.end(name),
            Node::Text(text) if self.in_text && self.skipped == 0 => self.push(&text),
            Node::Text(_) => {}
        }
        if self.text.len() > MAX_TEXT_BYTES {
            return Err(ReadError::TooMuchText);
        }
        Ok(())
    }

    fn push(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    fn start(&mut self, tag: &StartTag<'_>) {
        match &*tag.name {
            "p" if !tag.is_empty => self.paragraphs.push(Paragraph::default()),
            "t" => self.in_text = !tag.is_empty,
            "tab" | "ptab" => self.push("\t"),
            "br" | "cr" => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            "tbl" if !tag.is_empty => self.tables.push(OpenTable {
                writer: TableWriter::new(),
                text: String::new(),
                row: Vec::new(),
                cell: String::new(),
            }),
            "pStyle" | "outlineLvl" | "numPr" => self.property(tag),
            _ => {}
        }
    }

    fn property(&mut self, tag: &StartTag<'_>) {
        let Some(paragraph) = self.paragraphs.last_mut() else {
            return;
        };
        let value = tag.attribute("val").unwrap_or_default();
        match &*tag.name {
            "pStyle" => {
                let level = self.styles.get(&value).copied();
                paragraph.level = paragraph.level.or(level).or_else(|| level_of_name(&value));
            }
            "outlineLvl" => paragraph.level = paragraph.level.or_else(|| outline_level(&value)),
            _ => paragraph.is_list_item = true,
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.end_paragraph(&paragraph);
                }
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    table.row.push(std::mem::take(&mut table.cell));
                }
            }
            "tr" => {
                if let Some(table) = self.tables.last_mut() {
                    let row = std::mem::take(&mut table.row);
                    table.writer.push_row(&mut table.text, &row);
                }
            }
            "tbl" => self.end_table(),
            _ => {}
        }
    }

    fn end_paragraph(&mut self, paragraph: &Paragraph) {
        let text = paragraph.text.trim();
        if text.is_empty() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            table.cell.push_str(text);
            table.cell.push(' ');
            return;
        }
        // Without empty lines, the items of a list are one block.
        let is_next_item = paragraph.is_list_item && self.text.ends_with('\n');
        self.text.push_str(if is_next_item { "" } else { "\n\n" });
        match paragraph.level {
            Some(level) => {
                let marks = "######".get(..level.clamp(1, MAX_LEVEL)).unwrap_or("#");
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                self.text.extend([marks, " ", &line]);
            }
            None if paragraph.is_list_item => self.text.extend(["- ", text, "\n"]),
            None => self.text.push_str(text),
        }
    }

    /// A table in a cell is part of the cell.
    fn end_table(&mut self) {
        let Some(mut table) = self.tables.pop() else {
            return;
        };
        if !table.row.is_empty() {
            table.writer.push_row(&mut table.text, &table.row);
        }
        table.writer.finish(&mut table.text);
        match self.tables.last_mut() {
            Some(outer) => outer.cell.push_str(&table.text.replace('\n', " ; ")),
            None => self.text.extend(["\n\n", &table.text]),
        }
    }
}
