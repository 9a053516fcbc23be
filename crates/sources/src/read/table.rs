//! Tables as Markdown: a line per row, and under the header a line by which passages repeat it.

/// Bytes. Rows under a longer header are written as records, with the name of each value.
const LONGEST_HEADER: usize = 400;
const BETWEEN: &str = " | ";

/// `--- | ---`
pub(super) fn push_delimiter(text: &mut String, cells: usize) {
    for cell in 0..cells {
        text.push_str(if cell == 0 { "---" } else { " | ---" });
    }
    text.push('\n');
}

/// Writes rows, of which the first is the header.
pub(super) struct TableWriter {
    header: Vec<String>,
    is_wide: bool,
    rows: usize,
}

impl TableWriter {
    pub(super) const fn new() -> Self {
        Self {
            header: Vec::new(),
            is_wide: false,
            rows: 0,
        }
    }

    pub(super) fn push_row(&mut self, text: &mut String, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        if cells.iter().all(String::is_empty) {
            return;
        }
        self.rows += 1;
        let line = cells.join(BETWEEN);
        if self.rows == 1 {
            self.is_wide = line.len() > LONGEST_HEADER;
            if !self.is_wide {
                text.push_str(line.trim_end());
                text.push('\n');
                if cells.len() > 1 {
                    push_delimiter(text, cells.len());
                }
            }
            self.header = cells;
        } else if self.is_wide {
            self.push_record(text, &cells);
        } else {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }

    fn push_record(&self, text: &mut String, cells: &[String]) {
        let names = self.header.iter().map(String::as_str);
        for (name, cell) in names.chain(std::iter::repeat("")).zip(cells) {
            match (name, cell.as_str()) {
                (_, "") => continue,
                ("", cell) => text.push_str(cell),
                (name, cell) => text.extend([name, ": ", cell]),
            }
            text.push('\n');
        }
        text.push('\n');
    }

    /// A table of one row has no rows below its header.
    pub(super) fn finish(self, text: &mut String) {
        if self.is_wide && self.rows == 1 {
            text.push_str(&self.header.join(BETWEEN));
            text.push('\n');
        }
    }
}

/// A cell in one line.
fn one_line(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}
