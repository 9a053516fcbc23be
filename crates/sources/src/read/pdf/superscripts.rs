//! Raised digits: footnote marks and exponents.

use std::ops::Range;

use super::glyph::{Place, PlacedText, is_ideographic};

/// In em, how far such a digit is raised.
const RISE: Range<f64> = 0.15..0.8;
/// Relative to the size of the text.
const MAX_SIZE: f64 = 0.85;
/// In em. A digit after a wider gap is text of its own, such as a numerator.
const MAX_GAP: f64 = 0.2;
/// A digit after fewer letters is an exponent, as in km² and mc².
const MIN_WORD: usize = 3;
const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

/// Writes raised digits as superscripts, because 10² is not 102. A space separates a footnote mark
/// from the word, so that a search finds it.
pub(super) fn mark_superscripts(line: &mut [PlacedText]) {
    let (mut letters, mut after_digit) = (0, false);
    // The last text on the baseline, and the text before.
    let mut before: Option<(Place, Place)> = None;
    for PlacedText { text, place } in line {
        let raised = superscript(text).filter(|_| {
            before.is_some_and(|(base, last)| {
                last.step_to(place).0 < MAX_GAP && is_raised(&base, place)
            })
        });
        // A footnote begins with its mark.
        let is_after_mark = before.is_some_and(|(_, last)| is_raised(place, &last));
        if is_after_mark && after_digit && text.starts_with(char::is_alphabetic) {
            text.insert(0, ' ');
        }
        after_digit = superscript(text).is_some();
        let base = before.filter(|_| raised.is_some());
        before = Some((base.map_or(*place, |(base, _)| base), *place));
        if let Some(digit) = raised {
            *text = digit.to_string();
        }
        if letters >= MIN_WORD && text.starts_with(SUPERSCRIPTS) {
            text.insert(0, ' ');
        }
        letters = if text.chars().all(char::is_alphabetic) && !is_ideographic(text) {
            letters + text.chars().count()
        } else {
            0
        };
    }
}

fn is_raised(base: &Place, place: &Place) -> bool {
    let rise = base.along().cross(place.start - base.start) / base.size();
    RISE.contains(&rise) && place.size() < MAX_SIZE * base.size()
}

fn superscript(text: &str) -> Option<char> {
    let digit: usize = text.parse().ok()?;
    SUPERSCRIPTS.get(digit).copied().filter(|_| text.len() == 1)
}
