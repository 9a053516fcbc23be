//! Separates reasoning that a server left in the text of a reply from the answer.
//!
//! Servers without a reasoning parser send `<think>…</think>` as part of the text. Some chat
//! templates put the opening tag into the prompt, so the reply has only the closing one.
//! Takes time in proportion to the length of the text.

use serde::de::IgnoredAny;

/// Opening and closing tags: DeepSeek, Qwen and others; Amazon Nova; Gemini; Seed; Magistral;
/// Command A; Kimi.
const TAGS: [(&str, &str); 7] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
];
const FENCE: &str = "```";
/// Tokens of gpt-oss: `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final…`.
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const START: &str = "<|start|>";
const ENDS: [&str; 4] = ["<|end|>", "<|return|>", "<|call|>", START];
/// With what a tag or a code fence begins.
const BEGINNINGS: [char; 4] = ['<', '[', '◁', '`'];

/// A text without its reasoning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SplitText {
    pub(super) thought: String,
    pub(super) answer: String,
}

/// Returns `None` if the text has no reasoning. A tag that the text only mentions, in prose, in
/// code or in a JSON string, does not count.
pub(super) fn split_thinking(text: &str) -> Option<SplitText> {
    if is_json(text) {
        return None;
    }
    if let Some(split) = split_channels(text.trim()) {
        return Some(split);
    }
    let mut splitter = Splitter {
        text,
        answer_from: 0,
        answer: Vec::new(),
        thoughts: Vec::new(),
        has_text: false,
        is_fenced: false,
        mentions_opening: false,
        unclosed: [false; TAGS.len()],
    };
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(BEGINNINGS)) {
        let start = at + found;
        splitter.has_text |= !part(text, at, start).trim().is_empty();
        at = splitter.step(start);
    }
    if splitter.thoughts.is_empty() {
        return None;
    }
    splitter
        .answer
        .push(part(text, splitter.answer_from, text.len()));
    Some(SplitText::new(
        &splitter.thoughts,
        &splitter.answer.concat(),
    ))
}

impl SplitText {
    fn new(thoughts: &[&str], answer: &str) -> Self {
        let thoughts = thoughts.iter().map(|thought| thought.trim());
        let thoughts: Vec<&str> = thoughts.filter(|thought| !thought.is_empty()).collect();
        Self {
            thought: thoughts.join("\n\n"),
            answer: answer.trim().to_owned(),
        }
    }
}

/// Separates the channels of gpt-oss. Its tool calls become those of Mistral, which
/// [`super::written_calls`] finds.
fn split_channels(text: &str) -> Option<SplitText> {
    if let Some(rest) = text.strip_prefix("analysis") {
        // Some servers remove the special tokens.
        let (thought, answer) = rest.split_once("assistantfinal")?;
        return Some(SplitText::new(&[thought], answer));
    }
    if !text.starts_with(CHANNEL) && !text.starts_with(START) {
        return None;
    }
    let (mut thoughts, mut answer, mut role) = (Vec::new(), String::new(), "");
    for part in text.split(CHANNEL) {
        if let Some((header, body)) = part.split_once(MESSAGE) {
            let body = ENDS.iter().fold(body, |body, end| {
                body.split_once(end).map_or(body, |(before, _)| before)
            });
            match recipient(header).or(recipient(role)) {
                Some(name) => answer.push_str(&format!("[TOOL_CALLS]{name}[ARGS]{body}\n")),
                None if header.starts_with("final") || header.starts_with(START) => {
                    answer.push_str(body);
                }
                None => thoughts.push(body),
            }
        }
        role = part.rsplit_once(START).map_or("", |(_, role)| role);
    }
    Some(SplitText::new(&thoughts, &answer))
}

/// The tool that a message of gpt-oss is for.
fn recipient(header: &str) -> Option<&str> {
    let (_, name) = header.split_once("to=")?;
    name.split([' ', '<'])
        .next()
        .filter(|name| !name.is_empty())
}

/// A whole JSON text, whose strings may contain anything.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn part(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap_or_default()
}

struct Splitter<'t> {
    text: &'t str,
    /// Where the part that is neither reasoning nor in `answer` begins.
    answer_from: usize,
    answer: Vec<&'t str>,
    thoughts: Vec<&'t str>,
    /// Whether there is more than white space since the beginning or the last closing tag.
    has_text: bool,
    is_fenced: bool,
    /// Whether the answer has an opening tag that does not count. Then a closing one does not.
    mentions_opening: bool,
    /// The tags that are not closed in the rest of the text.
    unclosed: [bool; TAGS.len()],
}

impl Splitter<'_> {
    /// Looks at what begins at `start`, and returns where to look next.
    fn step(&mut self, start: usize) -> usize {
        let rest = part(self.text, start, self.text.len());
        if rest.starts_with(FENCE) {
            self.is_fenced = !self.is_fenced;
            self.has_text = true;
            return start + FENCE.len();
        }
        for (kind, (opening, closing)) in TAGS.iter().enumerate() {
            if starts_with(rest, opening) {
                return self.at_opening(kind, start, start + opening.len());
            }
            if starts_with(rest, closing) {
                return self.at_closing(start, start + closing.len());
            }
        }
        self.has_text = true;
        start + rest.chars().next().map_or(1, char::len_utf8)
    }

    fn at_opening(&mut self, kind: usize, start: usize, end: usize) -> usize {
        let closing = TAGS.get(kind).map_or("", |(_, closing)| closing);
        let is_leading = !self.has_text;
        let is_candidate = is_leading || (!self.is_fenced && begins_line(self.text, start));
        if is_candidate {
            let close = self.find_closing(kind, closing, end);
            let is_alone = ends_line(self.text, end);
            let counts = match close {
                // Between two parts of an answer, only from a model that began with reasoning.
                Some(_) => is_leading || !self.thoughts.is_empty(),
                None => is_leading || is_alone,
            };
            if counts {
                self.answer.push(part(self.text, self.answer_from, start));
                let thought_end = close.unwrap_or(self.text.len());
                self.thoughts.push(part(self.text, end, thought_end));
                self.answer_from = close.map_or(thought_end, |close| close + closing.len());
                return self.answer_from;
            }
        }
        self.mentions_opening = true;
        self.has_text = true;
        end
    }

    fn at_closing(&mut self, start: usize, end: usize) -> usize {
        if self.is_fenced || self.mentions_opening || is_mention(self.text, start, end) {
            self.has_text = true;
            return end;
        }
        self.thoughts.push(part(self.text, self.answer_from, start));
        self.answer_from = end;
        self.has_text = false;
        end
    }

    fn find_closing(&mut self, kind: usize, closing: &str, from: usize) -> Option<usize> {
        let unclosed = self.unclosed.get_mut(kind)?;
        if *unclosed {
            return None;
        }
        let found = find_ignoring_case(self.text, from, closing);
        *unclosed = found.is_none();
        found
    }
}

fn starts_with(text: &str, tag: &str) -> bool {
    text.get(..tag.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(tag))
}

fn find_ignoring_case(text: &str, from: usize, tag: &str) -> Option<usize> {
    let first = tag.chars().next()?;
    let mut at = from;
    while let Some(found) = text.get(at..)?.find(first) {
        let start = at + found;
        if starts_with(part(text, start, text.len()), tag) {
            return Some(start);
        }
        at = start + first.len_utf8();
    }
    None
}

/// Whether there is only white space before this place in its line.
fn begins_line(text: &str, at: usize) -> bool {
    let before = part(text, 0, at).trim_end_matches([' ', '\t']);
    before.is_empty() || before.ends_with('\n')
}

fn ends_line(text: &str, at: usize) -> bool {
    let after = part(text, at, text.len()).trim_start_matches([' ', '\t', '\r']);
    after.is_empty() || after.starts_with('\n')
}

/// Whether a sentence is about the closing tag: it is quoted, followed by punctuation, or
/// followed by a lower-case word on the same line.
fn is_mention(text: &str, start: usize, end: usize) -> bool {
    let is_quote = |quote: char| matches!(quote, '`' | '"' | '\'' | '“' | '”' | '‘' | '’' | '(');
    let (before, after) = (part(text, 0, start), part(text, end, text.len()));
    let next = after.chars().next();
    if before.ends_with(is_quote) && next.is_some_and(|next| is_quote(next) || next == ')') {
        return true;
    }
    if next.is_some_and(|next| matches!(next, ',' | '.' | ';' | ':' | '?' | '!' | ')')) {
        return !begins_line(text, start);
    }
    let word = after.trim_start_matches([' ', '\t']).chars().next();
    before.ends_with([' ', '\t'])
        && after.starts_with([' ', '\t'])
        && !begins_line(text, start)
        && word.is_some_and(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_is_separated_from_the_answer() {
        for (text, thought, answer) in [
            ("<think>\nplan\n</think>\n\nParis", "plan", "Paris"),
            ("<think>plan</think>Paris", "plan", "Paris"),
            ("\n <THINK>plan</Think> Paris", "plan", "Paris"),
            ("<think></think>\nParis", "", "Paris"),
            ("plan\n</think>\n\nParis", "plan", "Paris"),
            ("plan</think>Paris", "plan", "Paris"),
            ("my plan </think> Paris", "my plan", "Paris"),
            ("</think>Paris", "", "Paris"),
            ("<thinking> plan</thinking>\n{\"a\":1}", "plan", "{\"a\":1}"),
            ("<thought>plan</thought>Paris", "plan", "Paris"),
            ("[THINK]plan[/THINK]Paris", "plan", "Paris"),
            ("◁think▷plan◁/think▷Paris", "plan", "Paris"),
            (
                "<|START_THINKING|>plan<|END_THINKING|>Paris",
                "plan",
                "Paris",
            ),
            ("<think>plan", "plan", ""),
            ("<think>plan</thinking>Paris", "plan</thinking>Paris", ""),
            ("Paris\n<think>\nbut wait", "but wait", "Paris"),
            ("<think>a</think>Par<thinking>", "a", "Par<thinking>"),
            ("<think>a</think>b</think>Paris", "a\n\nb", "Paris"),
            (
                "<thinking>a</thinking>One.\n<thinking>b</thinking>\nTwo.",
                "a\n\nb",
                "One.\n\nTwo.",
            ),
            (
                "<think>a\n```\nx\n```\n</think>Paris",
                "a\n```\nx\n```",
                "Paris",
            ),
        ] {
            let split = split_thinking(text).unwrap_or_else(|| panic!("{text}: no reasoning"));
            assert_eq!(
                (split.thought.as_str(), split.answer.as_str()),
                (thought, answer),
                "{text}"
            );
        }
    }

    #[test]
    fn the_channels_of_gpt_oss_are_separated() {
        let analysis = "<|channel|>analysis<|message|>plan<|end|><|start|>assistant";
        for (text, thought, answer) in [
            (
                format!("{analysis}<|channel|>final<|message|>Paris<|return|>"),
                "plan",
                "Paris",
            ),
            (
                format!("<|start|>assistant{analysis}<|channel|>final<|message|>Paris"),
                "plan",
                "Paris",
            ),
            (
                "<|channel|>final <|constrain|>json<|message|>{\"a\":1}".to_owned(),
                "",
                "{\"a\":1}",
            ),
            (
                "analysisplan.assistantfinalParis".to_owned(),
                "plan.",
                "Paris",
            ),
            (
                format!(
                    "{analysis}<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{{\"a\":1}}<|call|>"
                ),
                "plan",
                "[TOOL_CALLS]functions.ping[ARGS]{\"a\":1}",
            ),
            (
                format!("{analysis} to=functions.ping<|channel|>commentary json<|message|>{{}}"),
                "plan",
                "[TOOL_CALLS]functions.ping[ARGS]{}",
            ),
        ] {
            let split = split_thinking(&text).unwrap_or_else(|| panic!("{text}: no reasoning"));
            assert_eq!(
                (split.thought.as_str(), split.answer.as_str()),
                (thought, answer),
                "{text}"
            );
        }
        assert_eq!(split_thinking("analysis of the order: fine"), None);
    }

    #[test]
    fn a_tag_that_is_only_mentioned_stays_in_the_answer() {
        for text in [
            "Paris",
            "Models write <think> before and </think> after their reasoning.",
            "The tag `</think>` ends it.",
            "It ends with \"</think>\" or so.",
            "Close it with the </think> tag.",
            "It ends with </think>.",
            "Use these:\n<think>\n...\n</think>\nto show reasoning.",
            "```xml\n<think>a</think>\n```",
            "Like this:\n```\na</think>b\n```",
            "{\"a\":\"<think>b</think>c\"}",
            "[\"</think>\"]",
            "\"a</think>B\"",
            "1 < 2 and [1] is `x`",
            "<thinker>a</thinker>",
        ] {
            assert_eq!(split_thinking(text), None, "{text}");
        }
    }

    #[test]
    fn many_tags_take_linear_time() {
        for piece in [
            "<think>",
            "</think>",
            "x <think>\n",
            "x\n<think> y\n",
            " ",
            "\n<thought>a",
        ] {
            let text = piece.repeat(1_000_000 / piece.len());
            let _ = split_thinking(&format!("{text}x{text}"));
            let _ = split_thinking(&format!("x{text}"));
        }
    }
}
