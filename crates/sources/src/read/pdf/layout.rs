//! Joins the glyphs of a page to words and lines, by their positions.
//!
//! A PDF need not contain spaces: many programs place each word, or each glyph, on its own. So a
//! gap between two glyphs of a line is a space, and a move to another line is a line break.

use hayro_interpret::font::GlyphRun;
use hayro_interpret::hayro_syntax::object::{Dict, String as PdfString};
use hayro_interpret::kurbo::BezPath;
use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask,
};

use super::accents::join_accents;
use super::direction::{LettersByDirection, in_reading_order, sort_by_position};
use super::glyph::{Place, PlacedText, SOFT_HYPHEN, is_right_to_left, readable, width_of_run};
use super::superscripts::mark_superscripts;
use super::text_string;
use crate::read::MAX_TEXT_BYTES;

/// In em. A wider gap separates words. The space of common fonts is 0.25 em or wider.
const WORD_GAP: f64 = 0.14;
/// In em. Letters with wider spacing are separate words, such as the cells of a table.
const MAX_LETTER_SPACING: f64 = 0.5;
/// Fewer gaps do not show the letter spacing of a line.
const MIN_SPACED_GAPS: usize = 5;
/// In em. A larger distance between baselines is another line. Superscripts are closer.
const LINE_STEP: f64 = 0.55;
/// In em. A larger distance separates paragraphs.
const PARAGRAPH_STEP: f64 = 1.9;
/// Limits the memory for the places of glyphs.
const MAX_LINE_GLYPHS: usize = 20_000;
/// In em. The same text within this distance was drawn twice, to look bold.
const SAME_PLACE: f64 = 0.1;

/// The text of a page.
#[derive(Default)]
pub(super) struct PageText {
    text: String,
    line: Vec<PlacedText>,
    /// Whether the line has Hebrew or Arabic letters.
    is_right_to_left: bool,
    /// Of all texts that were placed.
    placed_bytes: usize,
    unreadable_glyphs: usize,
    letters: LettersByDirection,
    /// The place of the last run, and its text.
    last_run: Option<(Place, String)>,
    /// How many sequences of marked content are open.
    marked_depth: usize,
    replacement: Option<Replacement>,
}

/// A sequence of marked content whose text is in its `ActualText`, and not in its glyphs.
struct Replacement {
    depth: usize,
    text: String,
    /// Of the glyphs.
    place: Option<Place>,
}

impl PageText {
    pub(super) const fn has_unreadable_glyphs(&self) -> bool {
        self.unreadable_glyphs > 0
    }

    pub(super) fn finish(mut self) -> String {
        self.end_replacement();
        self.end_line();
        self.text
    }

    pub(super) const fn is_too_long(&self) -> bool {
        self.placed_bytes > MAX_TEXT_BYTES
    }

    /// Places a run, unless it was drawn before at the same place, to look bold.
    fn place_run(&mut self, run: Vec<PlacedText>) {
        let Some(first) = run.first().map(|first| first.place) else {
            return;
        };
        let text: String = run.iter().map(|glyph| glyph.text.as_str()).collect();
        let is_repeated = self.last_run.as_ref().is_some_and(|(last, last_text)| {
            let distance = (last.start - first.start).hypot();
            *last_text == text && distance < SAME_PLACE * first.size()
        });
        if !is_repeated {
            self.placed_bytes += text.len();
            run.into_iter().for_each(|glyph| self.place(glyph));
        }
        self.last_run = Some((first, text));
    }

    fn place(&mut self, mut glyph: PlacedText) {
        let is_right_to_left = is_right_to_left(&glyph.text);
        let is_second = self.line.len() == 1;
        if let Some(last) = self.line.last_mut() {
            if (is_second || last.place.is_vertical()) && last.is_directly_above(&glyph) {
                last.place.turn_down();
                glyph.place.turn_down();
            }
            let (along, across) = last.place.step_to(&glyph.place);
            let size = glyph.place.size().max(last.place.size());
            let is_back = along * size < -size && !is_right_to_left && !self.is_right_to_left;
            let is_full = self.line.len() >= MAX_LINE_GLYPHS;
            if across.abs() > LINE_STEP || is_back || is_full {
                self.end_line();
                self.text.push_str(if across.abs() > PARAGRAPH_STEP {
                    "\n\n"
                } else {
                    "\n"
                });
            }
        }
        self.is_right_to_left |= is_right_to_left;
        self.line.push(glyph);
    }

    /// Writes the line, with spaces where there are gaps.
    fn end_line(&mut self) {
        let mut line = join_accents(std::mem::take(&mut self.line));
        let is_right_to_left = std::mem::take(&mut self.is_right_to_left);
        if is_right_to_left {
            line = sort_by_position(line);
        } else {
            mark_superscripts(&mut line);
        }
        let words = parts_of(&line);
        let words = if is_right_to_left {
            in_reading_order(&words, &mut self.letters)
        } else {
            words.concat()
        };
        self.push_line(words.trim());
    }

    /// Places the text of marked content, instead of its glyphs.
    fn end_replacement(&mut self) {
        let Some(Replacement { text, place, .. }) = self.replacement.take() else {
            return;
        };
        if let Some(place) = place.filter(|_| !text.is_empty()) {
            self.place_run(vec![PlacedText { text, place }]);
        }
    }

    /// Joins a word that is hyphenated at the end of the line above.
    fn push_line(&mut self, line: &str) {
        let above = self.text.strip_suffix('\n');
        let hyphenated = above.and_then(|above| match above.strip_suffix(SOFT_HYPHEN) {
            Some(word) => Some(word),
            None => above.strip_suffix(['-', '\u{2010}']).filter(|word| {
                word.ends_with(char::is_alphabetic) && line.starts_with(char::is_lowercase)
            }),
        });
        if let Some(word) = hyphenated {
            let end = word.len();
            self.text.truncate(end);
        }
        self.text.push_str(line);
    }
}

/// The texts of the glyphs, and spaces where there are gaps.
fn parts_of(line: &[PlacedText]) -> Vec<&str> {
    let pairs = || line.iter().zip(line.iter().skip(1));
    let gaps: Vec<f64> = pairs()
        .map(|(one, next)| one.place.step_to(&next.place).0)
        .collect();
    let between_letters = pairs().zip(&gaps).filter_map(|((one, next), gap)| {
        let is_letter = |text: &PlacedText| text.text.chars().all(char::is_alphanumeric);
        (is_letter(one) && is_letter(next)).then_some(*gap)
    });
    let word_gap = WORD_GAP + letter_spacing(between_letters.collect());
    let mut parts: Vec<&str> = Vec::with_capacity(line.len() + line.len() / 4);
    for (index, glyph) in line.iter().enumerate() {
        let gap = index.checked_sub(1).and_then(|before| gaps.get(before));
        let is_gap = gap.is_some_and(|gap| *gap > word_gap);
        let has_space = parts.last().is_none_or(|before| before.ends_with(' '));
        // The dots that lead to a page number stay together.
        let is_leader = glyph.text == "." && parts.last() == Some(&".");
        if is_gap && !has_space && !is_leader && !glyph.text.starts_with(' ') {
            parts.push(" ");
        }
        parts.push(&glyph.text);
    }
    parts
}

/// The lower quartile of the gaps between letters, which is 0 unless the letters are spaced. In a
/// line of short words or a formula, more than half of the gaps can separate words.
fn letter_spacing(mut gaps: Vec<f64>) -> f64 {
    if gaps.len() < MIN_SPACED_GAPS {
        return 0.0;
    }
    gaps.sort_by(f64::total_cmp);
    let quartile = gaps.get(gaps.len() / 4).copied().unwrap_or_default();
    if quartile > MAX_LETTER_SPACING {
        0.0
    } else {
        quartile.max(0.0)
    }
}

impl<'a> Device<'a> for PageText {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        if self.is_too_long() {
            return;
        }
        let width = width_of_run(run, props.transform);
        let placed = run
            .glyphs()
            .iter()
            .filter_map(|glyph| PlacedText::new(glyph, run.writing_mode(), props.transform, width));
        if let Some(replacement) = &mut self.replacement {
            for glyph in placed {
                replacement.extend_to(glyph.place);
            }
            return;
        }
        let placed: Vec<PlacedText> = placed.filter(|glyph| !glyph.text.is_empty()).collect();
        self.unreadable_glyphs += run.glyphs().len() - placed.len();
        self.place_run(placed);
    }

    fn begin_marked_content(&mut self, _: &[u8], properties: Option<&Dict<'_>>) {
        self.marked_depth += 1;
        if self.replacement.is_some() || self.is_too_long() {
            return;
        }
        let actual =
            properties.and_then(|properties| properties.get::<PdfString<'_>>("ActualText"));
        self.replacement = actual.map(|text| Replacement {
            depth: self.marked_depth,
            text: readable(&text_string(text.as_bytes())).unwrap_or_default(),
            place: None,
        });
    }

    fn end_marked_content(&mut self) {
        let depth = self.marked_depth;
        self.marked_depth = depth.saturating_sub(1);
        if self
            .replacement
            .as_ref()
            .is_some_and(|replacement| replacement.depth >= depth)
        {
            self.end_replacement();
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

impl Replacement {
    fn extend_to(&mut self, place: Place) {
        match &mut self.place {
            Some(all) => all.extend_to(&place),
            None => self.place = Some(place),
        }
    }
}
