//! Truncated texts.

/// Truncates a text to `most` bytes and appends a note with its length.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!(
        "{}… [cut, {} bytes in all]",
        &text[..text.floor_char_boundary(most)],
        text.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_with_a_note() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aäb", 2), "a… [cut, 4 bytes in all]");
    }
}
