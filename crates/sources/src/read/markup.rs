//! Converts reStructuredText, MDX and Org to Markdown, as far as headings and code are concerned.

use super::DocumentText;

/// A shorter line of punctuation under a text is not a heading.
const MIN_ADORNMENT: usize = 3;
const MAX_LEVEL: usize = 6;
/// What begins or ends code in Org.
const CODE_MARKS: [&str; 4] = [
    "#+begin_src",
    "#+begin_example",
    "#+end_src",
    "#+end_example",
];

/// A heading has a line of punctuation below it, and may have one above it. The order of the first
/// use of each style is its level.
pub(super) fn rst_to_text(text: &str) -> DocumentText {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let (mut out, mut styles, mut title) = (String::new(), Vec::new(), None);
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let line = *line;
        let (next, after) = (lines.get(at + 1), lines.get(at + 2));
        let overlined = adornment(line).filter(|above| {
            let closes = after.is_some_and(|below| adornment(below) == Some(*above));
            closes && next.is_some_and(|text| !text.trim().is_empty())
        });
        let underlined = next.and_then(|next| adornment(next)).filter(|_| {
            let width = line.chars().count().min(4);
            let is_text = !line.is_empty() && !line.starts_with(' ') && adornment(line).is_none();
            is_text && next.is_some_and(|next| next.chars().count() >= width)
        });
        let heading = match (overlined, underlined) {
            (Some(style), _) => next.map(|text| ((style, true), text.trim(), 3)),
            (None, Some(style)) => Some(((style, false), line, 2)),
            (None, None) => None,
        };
        match heading {
            Some((style, text, length)) => {
                push_heading(&mut out, level(&mut styles, style), text);
                title.get_or_insert_with(|| text.to_owned());
                at += length;
            }
            None => {
                out.push_str(line);
                out.push('\n');
                at += 1;
            }
        }
    }
    DocumentText { title, text: out }
}

/// The character of a line that consists of one punctuation character.
fn adornment(line: &str) -> Option<char> {
    let first = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() >= MIN_ADORNMENT && line.chars().all(|c| c == first)).then_some(first)
}

fn level(styles: &mut Vec<(char, bool)>, style: (char, bool)) -> usize {
    let known = styles.iter().position(|known| *known == style);
    known.map_or_else(
        || {
            styles.push(style);
            styles.len()
        },
        |at| at + 1,
    )
}

fn push_heading(out: &mut String, level: usize, text: &str) {
    if !out.is_empty() && !out.ends_with("\n\n") {
        out.push('\n');
    }
    let marks = "######".get(..level.clamp(1, MAX_LEVEL)).unwrap_or("#");
    out.extend([marks, " ", text, "\n\n"]);
}

/// Drops the imports, exports and tags of components. Code blocks are unchanged.
pub(super) fn mdx_to_text(text: &str) -> DocumentText {
    let (mut out, mut is_fenced, mut is_statement) = (String::new(), false, false);
    let mut is_block_start = true;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        if is_fenced || is_fence {
            out.push_str(line);
        } else {
            // A statement begins a block, and ends at the next empty line. It has code in it,
            // other than a sentence about imports.
            let starts = ["import ", "export ", "import{", "export{"];
            let begins = is_block_start
                && starts.iter().any(|start| line.starts_with(start))
                && line.contains(['{', '\'', '"', '=', '*']);
            is_statement = !line.trim().is_empty() && (is_statement || begins);
            is_block_start = line.trim().is_empty() || is_statement;
            if is_statement {
                continue;
            }
            let output = without_components(line);
            if output.trim().is_empty() && !line.trim().is_empty() {
                continue;
            }
            out.push_str(&output);
        }
        out.push('\n');
    }
    let title = super::markdown_title(&out);
    DocumentText { title, text: out }
}

/// Removes tags such as `<Note>`, `<br />` and `</Tabs>`, and comments `{/* … */}`.
fn without_components(line: &str) -> String {
    let (mut output, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(['<', '{', '`']) {
        let (before, tag) = rest.split_at(at);
        output.push_str(before);
        let inner = tag.get(1..).unwrap_or_default();
        let end = if tag.starts_with('`') {
            // Inline code is unchanged.
            let end = inner.find('`').map(|end| end + 2);
            output.push_str(tag.get(..end.unwrap_or(1)).unwrap_or_default());
            end
        } else if inner.starts_with("/*") {
            tag.find("*/}").map(|end| end + 3)
        } else {
            let name = inner.strip_prefix('/').unwrap_or(inner);
            let is_tag = tag.starts_with('<')
                && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '>');
            is_tag.then(|| tag_end(tag)).flatten()
        };
        if end.is_none() && !tag.starts_with('`') {
            output.push_str(tag.get(..1).unwrap_or_default());
        }
        rest = tag.get(end.unwrap_or(1)..).unwrap_or_default();
    }
    output.push_str(rest);
    output
}

/// The end of a tag, whose attributes may contain `>` in quotation marks or braces.
fn tag_end(tag: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') => depth = depth.saturating_sub(1),
            (None, '>') if depth == 0 => return Some(at + 1),
            (None, _) => {}
        }
    }
    None
}

/// Headings start with stars. `#+` starts a setting or a block.
pub(super) fn org_to_text(text: &str) -> DocumentText {
    let (mut out, mut title, mut is_drawer) = (String::new(), None, false);
    for line in text.lines().map(str::trim_end) {
        let lower = line.trim_start().to_ascii_lowercase();
        let stars = line.len() - line.trim_start_matches('*').len();
        let heading = line.get(stars..).and_then(|rest| rest.strip_prefix(' '));
        if stars > 0
            && let Some(heading) = heading
        {
            is_drawer = false;
            push_heading(&mut out, stars, heading.trim());
        } else if is_drawer {
            is_drawer = lower != ":end:";
        } else if lower == ":properties:" || lower == ":logbook:" {
            is_drawer = true;
        } else if let Some(named) = lower.strip_prefix("#+title:") {
            let name = line
                .get(line.len() - named.len()..)
                .unwrap_or_default()
                .trim();
            title = Some(name.to_owned()).filter(|name| !name.is_empty());
        } else if CODE_MARKS.iter().any(|mark| lower.starts_with(mark)) {
            out.push_str("```\n");
        } else if !lower.starts_with("#+") && !lower.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    let first = || out.lines().find_map(|line| line.strip_prefix("# "));
    let title = title.or_else(|| first().map(str::to_owned));
    DocumentText { title, text: out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_restructured_text_are_recognised() {
        let document = rst_to_text(
            "=====\nGuide\n=====\n\nIntro\n\nRefunds\n-------\n\nPaid.\n\nDetails\n~~~~~~~\nx\n\nTerms\n-----\ny\n\n----\n\n=====  =====\na      b\n=====  =====\n",
        );
        assert_eq!(document.title.as_deref(), Some("Guide"));
        assert_eq!(
            document.text,
            "# Guide\n\n\nIntro\n\n## Refunds\n\n\nPaid.\n\n### Details\n\nx\n\n## Terms\n\ny\n\n----\n\n=====  =====\na      b\n=====  =====\n"
        );
        let plain = "No heading here.\n\n  indented\n  --------\n\nA -- b\n--\n";
        assert_eq!(rst_to_text(plain).text, plain);
        assert_eq!(
            rst_to_text("Überschrift\n===========\n").title.as_deref(),
            Some("Überschrift")
        );
    }

    #[test]
    fn statements_and_components_of_mdx_are_dropped() {
        let document = mdx_to_text(
            "# Refunds\n\nimport X from \"x\"\nimport {\n  Y\n} from 'y'\n\n<X/>\n\n<Tabs items={[\"a > b\"]}>\nRefunds are <b>paid</b> if a < 3. {/* no */}Use `<Shown/>`.\n</Tabs>\n\n```jsx\nimport Z from 'z'\n<Z/>\n```\n",
        );
        assert_eq!(document.title.as_deref(), Some("Refunds"));
        assert_eq!(
            document.text,
            "# Refunds\n\n\n\nRefunds are paid if a < 3. Use `<Shown/>`.\n\n```jsx\nimport Z from 'z'\n<Z/>\n```\n"
        );
    }

    #[test]
    fn headings_and_code_of_org_are_recognised() {
        let document = org_to_text(
            "#+TITLE: The Guide\n#+OPTIONS: toc:nil\n* Refunds\n:PROPERTIES:\n:ID: 1\n:END:\nPaid *soon*.\n** Terms\n#+begin_src sh\nls\n#+end_src\n*bold* text\n",
        );
        assert_eq!(document.title.as_deref(), Some("The Guide"));
        assert_eq!(
            document.text,
            "# Refunds\n\nPaid *soon*.\n\n## Terms\n\n```\nls\n```\n*bold* text\n"
        );
    }
}
