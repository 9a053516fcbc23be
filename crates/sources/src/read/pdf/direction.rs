//! Hebrew and Arabic: from the order on the page to the order of reading.
//!
//! Most programs draw the glyphs of a line from left to right, and some in the order of reading.
//! So the line is sorted by position, and then reordered. The bidirectional algorithm of Unicode
//! is nearly its own inverse: numbers and Latin words are read from left to right.

use unicode_bidi::{BidiInfo, Level};
use unicode_normalization::char::is_combining_mark;

use super::glyph::{PlacedText, is_right_to_left};

/// Relative. A line with so many more letters of one direction has that direction.
const CLEAR_MAJORITY: usize = 2;
const BRACKETS: [(char, char); 5] = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>'), ('«', '»')];

/// The letters of the page so far.
#[derive(Default)]
pub(super) struct LettersByDirection {
    left_to_right: usize,
    right_to_left: usize,
}

impl LettersByDirection {
    fn add(&mut self, text: &str) {
        for c in text.chars().filter(|c| c.is_alphabetic()) {
            if is_right_to_left(c.encode_utf8(&mut [0; 4])) {
                self.right_to_left += 1;
            } else {
                self.left_to_right += 1;
            }
        }
    }
}

/// Sorts a line from left to right.
pub(super) fn sort_by_position(line: Vec<PlacedText>) -> Vec<PlacedText> {
    let Some(along) = line.first().map(|first| first.place.along()) else {
        return line;
    };
    let position = |text: &PlacedText| text.place.start.to_vec2().dot(along);
    let mut sorted = with_points(line, position);
    sorted.sort_by(|one, other| position(one).total_cmp(&position(other)));
    // Shadows and bold text are drawn twice.
    sorted.dedup_by(|next, one| {
        let width = one.place.end - one.place.start;
        next.text == one.text && position(next) - position(one) < width.hypot() / 2.0
    });
    sorted
}

/// Joins vowel points with their letters. A point is drawn before its letter if the letters are
/// drawn from left to right, else after it.
fn with_points(line: Vec<PlacedText>, position: impl Fn(&PlacedText) -> f64) -> Vec<PlacedText> {
    let mut letters: Vec<PlacedText> = Vec::with_capacity(line.len());
    let mut points: Vec<PlacedText> = Vec::new();
    for glyph in line {
        if is_right_to_left(&glyph.text) && glyph.text.chars().all(is_combining_mark) {
            points.push(glyph);
            continue;
        }
        let mut glyph = glyph;
        let drawn_before = std::mem::take(&mut points);
        match letters.last_mut() {
            Some(last) if position(&glyph) < position(last) => {
                last.text
                    .extend(drawn_before.into_iter().map(|point| point.text));
            }
            _ => glyph
                .text
                .extend(drawn_before.into_iter().rev().map(|point| point.text)),
        }
        letters.push(glyph);
    }
    match letters.last_mut() {
        Some(last) => last.text.extend(points.into_iter().map(|point| point.text)),
        None => letters = points,
    }
    letters
}

/// The text of a line in the order of reading. `parts` are the texts from left to right.
pub(super) fn in_reading_order(parts: &[&str], page: &mut LettersByDirection) -> String {
    let text = parts.concat();
    let mut line = LettersByDirection::default();
    line.add(&text);
    page.add(&text);
    let is_clear = line.right_to_left.max(line.left_to_right)
        >= CLEAR_MAJORITY * line.right_to_left.min(line.left_to_right);
    let deciding = if is_clear { &line } else { &*page };
    let base = if deciding.right_to_left >= deciding.left_to_right {
        Level::rtl()
    } else {
        Level::ltr()
    };
    let all_levels = BidiInfo::new(&text, Some(base)).levels;
    let mut start = 0;
    let mut levels = Vec::with_capacity(parts.len());
    for part in parts {
        levels.push(all_levels.get(start).copied().unwrap_or(base));
        start += part.len();
    }
    let are_mirrored = are_brackets_mirrored(parts);
    let order = BidiInfo::reorder_visual(&levels);
    let ordered = order.into_iter().filter_map(|index| {
        let is_rtl = levels.get(index).is_some_and(Level::is_rtl);
        parts.get(index).map(|part| (*part, is_rtl && are_mirrored))
    });
    let mut read = String::with_capacity(text.len());
    for (part, is_mirrored) in ordered {
        match mirrored(part).filter(|_| is_mirrored) {
            Some(bracket) => read.push(bracket),
            None => read.push_str(part),
        }
    }
    read
}

/// Whether the brackets have their shape on the page, as if they were read from left to right, and
/// not their meaning. A shape is next to a word on its inner side.
fn are_brackets_mirrored(parts: &[&str]) -> bool {
    let is_blank = |index: Option<usize>| {
        let part = index.and_then(|index| parts.get(index));
        part.is_none_or(|part| part.trim().is_empty())
    };
    let (mut shapes, mut meanings) = (0, 0);
    for (index, part) in parts.iter().enumerate() {
        let (left, right) = (is_blank(index.checked_sub(1)), is_blank(Some(index + 1)));
        let opens = BRACKETS.iter().any(|(open, _)| part.starts_with(*open));
        if left != right && mirrored(part).is_some() {
            if left == opens {
                shapes += 1;
            } else {
                meanings += 1;
            }
        }
    }
    shapes >= meanings
}

fn mirrored(part: &str) -> Option<char> {
    let pair = |(open, close): (char, char)| [(open, close), (close, open)];
    let mut chars = part.chars();
    let c = chars.next().filter(|_| chars.next().is_none())?;
    let mut pairs = BRACKETS.into_iter().flat_map(pair);
    pairs.find(|(from, _)| *from == c).map(|(_, to)| to)
}
