//! Everything that the command writes to stdout and stderr, apart from its log.
//!
//! A client command prints text that others wrote: an agent's name, a model's answer, a
//! server's error. A terminal executes control characters, so such a text could change
//! the window's title, clear the screen, write to the clipboard or make one text look
//! like another. On a terminal, control characters are therefore shown as `\u001b`. A
//! pipe or a file gets the text unchanged, because programs need the original.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Prints one line on stdout. Ignores a closed pipe.
pub fn print_line(line: impl AsRef<str>) {
    write_line(io::stdout().lock(), line.as_ref());
}

/// Prints one line on stderr.
pub fn eprint_line(line: impl AsRef<str>) {
    write_line(io::stderr().lock(), line.as_ref());
}

fn write_line(mut stream: impl Write + IsTerminal, line: &str) {
    let line = if stream.is_terminal() {
        printable(line)
    } else {
        Cow::Borrowed(line)
    };
    let _ = writeln!(stream, "{line}");
}

/// Replaces control characters by JSON escapes, so that JSON stays valid. Line feeds, tabs
/// and CRLF stay unchanged.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let ends_line = character == '\r' && characters.peek() == Some(&'\n');
        if is_unsafe(character) && !ends_line {
            // Writing to a String cannot fail. All unsafe characters have at most four digits.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Control characters, including C1, which some terminals execute in UTF-8 too; the two
/// separators that some terminals show as line breaks; and characters that change the
/// direction of text
/// (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>).
fn is_unsafe(character: char) -> bool {
    let is_control = character.is_control() && character != '\n' && character != '\t';
    let is_direction = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_control || is_direction || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_overrides_are_shown_as_escapes() {
        for (text, shown) in [
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\u{1b}[2J", "\\u001b[2J"),
            ("a\rb", "a\\u000db"),
            ("\u{8}\u{7f}\0", "\\u0008\\u007f\\u0000"),
            ("\u{9b}2J\u{85}", "\\u009b2J\\u0085"),
            ("\u{202e}cod.exe\u{2066}", "\\u202ecod.exe\\u2066"),
            ("a\u{2028}b", "a\\u2028b"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn ordinary_text_is_shown_unchanged() {
        for text in ["", "a\tb\nc", "a\r\nb", "„Grüße“ 日本語 שלום 👩‍👩‍👧", "\\u001b"]
        {
            assert_eq!(printable(text), text);
        }
    }
}
