//! Unicode forms of a text: one to read, and one to search.

use unicode_normalization::UnicodeNormalization as _;

/// The form that is stored and shown: NFC, with `\n` as line end, without characters that are not
/// visible and do not change how others look.
pub(crate) fn readable(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let visible = text.chars().filter(|c| !is_break_hint(*c));
    visible
        .map(|c| match c {
            '\r' | '\u{85}' | '\u{2028}' => '\n',
            '\u{2029}' => '\n',
            c => c,
        })
        .nfc()
        .collect()
}

/// The form in which words are compared: compatibility characters (ligatures, full-width letters)
/// are replaced, and case, accents, vowel points and invisible characters do not count.
pub(crate) fn searchable(text: &str) -> String {
    let mut after_accented_script = false;
    // Compatibility would join these to the word before them: "Acme™" has the word "Acme".
    let apart = text.chars().flat_map(|c| match c {
        '™' | '℠' => [Some(' '), None],
        '\u{bc}'..='\u{be}' | '\u{2150}'..='\u{215e}' | '\u{2189}' => [Some(' '), Some(c)],
        c => [Some(c), None],
    });
    let decomposed = apart
        .flatten()
        .nfkd()
        .filter(move |c| {
            if matches!(c, '\u{300}'..='\u{36f}') {
                return !after_accented_script;
            }
            after_accented_script =
                matches!(c, 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{3ff}');
            !is_break_hint(*c) && !is_not_compared(*c)
        })
        .map(|c| if c == 'ς' { 'σ' } else { c });
    decomposed.nfc().collect()
}

/// Soft hyphens, and marks of width zero that allow or forbid a line break.
const fn is_break_hint(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// Joiners, directional marks, variation selectors, and the points of Arabic and Hebrew.
const fn is_not_compared(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2061}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
        | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'
        | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readable_form_is_composed_and_has_no_invisible_breaks() {
        for (text, expected) in [
            ("Mu\u{308}ller", "Müller"),
            ("gu\u{ad}aran\u{ad}tee", "guarantee"),
            ("re\u{200b}fund \u{feff}a\u{2060}b", "refund ab"),
            ("a\rb\r\nc\u{2028}d", "a\nb\nc\nd"),
            ("\u{fb01}nd ½ 👩\u{200d}🚒", "\u{fb01}nd ½ 👩\u{200d}🚒"),
        ] {
            assert_eq!(readable(text), expected);
        }
    }

    #[test]
    fn equal_words_have_the_same_searchable_form() {
        for (one, other) in [
            ("Mu\u{308}ller", "Müller"),
            ("re\u{ad}fund", "refund"),
            ("re\u{200b}fund", "refund"),
            ("\u{fb01}nd o\u{fb03}ce", "find office"),
            ("ＡＢＣ１２３", "ABC123"),
            ("ｶﾞｲﾄﾞ", "ガイド"),
            ("か\u{3099}", "が"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("ΟΔΟς", "ΟΔΟσ"),
            ("τόνος", "τονος"),
            ("كِتَاب", "كتاب"),
            ("كـتاب", "كتاب"),
            ("שָׁלוֹם", "שלום"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("\u{feb3}\u{fefc}", "سلا"),
            ("x² ℌ", "x2 H"),
        ] {
            assert_eq!(searchable(one), searchable(other), "{one} {other}");
        }
        assert_eq!(searchable("ガイド й"), "ガイド й", "letters of their own");
    }
}
