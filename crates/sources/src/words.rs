//! Splits text into words.
//!
//! A word consists of letters and digits. In scripts without spaces, such as Chinese, Japanese or
//! Thai, every pair of adjacent characters is a word.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

#[derive(Clone, Debug, Default)]
pub(crate) struct Words;

pub(crate) struct WordStream<'a> {
    text: &'a str,
    /// The number of bytes of the text that were read.
    read: usize,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream {
            text,
            read: 0,
            token: Token::default(),
        }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let rest = self.text.get(self.read..).unwrap_or_default();
        let Some(start) = rest.find(char::is_alphanumeric) else {
            return false;
        };
        let word = rest.split_at(start).1;
        let (length, step) = extent(word);
        self.token.text.clear();
        self.token
            .text
            .push_str(word.get(..length).unwrap_or_default());
        self.token.offset_from = self.read + start;
        self.token.offset_to = self.token.offset_from + length;
        self.token.position = self.token.position.wrapping_add(1);
        self.read = self.token.offset_from + step;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// The length of the first word, and the offset at which the next may start.
fn extent(text: &str) -> (usize, usize) {
    let mut letters = text
        .char_indices()
        .take_while(|(_, c)| c.is_alphanumeric())
        .peekable();
    let Some((_, first)) = letters.next() else {
        return (0, 0);
    };
    let after = first.len_utf8();
    if !writes_no_spaces(first) {
        let run = letters.take_while(|(_, c)| !writes_no_spaces(*c)).last();
        let end = run.map_or(after, |(at, c)| at + c.len_utf8());
        return (end, end);
    }
    match letters.next() {
        Some((at, second)) if writes_no_spaces(second) => {
            let end = at + second.len_utf8();
            // The second letter starts the next pair, if a third follows.
            let goes_on = letters
                .next()
                .is_some_and(|(_, third)| writes_no_spaces(third));
            (end, if goes_on { after } else { end })
        }
        _ => (after, after),
    }
}

/// Thai to Burmese, Khmer, kana and ideographs.
const fn writes_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let (mut words, mut tokenizer) = (Vec::new(), Words);
        tokenizer.token_stream(text).process(&mut |token| {
            assert_eq!(token.text, text[token.offset_from..token.offset_to]);
            words.push(token.text.clone());
        });
        words
    }

    #[test]
    fn words_consist_of_letters_and_digits() {
        assert_eq!(
            words("work_mem = 4MB; asyncio.gather(x)"),
            ["work", "mem", "4MB", "asyncio", "gather", "x"]
        );
        assert_eq!(words(" ... "), Vec::<String>::new());
        assert_eq!(words("Zürich–Genève"), ["Zürich", "Genève"]);
    }

    #[test]
    fn scripts_without_spaces_are_split_into_pairs() {
        assert_eq!(words("退货政策"), ["退货", "货政", "政策"]);
        assert_eq!(
            words("a退b 猫。30日以内"),
            ["a", "退", "b", "猫", "30", "日以", "以内"]
        );
    }
}
