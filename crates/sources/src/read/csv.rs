//! Converts CSV and TSV to a Markdown table.

use super::table::TableWriter;
use super::{DocumentText, MAX_TEXT_BYTES, ReadError};

/// Excel writes a semicolon where the comma is the decimal separator.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines in which the separator is searched.
const SEARCH_LINES: usize = 10;

pub(super) fn csv_to_text(text: &str) -> Result<DocumentText, ReadError> {
    // The first line that Excel understands.
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let named = line.trim_end().strip_prefix("sep=").and_then(|separator| {
        let [byte] = separator.as_bytes() else {
            return None;
        };
        Some(*byte)
    });
    match named {
        Some(separator) => rows_to_text(rest, separator),
        None => rows_to_text(text, separator_of(text)),
    }
}

pub(super) fn tsv_to_text(text: &str) -> Result<DocumentText, ReadError> {
    rows_to_text(text, b'\t')
}

/// The separator that splits the first lines into the same number of cells, and most of them.
fn separator_of(text: &str) -> u8 {
    let cells = |separator: u8| {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let counts = lines
            .take(SEARCH_LINES)
            .map(|line| count_unquoted(line, separator));
        counts.min().unwrap_or_default()
    };
    let best = SEPARATORS
        .into_iter()
        .rev()
        .max_by_key(|separator| cells(*separator));
    best.filter(|separator| cells(*separator) > 0)
        .unwrap_or_else(|| {
            let header = text.lines().next().unwrap_or_default();
            let by_header = SEPARATORS.into_iter().rev();
            by_header
                .max_by_key(|separator| count_unquoted(header, *separator))
                .unwrap_or(b',')
        })
}

fn count_unquoted(line: &str, separator: u8) -> usize {
    let mut is_quoted = false;
    line.bytes()
        .filter(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && *byte == separator
        })
        .count()
}

fn rows_to_text(rows: &str, separator: u8) -> Result<DocumentText, ReadError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(rows.as_bytes());
    let (mut text, mut table) = (String::new(), TableWriter::new());
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(ReadError::Syntax("CSV".to_owned(), error.to_string())),
        }
        let cells: Vec<String> = record.iter().map(str::to_owned).collect();
        table.push_row(&mut text, &cells);
        if text.len() > MAX_TEXT_BYTES {
            return Err(ReadError::TooMuchText);
        }
    }
    table.finish(&mut text);
    Ok(DocumentText { title: None, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_lines_under_their_header() {
        for csv in [
            "sku,price\nA1,4.90\nB2,5.90\n",
            "sku;price\r\nA1;4.90\r\nB2;5.90",
            "sku\tprice\nA1\t4.90\nB2\t5.90",
            "sep=;\nsku;price\n\"A1\";4.90\n\nB2;5.90",
        ] {
            let text = csv_to_text(csv).unwrap().text;
            assert_eq!(
                text, "sku | price\n--- | ---\nA1 | 4.90\nB2 | 5.90\n",
                "{csv}"
            );
        }
        let text = csv_to_text("a,b\n\"x, \"\"y\"\"\nz\",2,extra\n1")
            .unwrap()
            .text;
        assert_eq!(text, "a | b\n--- | ---\nx, \"y\" z | 2 | extra\n1\n");
        let text = csv_to_text("a;b\n1,5;2,5\n3,5;4,5").unwrap().text;
        assert_eq!(text, "a | b\n--- | ---\n1,5 | 2,5\n3,5 | 4,5\n");
    }

    #[test]
    fn a_row_under_a_wide_header_is_a_record() {
        let names: Vec<String> = (0..100).map(|n| format!("column_{n}")).collect();
        let values: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
        let text = csv_to_text(&format!("{}\n{}", names.join(","), values.join(",")))
            .unwrap()
            .text;
        assert!(
            text.starts_with("column_0: v0\ncolumn_1: v1\n")
                && text.ends_with("column_99: v99\n\n")
        );
        let rows = "x,".repeat(100).repeat(3);
        assert_eq!(
            csv_to_text(&format!("{},\n{rows}", "a".repeat(2_000_000))).map(|_| ()),
            Ok(())
        );
    }

    #[test]
    fn names_that_multiply_a_table_are_refused() {
        let header = vec!["n".repeat(4000); 200].join(",");
        let row = format!("{}\n", vec!["x"; 200].join(","));
        let csv = format!("{header}\n{}", row.repeat(5000));
        assert_eq!(csv_to_text(&csv), Err(ReadError::TooMuchText));
    }
}
