//! docs/contributing/benchmarks.md: prose by hand, with the measured sections between markers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

/// A file with places for sections.
pub(crate) struct Report(PathBuf);

/// What one measurement has to say.
pub(crate) struct Section {
    /// Names its place: `<!-- bench:NAME -->` to `<!-- /bench:NAME -->`.
    pub(crate) name: &'static str,
    /// Markdown.
    pub(crate) text: String,
}

/// A Markdown table.
pub(crate) struct Table {
    columns: usize,
    text: String,
}

impl Report {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Replaces a section, and prints it.
    pub(crate) fn put(&self, section: &Section) -> Result<(), Failure> {
        println!("{}", section.text.trim());
        let whole = replaced(&fs::read_to_string(&self.0)?, section)?;
        Ok(fs::write(&self.0, whole)?)
    }
}

fn replaced(whole: &str, Section { name, text }: &Section) -> Result<String, Failure> {
    let (begin, end) = (
        format!("<!-- bench:{name} -->"),
        format!("<!-- /bench:{name} -->"),
    );
    let missing =
        || format!("the report has no section {name}: it wants the lines {begin} and {end}");
    let (before, rest) = whole.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", text.trim()))
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let mut table = Self {
            columns: heads.len(),
            text: String::new(),
        };
        table.row(heads);
        table.row(&vec!["---"; heads.len()]);
        table
    }

    /// A row with a cell for each column; cells left out are empty.
    pub(crate) fn row(&mut self, cells: &[impl AsRef<str>]) {
        for column in 0..self.columns {
            let cell = cells.get(column).map_or("", AsRef::as_ref);
            // Writing to a string does not fail.
            let _ = write!(self.text, "| {cell} ");
        }
        self.text.push_str("|\n");
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_text_around_it_is_not() {
        let whole = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        let section = |name| Section {
            name,
            text: "new\n".to_owned(),
        };
        assert_eq!(
            replaced(whole, &section("x")).unwrap(),
            "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n"
        );
        assert!(replaced(whole, &section("y")).is_err());
    }
}
