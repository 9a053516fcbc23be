//! The text of a glyph, and its place on the page.

use hayro_interpret::font::{Glyph, GlyphRun, PositionedGlyph};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::kurbo::{Affine, Point, Vec2};
use unicode_normalization::UnicodeNormalization as _;

/// The unit of glyph space.
const EM: f64 = 1000.0;
pub(super) const SOFT_HYPHEN: char = '\u{ad}';

#[derive(Clone, Debug)]
pub(super) struct PlacedText {
    /// Empty if the font does not say which character the glyph is.
    pub(super) text: String,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: Point,
    pub(super) end: Point,
    /// The direction of the line, with the length of one em.
    em: Vec2,
    /// From the top of the glyph to its bottom, with the length of one em.
    down: Vec2,
}

impl PlacedText {
    /// `width` scales the advance, for text that is condensed or expanded.
    pub(super) fn new(
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
        let place = Place {
            start: frame.origin,
            end: frame.origin + em * advance,
            em,
            down: frame.down,
        };
        Some(Self {
            text: text_of(glyph).unwrap_or_default(),
            place,
        })
    }

    /// Whether the next glyph is directly below this one, as in vertical text that is placed glyph
    /// by glyph.
    pub(super) fn is_directly_above(&self, next: &Self) -> bool {
        let size = self.place.down.hypot();
        let step = (next.place.start - self.place.start) / size;
        let down = self.place.down / size;
        is_ideographic(&self.text)
            && is_ideographic(&next.text)
            && (0.8..1.15).contains(&step.dot(down))
            && step.cross(down).abs() < 0.1
            && (0.9..1.1).contains(&(next.place.down.hypot() / size))
    }
}

impl Place {
    pub(super) fn size(&self) -> f64 {
        self.em.hypot()
    }

    /// The direction of the line, with the length 1.
    pub(super) fn along(&self) -> Vec2 {
        self.em / self.size()
    }

    /// The distance from this glyph's end to the start of the next, along and across the line, in
    /// em of the larger of the two.
    pub(super) fn step_to(&self, next: &Self) -> (f64, f64) {
        let size = self.size().max(next.size());
        let gap = next.start - self.end;
        let along = self.along();
        (gap.dot(along) / size, gap.cross(along) / size)
    }

    /// Extends this place to another one that was drawn later, perhaps on another line.
    pub(super) fn extend_to(&mut self, later: &Self) {
        let along = self.along();
        let is_same_line = ((later.start - self.start).cross(along) / self.size()).abs() < 0.5;
        if is_same_line && (later.start - self.start).dot(along) < 0.0 {
            self.start = later.start;
        }
        if !is_same_line || (later.end - self.end).dot(along) > 0.0 {
            self.end = later.end;
        }
    }

    pub(super) fn is_vertical(&self) -> bool {
        self.em == self.down
    }

    pub(super) fn turn_down(&mut self) {
        self.end = self.start + self.down;
        self.em = self.down;
    }
}

/// The matrix of a glyph on the page, as vectors.
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
/// of a substitute font: then the distances of the glyphs show it. Spaces between words make some
/// of them wider, so the lower quartile counts, up to the scale of the glyphs.
pub(super) fn width_of_run(run: &GlyphRun<'_, '_>, page: Affine) -> f64 {
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
        .get(ratios.len() / 4)
        .map_or(stretch, |ratio| ratio.clamp(0.2, stretch.max(1.0)))
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
        BfString::Char(c) => c.to_string(),
        BfString::String(text) => text,
    };
    readable(&text)
}

/// Some programs map a glyph that they do not know to U+0000 or U+FFFD.
pub(super) fn readable(text: &str) -> Option<String> {
    let mut readable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' | '\u{fffd}' => {}
            c if c.is_control() => readable.push(' '),
            c if is_shape_of_letters(c) => readable.extend(letters_of(c)),
            c => readable.push(c),
        }
    }
    Some(readable).filter(|text| !text.is_empty())
}

/// Characters that stand for the shape of a glyph: ligatures, Hebrew and Arabic letters within
/// words, radicals (some programs write 入 as the radical ⼊) and vertical punctuation.
const fn is_shape_of_letters(c: char) -> bool {
    matches!(c, '\u{2f00}'..='\u{2fd5}' | '\u{fb00}'..='\u{fdff}' | '\u{fe10}'..='\u{fe19}'
        | '\u{fe30}'..='\u{fe44}' | '\u{fe70}'..='\u{fefc}')
}

/// The forms of vowel points that stand alone begin with a space.
fn letters_of(c: char) -> impl Iterator<Item = char> {
    let is_point = matches!(c, '\u{fe70}'..='\u{fe7f}');
    [c].into_iter()
        .nfkc()
        .filter(move |c| !is_point || *c != ' ')
}

pub(super) fn is_right_to_left(text: &str) -> bool {
    text.chars().any(
        |c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'),
    )
}

pub(super) fn is_ideographic(text: &str) -> bool {
    let mut chars = text.chars();
    let is_wide = |c| {
        matches!(c, '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
            | '\u{ff01}'..='\u{ff60}' | '\u{20000}'..='\u{3ffff}')
    };
    chars.next().is_some_and(is_wide) && chars.next().is_none()
}
