//! Accents that are glyphs of their own, over or under a letter. The default fonts of LaTeX have
//! them instead of accented letters.

use unicode_normalization::UnicodeNormalization as _;

use super::glyph::PlacedText;

/// Joins each accent with the letter that has the same place.
pub(super) fn join_accents(line: Vec<PlacedText>) -> Vec<PlacedText> {
    if !line.iter().any(|glyph| combining(&glyph.text).is_some()) {
        return line;
    }
    let mut joined: Vec<PlacedText> = Vec::with_capacity(line.len());
    for glyph in line {
        match joined.last_mut() {
            Some(last) if is_over(last, &glyph) => {
                let text = accented(&glyph.text, &last.text);
                *last = PlacedText {
                    text: text.unwrap_or_default(),
                    place: glyph.place,
                };
            }
            Some(last) if is_over(&glyph, last) => {
                last.text = accented(&last.text, &glyph.text).unwrap_or_default();
            }
            _ => joined.push(glyph),
        }
    }
    joined
}

fn is_over(accent: &PlacedText, letter: &PlacedText) -> bool {
    let (from, to) = (accent.place.start, accent.place.end);
    let along = letter.place.along();
    let middle = from.midpoint(to) - letter.place.start;
    let width = (letter.place.end - letter.place.start).dot(along);
    from != to
        && (0.0..width).contains(&middle.dot(along))
        && accented(&letter.text, &accent.text).is_some()
}

/// The letter with the accent, such as `ü` of `u` and `¨`.
fn accented(letter: &str, accent: &str) -> Option<String> {
    let mark = combining(accent)?;
    let is_above = !matches!(mark, '\u{327}' | '\u{328}');
    let mut chars = letter.chars();
    let base = match chars.next().filter(|c| c.is_alphabetic())? {
        'ı' if is_above => 'i',
        'ȷ' if is_above => 'j',
        base => base,
    };
    // A letter can have several accents.
    let marks = chars.chain([mark]);
    let is_letter = marks.clone().all(|c| matches!(c, '\u{300}'..='\u{36f}'));
    is_letter.then(|| [base].into_iter().chain(marks).nfc().collect())
}

/// The combining form of an accent that stands alone.
fn combining(accent: &str) -> Option<char> {
    let mut chars = accent.chars();
    let mark = match chars.next()? {
        '`' | 'ˋ' => '\u{300}',
        '´' | 'ˊ' | '΄' => '\u{301}',
        '^' | 'ˆ' => '\u{302}',
        '~' | '˜' => '\u{303}',
        '¯' | 'ˉ' => '\u{304}',
        '˘' => '\u{306}',
        '˙' => '\u{307}',
        '¨' => '\u{308}',
        '˚' | '°' => '\u{30a}',
        '˝' => '\u{30b}',
        'ˇ' => '\u{30c}',
        '¸' => '\u{327}',
        '˛' => '\u{328}',
        mark @ '\u{300}'..='\u{36f}' => mark,
        _ => return None,
    };
    chars.next().is_none().then_some(mark)
}
