//! Cuts a text into passages: pieces that can be read alone.

/// A passage grows paragraph by paragraph up to about this many bytes.
const PASSAGE_BYTES: usize = 800;
/// A paragraph longer than this is cut into pieces of [`PASSAGE_BYTES`].
const LONGEST_PARAGRAPH: usize = 1600;
/// A fenced block is kept whole up to here.
const LONGEST_FENCE: usize = 4000;
/// Between the headings that a passage stands under.
const UNDER: &str = " › ";
/// Of longer headings only the beginning is kept.
const HEADING_BYTES: usize = 120;
const DEEPEST_HEADING: usize = 6;

/// Paragraphs, joined while they are short. A Markdown heading starts a new
/// passage, and each passage begins with the headings that it stands under.
pub(crate) fn split(text: &str) -> Vec<String> {
    let (mut passages, mut path) = (Vec::new(), Vec::<(usize, String)>::new());
    let mut blocks = blocks(text).into_iter().peekable();
    while let Some(block) = blocks.next() {
        let mut pieces = Vec::new();
        match block {
            Block::Heading(level, heading) => {
                path.retain(|(above, _)| *above < level);
                path.push((level, beginning(heading, HEADING_BYTES).to_owned()));
            }
            Block::Paragraph(paragraph) => pieces = cut(&paragraph),
        }
        while let Some(Block::Paragraph(paragraph)) =
            blocks.next_if(|next| matches!(next, Block::Paragraph(_)))
        {
            pieces.extend(cut(&paragraph));
        }
        let heads_others = matches!(blocks.peek(), Some(Block::Heading(level, _)) if is_below(*level, &path));
        passages.extend(section(&heading_line(&path), pieces, heads_others));
    }
    passages
}

fn is_below(level: usize, path: &[(usize, String)]) -> bool {
    path.last().is_some_and(|(above, _)| *above < level)
}

/// `# Guide › Install › Linux`, empty before the first heading.
fn heading_line(path: &[(usize, String)]) -> String {
    let headings: Vec<&str> = path.iter().map(|(_, heading)| heading.as_str()).collect();
    if headings.is_empty() { String::new() } else { format!("# {}", headings.join(UNDER)) }
}

/// The passages of what stands under one heading. A heading alone is a passage,
/// unless it only stands above others.
fn section(heading: &str, pieces: Vec<String>, heads_others: bool) -> Vec<String> {
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
    if passages.is_empty() && !heading.is_empty() && !heads_others {
        passages.push(heading.to_owned());
    }
    passages
}

enum Block<'a> {
    Heading(usize, &'a str),
    Paragraph(String),
}

/// Headings, and the runs of lines between blank lines; blank lines within a
/// fence belong to it.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut paragraph, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines().map(str::trim_end).chain([""]) {
        fenced ^= line.trim_start().starts_with("```");
        let heading = if fenced { None } else { heading(line) };
        if heading.is_some() || line.is_empty() && !fenced {
            if !paragraph.is_empty() {
                blocks.push(Block::Paragraph(std::mem::take(&mut paragraph)));
            }
            blocks.extend(heading);
            continue;
        }
        if !paragraph.is_empty() {
            paragraph.push('\n');
        }
        paragraph.push_str(line);
    }
    blocks.extend((!paragraph.is_empty()).then_some(Block::Paragraph(paragraph)));
    blocks
}

/// `## Two`, with or without its closing hashes.
fn heading(line: &str) -> Option<Block<'_>> {
    let rest = line.trim_start_matches('#');
    let level = line.len() - rest.len();
    let text = rest.strip_prefix(' ')?.trim().trim_end_matches('#').trim_end();
    ((1..=DEEPEST_HEADING).contains(&level) && !text.is_empty()).then_some(Block::Heading(level, text))
}

/// A paragraph that is too long for one passage, in pieces that are not.
fn cut(paragraph: &str) -> Vec<String> {
    let most = if paragraph.contains("```") { LONGEST_FENCE } else { LONGEST_PARAGRAPH };
    if paragraph.len() <= most {
        return vec![paragraph.to_owned()];
    }
    let (mut pieces, mut rest) = (Vec::new(), paragraph);
    while rest.len() > PASSAGE_BYTES {
        let (piece, left) = rest.split_at(seam(beginning(rest, PASSAGE_BYTES)));
        pieces.push(piece.trim_end().to_owned());
        rest = left.trim_start();
    }
    pieces.push(rest.to_owned());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Where a piece ends best: at the end of a line, of a sentence, of a word, in
/// the later half if there is one; anywhere otherwise.
fn seam(piece: &str) -> usize {
    let half = piece.len() / 2;
    ["\n", ". ", "? ", "! ", "。", " "]
        .into_iter()
        .filter_map(|end| piece.rfind(end).map(|at| at + end.len()))
        .find(|end| *end > half)
        .unwrap_or(piece.len())
}

/// Up to `most` bytes, and no half character.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_paragraphs_share_a_passage_and_headings_begin_one() {
        assert_eq!(split("a\n\nb\n\n# c\n\nd"), ["a\n\nb", "# c\n\nd"]);
        assert_eq!(split("# c\nd\n## e ##\nf"), ["# c\n\nd", "# c › e\n\nf"]);
    }

    #[test]
    fn a_passage_begins_with_every_heading_that_it_stands_under() {
        let long =
            format!("# Guide\n\n## Install\n\n### Linux\n\n{0}\n\n{0}\n\n## Use\n\nb", "word ".repeat(120));
        let passages = split(&long);
        assert_eq!(passages.len(), 3);
        assert!(passages[..2].iter().all(|passage| passage.starts_with("# Guide › Install › Linux\n\nword")));
        assert_eq!(passages[2], "# Guide › Use\n\nb");
    }

    #[test]
    fn a_heading_with_nothing_below_it_is_kept() {
        assert_eq!(split("# Alone"), ["# Alone"]);
        assert_eq!(split("# a\n\n# b\n\nc"), ["# a", "# b\n\nc"]);
    }

    #[test]
    fn what_only_looks_like_a_heading_is_text() {
        for text in ["#tag", "####### seven", "# ", "#!/bin/sh"] {
            assert_eq!(split(text), [text.trim_end()]);
        }
    }

    #[test]
    fn a_fenced_block_is_kept_whole() {
        let text = "Try:\n\n```sh\n  a\n\n# b\n```\n\nc";
        assert_eq!(split(text), ["Try:\n\n```sh\n  a\n\n# b\n```\n\nc"]);
        let fence = format!("```\n{}```", "a line of code\n".repeat(200));
        assert_eq!(split(&fence).len(), 1);
    }

    #[test]
    fn a_long_paragraph_is_cut_where_a_line_a_sentence_or_a_word_ends() {
        for (unit, ends) in
            [("A line\n", "A line"), ("A sentence. ", "sentence."), ("word ", "word"), ("x", "x")]
        {
            let passages = split(&unit.repeat(2000));
            assert!(passages.len() > 1, "{unit:?}");
            assert!(passages.iter().all(|passage| passage.len() <= PASSAGE_BYTES && passage.ends_with(ends)));
        }
        let japanese = "これは長い段落です。".repeat(200);
        let passages = split(&japanese);
        assert_eq!(passages.concat(), japanese);
        assert!(passages.iter().all(|passage| passage.ends_with('。')));
    }
}
