//! Joins the glyphs of a page to words and lines, by their positions.
//!
//! A PDF need not contain spaces: many programs place each word, or each glyph, on its own. So a
//! gap between two glyphs of a line is a space, and a move to another line is a line break.

use hayro_interpret::font::{Glyph, GlyphRun, PositionedGlyph};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask,
};

use crate::read::MAX_TEXT_BYTES;

/// The unit of glyph space.
const EM: f64 = 1000.0;
/// In em. A wider gap separates words. The space of common fonts is 0.25 em or wider.
const WORD_GAP: f64 = 0.17;
/// In em. Letters with wider spacing are separate words, such as the cells of a table.
const MAX_LETTER_SPACING: f64 = 0.5;
/// Fewer gaps do not show the letter spacing of a line.
const MIN_SPACED_GAPS: usize = 5;
/// In em. A larger distance between baselines is another line. Superscripts are closer.
const LINE_STEP: f64 = 0.55;
/// In em. A larger distance separates paragraphs.
const PARAGRAPH_STEP: f64 = 1.9;
/// In em. The same text within this distance was drawn twice, to look bold.
const SAME_PLACE: f64 = 0.1;
const SOFT_HYPHEN: char = '\u{ad}';

/// The text of a page.
#[derive(Default)]
pub(super) struct PageText {
    text: String,
    line: Vec<PlacedText>,
    unreadable_glyphs: usize,
    /// The first glyph of the last run, and the run's text.
    last_run: Option<(PlacedText, String)>,
}

/// The text of a glyph and its place on the page.
#[derive(Clone, Debug)]
struct PlacedText {
    text: String,
    start: Point,
    end: Point,
    /// The direction of the line, with the length of one em.
    em: Vec2,
}

impl PlacedText {
    /// `width` scales the advance, for text that is condensed or expanded.
    fn new(
        glyph: &PositionedGlyph<'_>,
        mode: WritingMode,
        page: Affine,
        width: f64,
    ) -> Option<Self> {
        let frame = Frame::new(glyph, page)?;
        let (em, advance) = match mode {
            WritingMode::Vertical => (frame.down, 1.0),
            WritingMode::Horizontal => (frame.along, width * advance_width(glyph) / EM),
        };
        Some(Self {
            text: text_of(glyph)?,
            start: frame.origin,
            end: frame.origin + em * advance,
            em,
        })
    }

    /// The distance from this glyph's end to the start of the next, along and across the line, in
    /// em of the larger of the two.
    fn step_to(&self, next: &Self) -> (f64, f64) {
        let size = self.em.hypot().max(next.em.hypot());
        let along = self.em / self.em.hypot();
        let gap = next.start - self.end;
        let is_leftward =
            is_right_to_left(&next.text) && (next.start - self.start).dot(along) < 0.0;
        let gap_along = if is_leftward {
            (self.start - next.end).dot(along)
        } else {
            gap.dot(along)
        };
        (gap_along / size, gap.cross(along) / size)
    }
}

/// The place of a glyph on the page.
struct Frame {
    origin: Point,
    /// One em along the line, and one em down.
    along: Vec2,
    down: Vec2,
    /// The horizontal scale of the glyph, relative to the vertical one.
    stretch: f64,
}

impl Frame {
    fn new(glyph: &PositionedGlyph<'_>, page: Affine) -> Option<Self> {
        let place = page * glyph.transform();
        let origin = place * Point::ZERO;
        let (across, up) = (
            place * Point::new(EM, 0.0) - origin,
            place * Point::new(0.0, EM) - origin,
        );
        let size = up.hypot();
        let is_usable = origin.is_finite() && size.is_normal() && across.hypot().is_normal();
        is_usable.then(|| Self {
            origin,
            along: across * (size / across.hypot()),
            down: -up,
            stretch: across.hypot() / size,
        })
    }
}

/// The horizontal scale of the advances of a run. The scale of its glyphs shows it, or is the fit
/// of a substitute font: then the distances of the glyphs show it.
fn width_of_run(run: &GlyphRun<'_, '_>, page: Affine) -> f64 {
    let frames: Vec<(Frame, f64)> = run
        .glyphs()
        .iter()
        .filter_map(|glyph| Some((Frame::new(glyph, page)?, advance_width(glyph) / EM)))
        .collect();
    let stretch = frames.first().map_or(1.0, |(frame, _)| frame.stretch);
    if (stretch - 1.0).abs() < 0.01 {
        return 1.0;
    }
    let pairs = frames.iter().zip(frames.iter().skip(1));
    let mut ratios: Vec<f64> = pairs
        .map(|((one, advance), (next, _))| {
            (next.origin - one.origin).hypot() / (one.along.hypot() * advance)
        })
        .filter(|ratio| ratio.is_normal())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
        .get(ratios.len() / 2)
        .map_or(stretch, |ratio| ratio.clamp(0.2, 5.0))
}

fn advance_width(glyph: &Glyph<'_>) -> f64 {
    let width = match glyph {
        Glyph::Outline(glyph) => glyph.advance_width(),
        Glyph::Type3(glyph) => glyph.advance_width(),
    };
    width.map_or(EM / 2.0, f64::from)
}

/// A hyphen with the code of the soft hyphen marks a break within a word.
fn text_of(glyph: &Glyph<'_>) -> Option<String> {
    let text = match glyph.as_unicode()? {
        BfString::Char('-' | '\u{2010}') if glyph.char_code() == u32::from(SOFT_HYPHEN) => {
            SOFT_HYPHEN.to_string()
        }
        BfString::Char(c) => expanded(c).map_or_else(|| c.to_string(), str::to_owned),
        BfString::String(text) => text,
    };
    Some(text.replace(|c: char| c.is_control(), " ")).filter(|text| text != "\u{fffd}")
}

/// The letters of a ligature.
const fn expanded(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => return None,
    })
}

fn is_right_to_left(text: &str) -> bool {
    text.chars().any(
        |c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'),
    )
}

impl PageText {
    pub(super) const fn has_unreadable_glyphs(&self) -> bool {
        self.unreadable_glyphs > 0
    }

    pub(super) fn finish(mut self) -> String {
        self.end_line();
        self.text
    }

    fn place(&mut self, glyph: PlacedText) {
        if let Some(last) = self.line.last() {
            let (along, across) = last.step_to(&glyph);
            let size = glyph.em.hypot().max(last.em.hypot());
            let is_back = along * size < -size && !is_right_to_left(&glyph.text);
            if across.abs() > LINE_STEP || is_back {
                self.end_line();
                self.text.push_str(if across.abs() > PARAGRAPH_STEP {
                    "\n\n"
                } else {
                    "\n"
                });
            }
        }
        self.line.push(glyph);
    }

    /// Writes the line, with spaces where there are gaps.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let gaps: Vec<f64> = line
            .iter()
            .zip(line.iter().skip(1))
            .map(|(one, next)| one.step_to(next).0)
            .collect();
        let word_gap = WORD_GAP + letter_spacing(gaps.clone());
        let mut words = String::new();
        for (index, glyph) in line.iter().enumerate() {
            let gap = index.checked_sub(1).and_then(|before| gaps.get(before));
            let is_gap = gap.is_some_and(|gap| *gap > word_gap);
            if is_gap && !words.ends_with(' ') && !glyph.text.starts_with(' ') {
                words.push(' ');
            }
            words.push_str(&glyph.text);
        }
        self.push_line(words.trim());
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

/// The median gap of a line, which is 0 unless its letters are spaced.
fn letter_spacing(mut gaps: Vec<f64>) -> f64 {
    if gaps.len() < MIN_SPACED_GAPS {
        return 0.0;
    }
    gaps.sort_by(f64::total_cmp);
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    if median > MAX_LETTER_SPACING {
        0.0
    } else {
        median.max(0.0)
    }
}

impl<'a> Device<'a> for PageText {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        if self.text.len() > MAX_TEXT_BYTES {
            return;
        }
        let width = width_of_run(run, props.transform);
        let placed = run
            .glyphs()
            .iter()
            .filter_map(|glyph| PlacedText::new(glyph, run.writing_mode(), props.transform, width));
        let placed: Vec<PlacedText> = placed.collect();
        self.unreadable_glyphs += run.glyphs().len() - placed.len();
        let Some(first) = placed.first().cloned() else {
            return;
        };
        let text: String = placed.iter().map(|glyph| glyph.text.as_str()).collect();
        let is_repeated = self.last_run.as_ref().is_some_and(|(last, last_text)| {
            let distance = (last.start - first.start).hypot();
            *last_text == text && distance < SAME_PLACE * first.em.hypot()
        });
        if !is_repeated {
            placed.into_iter().for_each(|glyph| self.place(glyph));
        }
        self.last_run = Some((first, text));
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
