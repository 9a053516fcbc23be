//! Splits a text into passages that can be understood on their own.

/// Paragraphs are added to a passage up to about this size.
const PASSAGE_BYTES: usize = 800;
/// A longer paragraph is split into pieces of [`PASSAGE_BYTES`].
const LONGEST_PARAGRAPH: usize = 1600;
/// A fenced block up to this size is not split.
const LONGEST_FENCE: usize = 4000;
/// A longer header of a table is truncated, so that a table grows to at most twice its size.
const LONGEST_HEADER: usize = 800;
/// Separates the headings above a passage.
const UNDER: &str = " › ";
/// Longer headings are truncated.
const HEADING_BYTES: usize = 120;
const DEEPEST_HEADING: usize = 6;

/// Joins short paragraphs. A Markdown heading starts a new passage, and each passage starts with
/// the headings above it.
pub(crate) fn split(text: &str) -> Vec<String> {
    let (mut passages, mut path) = (Vec::new(), Vec::<(usize, String)>::new());
    let mut blocks = blocks(text).into_iter().peekable();
    while let Some(block) = blocks.next() {
        let mut pieces = Vec::new();
        match block {
            MarkdownBlock::Heading(level, heading) => {
                path.retain(|(above, _)| *above < level);
                path.push((level, beginning(heading, HEADING_BYTES).to_owned()));
            }
            MarkdownBlock::Paragraph(paragraph) => pieces = cut(&paragraph),
        }
        while let Some(MarkdownBlock::Paragraph(paragraph)) =
            blocks.next_if(|next| matches!(next, MarkdownBlock::Paragraph(_)))
        {
            pieces.extend(cut(&paragraph));
        }
        let has_subheadings = matches!(blocks.peek(), Some(MarkdownBlock::Heading(level, _)) if is_below(*level, &path));
        passages.extend(section(&heading_line(&path), pieces, has_subheadings));
    }
    passages
}

fn is_below(level: usize, path: &[(usize, String)]) -> bool {
    path.last().is_some_and(|(above, _)| *above < level)
}

/// `# Guide › Install › Linux`, empty before the first heading.
fn heading_line(path: &[(usize, String)]) -> String {
    let headings: Vec<&str> = path.iter().map(|(_, heading)| heading.as_str()).collect();
    if headings.is_empty() {
        String::new()
    } else {
        format!("# {}", headings.join(UNDER))
    }
}

/// The passages of one section. A heading without text is a passage, unless it has subheadings.
fn section(heading: &str, pieces: Vec<String>, has_subheadings: bool) -> Vec<String> {
    let mut passages: Vec<String> = Vec::new();
    for piece in pieces {
        match passages.last_mut() {
            Some(last) if last.len() + piece.len() < PASSAGE_BYTES + heading.len() => {
                last.push_str("\n\n");
                last.push_str(&piece);
            }
            _ if heading.is_empty() => passages.push(piece),
            _ => passages.push(format!("{heading}\n\n{piece}")),
        }
    }
    if passages.is_empty() && !heading.is_empty() && !has_subheadings {
        passages.push(heading.to_owned());
    }
    passages
}

enum MarkdownBlock<'a> {
    Heading(usize, &'a str),
    Paragraph(String),
}

/// Headings, and paragraphs separated by blank lines. Blank lines within a fence do not separate.
fn blocks(text: &str) -> Vec<MarkdownBlock<'_>> {
    let (mut blocks, mut paragraph, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines().map(str::trim_end).chain([""]) {
        fenced ^= line.trim_start().starts_with("```");
        let heading = if fenced { None } else { heading(line) };
        if heading.is_some() || line.is_empty() && !fenced {
            if !paragraph.is_empty() {
                blocks.push(MarkdownBlock::Paragraph(std::mem::take(&mut paragraph)));
            }
            blocks.extend(heading);
            continue;
        }
        if !paragraph.is_empty() {
            paragraph.push('\n');
        }
        paragraph.push_str(line);
    }
    blocks.extend((!paragraph.is_empty()).then_some(MarkdownBlock::Paragraph(paragraph)));
    blocks
}

/// Such as `## Two`, with or without closing hashes.
fn heading(line: &str) -> Option<MarkdownBlock<'_>> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    let text = rest
        .strip_prefix(' ')?
        .trim()
        .trim_end_matches('#')
        .trim_end();
    ((1..=DEEPEST_HEADING).contains(&level) && !text.is_empty())
        .then_some(MarkdownBlock::Heading(level, text))
}

/// Splits a paragraph that is too long for one passage.
fn cut(paragraph: &str) -> Vec<String> {
    let most = if paragraph.contains("```") {
        LONGEST_FENCE
    } else {
        LONGEST_PARAGRAPH
    };
    if paragraph.len() <= most {
        return vec![paragraph.to_owned()];
    }
    if !paragraph.contains("```")
        && let Some((before, table)) = Table::find(paragraph)
    {
        let mut pieces = if before.is_empty() {
            Vec::new()
        } else {
            cut(before)
        };
        pieces.extend(table.cut());
        return pieces;
    }
    cut_text(paragraph)
}

fn cut_text(paragraph: &str) -> Vec<String> {
    let (mut pieces, mut rest) = (Vec::new(), paragraph);
    while rest.len() > PASSAGE_BYTES {
        let (piece, after) = rest.split_at(split_point(beginning(rest, PASSAGE_BYTES)));
        pieces.push(piece.trim_end().to_owned());
        rest = after.trim_start();
    }
    pieces.push(rest.to_owned());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// A Markdown table: a header, a line such as `--- | ---`, and rows.
struct Table<'a> {
    header: &'a str,
    rows: &'a str,
}

impl<'a> Table<'a> {
    /// The first table of a paragraph, and the text before it. A table ends with its paragraph.
    fn find(paragraph: &'a str) -> Option<(&'a str, Self)> {
        let (mut at, mut above) = (0, None);
        for line in paragraph.split_inclusive('\n') {
            let end = at + line.len();
            match above {
                Some(start) if is_delimiter(line) => {
                    let (before, header) = paragraph.get(..end)?.split_at(start);
                    let rows = paragraph.get(end..)?;
                    return Some((before.trim_end(), Self { header, rows }));
                }
                _ => above = line.contains('|').then_some(at),
            }
            at = end;
        }
        None
    }

    /// Pieces with whole rows, each under the header.
    fn cut(&self) -> Vec<String> {
        let header = format!("{}\n", beginning(self.header.trim_end(), LONGEST_HEADER));
        let (mut pieces, mut piece) = (Vec::new(), String::new());
        for row in self.rows.lines() {
            for part in if row.len() > LONGEST_PARAGRAPH {
                cut_text(row)
            } else {
                vec![row.to_owned()]
            } {
                if !piece.is_empty() && piece.len() + part.len() > PASSAGE_BYTES {
                    pieces.push(format!("{header}{}", piece.trim_end()));
                    piece.clear();
                }
                piece.push_str(&part);
                piece.push('\n');
            }
        }
        pieces.push(format!("{header}{piece}").trim_end().to_owned());
        pieces
    }
}

/// `--- | :--:`, or `|---+---|` in Org.
fn is_delimiter(line: &str) -> bool {
    let line = line.trim();
    line.contains("--")
        && line.contains(['|', '+'])
        && line
            .chars()
            .all(|c| matches!(c, '|' | '-' | ':' | '+' | ' ' | '\t'))
}

/// Where to split: at the last end of a line, of a sentence or of a word in the second half. At the
/// end of the piece if there is none.
fn split_point(piece: &str) -> usize {
    let half = piece.len() / 2;
    ["\n", ". ", "? ", "! ", "。", " "]
        .into_iter()
        .filter_map(|end| piece.rfind(end).map(|at| at + end.len()))
        .find(|end| *end > half)
        .unwrap_or(piece.len())
}

/// Up to `most` bytes, cut at a character boundary.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_paragraphs_share_a_passage_and_headings_start_one() {
        assert_eq!(split("a\n\nb\n\n# c\n\nd"), ["a\n\nb", "# c\n\nd"]);
        assert_eq!(split("# c\nd\n## e ##\nf"), ["# c\n\nd", "# c › e\n\nf"]);
    }

    #[test]
    fn a_passage_starts_with_every_heading_above_it() {
        let long = format!(
            "# Guide\n\n## Install\n\n### Linux\n\n{0}\n\n{0}\n\n## Use\n\nb",
            "word ".repeat(120)
        );
        let passages = split(&long);
        assert_eq!(passages.len(), 3);
        assert!(
            passages[..2]
                .iter()
                .all(|passage| passage.starts_with("# Guide › Install › Linux\n\nword"))
        );
        assert_eq!(passages[2], "# Guide › Use\n\nb");
    }

    #[test]
    fn a_heading_without_text_is_a_passage() {
        assert_eq!(split("# Alone"), ["# Alone"]);
        assert_eq!(split("# a\n\n# b\n\nc"), ["# a", "# b\n\nc"]);
    }

    #[test]
    fn lines_that_only_look_like_headings_are_text() {
        for text in ["#tag", "####### seven", "# ", "#!/bin/sh"] {
            assert_eq!(split(text), [text.trim_end()]);
        }
    }

    #[test]
    fn a_fenced_block_is_not_split() {
        let text = "Try:\n\n```sh\n  a\n\n# b\n```\n\nc";
        assert_eq!(split(text), ["Try:\n\n```sh\n  a\n\n# b\n```\n\nc"]);
        let fence = format!("```\n{}```", "a line of code\n".repeat(200));
        assert_eq!(split(&fence).len(), 1);
    }

    #[test]
    fn a_long_paragraph_is_split_at_the_end_of_a_line_a_sentence_or_a_word() {
        for (unit, ends) in [
            ("A line\n", "A line"),
            ("A sentence. ", "sentence."),
            ("word ", "word"),
            ("x", "x"),
        ] {
            let passages = split(&unit.repeat(2000));
            assert!(passages.len() > 1, "{unit:?}");
            assert!(
                passages
                    .iter()
                    .all(|passage| passage.len() <= PASSAGE_BYTES && passage.ends_with(ends))
            );
        }
        let japanese = "これは長い段落です。".repeat(200);
        let passages = split(&japanese);
        assert_eq!(passages.concat(), japanese);
        assert!(passages.iter().all(|passage| passage.ends_with('。')));
    }

    #[test]
    fn every_passage_of_a_long_table_has_its_header() {
        for (header, row) in [
            ("sku | price\n--- | ---", "A1 | 4.90"),
            ("| sku | price |\n|:---|---:|", "| A1 | 4.90 |"),
            ("| sku | price |\n|-----+-------|", "| A1 | 4.90 |"),
        ] {
            let table = format!(
                "# Prices\n\nOur prices:\n{header}\n{}",
                format!("{row}\n").repeat(500)
            );
            let passages = split(&table);
            assert!(passages.len() > 5);
            for passage in &passages[1..] {
                assert!(
                    passage.starts_with(&format!("# Prices\n\n{header}\n{row}\n")),
                    "{passage}"
                );
                assert!(passage.len() < 1200 && passage.ends_with(row), "{passage}");
            }
            let rows: usize = passages
                .iter()
                .map(|passage| passage.matches(row).count())
                .sum();
            assert_eq!(rows, 500);
        }
        let long_row = format!("a | b\n--- | ---\n{}", "word ".repeat(2000));
        assert!(
            split(&long_row)
                .iter()
                .all(|passage| passage.starts_with("a | b\n--- | ---\nword"))
        );
        let wide = format!(
            "{} | b\n--- | ---\n{}",
            "a".repeat(100_000),
            "x\n".repeat(10_000)
        );
        assert!(split(&wide).iter().map(String::len).sum::<usize>() < 200_000);
    }
}
