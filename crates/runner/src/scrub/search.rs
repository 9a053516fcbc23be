//! Compares a text with a secret from one position, in every interpretation of the text.

use super::units::{UnitReader, begins_escape};

/// Most interpretations of a text that are followed at a time.
const MAX_PLACES: usize = 64;
/// An escape at the end of a text that was cut may lack this many bytes.
const LONGEST_ESCAPE: usize = 64;

/// How far a text matches a secret. The longest match is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MatchResult {
    NotFound,
    /// The text ended after this many bytes of the secret.
    RanOut(usize),
    /// The whole secret, which ends here.
    Found(usize),
}

/// The search of one text, with the positions that are followed.
pub(super) struct Search<'t> {
    pub(super) reader: UnitReader<'t>,
    places: Vec<usize>,
    next: Vec<usize>,
}

impl<'t> Search<'t> {
    pub(super) const fn new(text: &'t [u8]) -> Self {
        Self {
            reader: UnitReader::new(text),
            places: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Matches the text from here with the rest of a secret, whose first byte has been found.
    pub(super) fn follow(&mut self, mut at: usize, rest: &[u8]) -> MatchResult {
        // Most candidates fail at their second byte.
        let mut matched = 0;
        for secret_byte in rest {
            match self.reader.text.get(at) {
                Some(byte) if begins_escape(*byte) => break,
                Some(byte) if byte.to_ascii_lowercase() == *secret_byte => {}
                Some(_) => return MatchResult::NotFound,
                None => return MatchResult::RanOut(matched + 1),
            }
            matched += 1;
            at += 1;
        }
        match rest.get(matched..) {
            None | Some([]) => MatchResult::Found(at),
            Some(rest) => self.follow_escapes(at, rest, matched + 1),
        }
    }

    /// The same for every interpretation of the text.
    fn follow_escapes(&mut self, at: usize, rest: &[u8], mut matched: usize) -> MatchResult {
        self.places.clear();
        self.places.push(at);
        for secret_byte in rest {
            self.next.clear();
            for &place in &self.places {
                for unit in self
                    .reader
                    .read_units(place)
                    .iter()
                    .filter(|unit| unit.byte == *secret_byte)
                {
                    let end = unit.end(place);
                    if self.next.len() < MAX_PLACES && !self.next.contains(&end) {
                        self.next.push(end);
                    }
                }
            }
            if self.next.is_empty() {
                return match self.places.iter().any(|place| self.is_cut_off(*place)) {
                    true => MatchResult::RanOut(matched),
                    false => MatchResult::NotFound,
                };
            }
            std::mem::swap(&mut self.places, &mut self.next);
            matched += 1;
        }
        self.places
            .iter()
            .max()
            .map_or(MatchResult::NotFound, |end| MatchResult::Found(*end))
    }

    /// Whether the text ends here, or possibly within an escape.
    fn is_cut_off(&self, place: usize) -> bool {
        match self.reader.text.get(place..) {
            None | Some([]) => true,
            Some([first, ..]) if !begins_escape(*first) => false,
            Some(rest) => rest.len() < LONGEST_ESCAPE && rest.iter().all(u8::is_ascii_graphic),
        }
    }
}
