//! Removes the secrets that a run sends from what servers send back.
//!
//! A server may echo the headers that it received: in an answer, an error, a tool's
//! description or the name of a model. All received text is scrubbed before it is cut, stored,
//! logged or sent on, so nothing that leaves a run contains a secret.
//!
//! A secret is found in any letter case and behind escapes of JSON, URLs and HTML, up to three
//! levels deep ([`units`]). Other forms of a secret are not found, such as base64 or a secret
//! in two parts.

mod reply;
mod search;
mod units;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use search::{MatchResult, Search};
use units::begins_escape;

/// Replaces a secret.
const MARK: &str = "[secret]";
/// A shorter value is too common to remove: that would garble the text.
const SHORTEST_SECRET: usize = 6;
/// A shorter value of letters and hyphens is a word, not a key.
const SHORTEST_WORD: usize = 12;
/// A shorter beginning of a secret, where a text was cut, reveals nothing.
const SHORTEST_PREFIX: usize = 4;

/// Local model servers accept any key, and their documentation suggests words such as `ollama`
/// or `lm-studio`. Removing such a word would garble answers that mention it.
fn is_placeholder(secret: &[u8]) -> bool {
    secret.len() < SHORTEST_WORD
        && secret
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

/// What can begin at a byte.
const NOTHING: u8 = 0;
const SECRET: u8 = 1;
const ESCAPE: u8 = 2;

/// Finds secrets in texts, also behind escapes. Takes time in proportion to the length of the
/// text.
#[derive(Clone)]
pub struct SecretScrubber {
    /// In lower case.
    secrets: Vec<Box<[u8]>>,
    /// What can begin at each byte value.
    classes: [u8; 256],
}

/// Does not show the secrets.
impl fmt::Debug for SecretScrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretScrubber")
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

impl Default for SecretScrubber {
    fn default() -> Self {
        Self::new([])
    }
}

/// Whether a text is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextEnd {
    Whole,
    /// The text was cut, possibly within a secret.
    Cut,
}

impl SecretScrubber {
    /// A scrubber for these values. For `Bearer x` it also removes `x` alone.
    pub fn new<'s>(values: impl IntoIterator<Item = &'s str>) -> Self {
        let mut scrubber = Self {
            secrets: Vec::new(),
            classes: [NOTHING; 256],
        };
        for value in values {
            scrubber.add(value);
        }
        scrubber
    }

    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    fn add(&mut self, value: &str) {
        // Spaces around a header's value do not belong to it (RFC 9110 section 5.5).
        let value = value.trim();
        self.add_whole(value);
        if let Some((scheme, credentials)) = value.split_once(' ')
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
            && !credentials.contains(' ')
        {
            self.add_whole(credentials);
        }
    }

    fn add_whole(&mut self, secret: &str) {
        let secret: Box<[u8]> = secret
            .bytes()
            .map(|byte| byte.to_ascii_lowercase())
            .collect();
        let is_in_mark = MARK
            .as_bytes()
            .windows(secret.len().max(1))
            .any(|part| *part == *secret);
        if secret.len() < SHORTEST_SECRET
            || is_placeholder(&secret)
            || is_in_mark
            || self.secrets.contains(&secret)
        {
            return;
        }
        for byte in 0..=u8::MAX {
            let begins_secret = secret.first() == Some(&byte.to_ascii_lowercase());
            if let Some(class) = self.classes.get_mut(usize::from(byte)) {
                *class |= if begins_secret { SECRET } else { NOTHING };
                // A plus is a space in a form, and secrets do not begin with a space.
                *class |= if begins_escape(byte) && byte != b'+' {
                    ESCAPE
                } else {
                    NOTHING
                };
            }
        }
        self.secrets.push(secret);
    }

    /// Returns the text without secrets.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.scrub_part(text, TextEnd::Whole)
    }

    /// Like [`Self::scrub`], for a text that may have been cut. Also removes the beginning of a
    /// secret at the end of the text.
    pub(crate) fn scrub_part<'t>(&self, text: &'t str, end: TextEnd) -> Cow<'t, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let (spans, shown) = self.find(text.as_bytes(), end);
        let shown = text.get(..shown).unwrap_or_default();
        if spans.is_empty() {
            return Cow::Borrowed(shown);
        }
        let mut scrubbed = String::with_capacity(shown.len());
        let mut copied = 0;
        for span in spans {
            scrubbed.push_str(shown.get(copied..span.start).unwrap_or_default());
            scrubbed.push_str(MARK);
            copied = span.end;
        }
        scrubbed.push_str(shown.get(copied..).unwrap_or_default());
        Cow::Owned(scrubbed)
    }

    /// The spans of secrets in order, and how much of the text may be shown. Secrets that overlap
    /// become one span, so that no part of either remains.
    fn find(&self, text: &[u8], end: TextEnd) -> (Vec<Range<usize>>, usize) {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut shown = text.len();
        let mut search = Search::new(text);
        for (start, &byte) in text.iter().enumerate() {
            let class = self
                .classes
                .get(usize::from(byte))
                .copied()
                .unwrap_or_default();
            if class == NOTHING {
                continue;
            }
            match self.longest_at(&mut search, start, byte, class) {
                MatchResult::Found(found) => match spans.last_mut() {
                    Some(last) if last.end > start => last.end = last.end.max(found),
                    _ => spans.push(start..found),
                },
                MatchResult::RanOut(matched)
                    if end == TextEnd::Cut && matched >= SHORTEST_PREFIX =>
                {
                    shown = shown.min(start);
                }
                MatchResult::RanOut(_) | MatchResult::NotFound => {}
            }
        }
        spans.retain(|span| span.start < shown);
        if let Some(last) = spans.last_mut()
            && last.end > shown
        {
            // The secret that was cut begins within this one.
            last.end = text.len();
            shown = text.len();
        }
        (spans, shown)
    }

    /// The longest match that begins here.
    fn longest_at(
        &self,
        search: &mut Search<'_>,
        start: usize,
        byte: u8,
        class: u8,
    ) -> MatchResult {
        let mut longest = MatchResult::NotFound;
        let mut try_unit = |search: &mut Search<'_>, byte: u8, end: usize| {
            for secret in &self.secrets {
                let Some((first, rest)) = secret.split_first() else {
                    continue;
                };
                if *first == byte {
                    longest = longest.max(search.follow(end, rest));
                }
            }
        };
        if class & ESCAPE == 0 {
            try_unit(search, byte.to_ascii_lowercase(), start + 1);
        } else {
            let units = search.reader.read_units(start);
            units
                .iter()
                .for_each(|unit| try_unit(search, unit.byte, unit.end(start)));
        }
        longest
    }
}

/// The secrets that one run sends. Each is added before it is sent and is never removed,
/// because a server may still answer a request that contained a replaced secret. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunSecrets(Arc<Mutex<Arc<SecretScrubber>>>);

impl RunSecrets {
    pub(crate) fn add<'s>(&self, values: impl IntoIterator<Item = &'s str>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scrubber = SecretScrubber::clone(&current);
        for value in values {
            scrubber.add(value);
        }
        *current = Arc::new(scrubber);
    }

    pub(crate) fn scrubber(&self) -> Arc<SecretScrubber> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
