//! The interpretations of a character in a text that may be escaped.
//!
//! A decoder needs to know where an escape begins, and which escapes were applied in which
//! order. Here neither is known, so every interpretation is tried at every position.

/// How deep escapes may be nested, such as JSON in JSON in a URL.
pub(super) const MAX_LEVELS: u8 = 3;
/// Most interpretations of one position. Eight backslashes have eight.
const MAX_UNITS: usize = 12;
/// Longest number of a character reference, with leading zeros.
const MAX_DIGITS: usize = 7;
/// How many positions are cached: more than a character takes behind three escapes.
const MEMO_PLACES: usize = 256;
/// Longest name in [`NAMED`].
const LONGEST_NAME: usize = 6;

/// The character references of HTML for printable ASCII, in lower case.
const NAMED: [(&[u8], u8); 35] = [
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"tab", b'\t'),
    (b"excl", b'!'),
    (b"num", b'#'),
    (b"dollar", b'$'),
    (b"percnt", b'%'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"ast", b'*'),
    (b"midast", b'*'),
    (b"plus", b'+'),
    (b"comma", b','),
    (b"period", b'.'),
    (b"sol", b'/'),
    (b"colon", b':'),
    (b"semi", b';'),
    (b"equals", b'='),
    (b"quest", b'?'),
    (b"commat", b'@'),
    (b"lsqb", b'['),
    (b"lbrack", b'['),
    (b"bsol", b'\\'),
    (b"rsqb", b']'),
    (b"rbrack", b']'),
    (b"hat", b'^'),
    (b"lowbar", b'_'),
    (b"grave", b'`'),
    (b"lcub", b'{'),
    (b"lbrace", b'{'),
    (b"verbar", b'|'),
    (b"rcub", b'}'),
];

/// One interpretation of the character at a position.
#[derive(Clone, Copy, Default)]
pub(super) struct Unit {
    /// In lower case.
    pub(super) byte: u8,
    /// How many nested escapes were undone.
    level: u8,
    /// The length in the text, in bytes.
    length: u16,
}

impl Unit {
    /// An unescaped byte.
    const fn plain(byte: u8) -> Self {
        Self {
            byte: byte.to_ascii_lowercase(),
            level: 0,
            length: 1,
        }
    }

    /// The position after the character.
    pub(super) fn end(self, at: usize) -> usize {
        at + usize::from(self.length)
    }
}

/// All interpretations of one position.
#[derive(Clone, Copy, Default)]
pub(super) struct Units {
    items: [Unit; MAX_UNITS],
    count: usize,
}

impl Units {
    pub(super) fn iter(&self) -> impl Iterator<Item = Unit> {
        self.items.iter().take(self.count).copied()
    }

    fn get(&self, place: usize) -> Option<Unit> {
        self.iter().nth(place)
    }

    fn push(&mut self, unit: Unit) {
        let is_same = |known: &&mut Unit| (known.byte, known.length) == (unit.byte, unit.length);
        if let Some(known) = self.items.iter_mut().take(self.count).find(is_same) {
            known.level = known.level.min(unit.level);
        } else if let Some(free) = self.items.get_mut(self.count) {
            *free = unit;
            self.count += 1;
        }
    }
}

/// Whether an escape may begin with this byte.
pub(super) const fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&' | b'+')
}

/// Part of an escape: its code point, its end, and the deepest nesting of any of its
/// characters.
type Part = (u32, usize, u8);

/// Reads the positions of one text.
pub(super) struct UnitReader<'t> {
    pub(super) text: &'t [u8],
    /// The last positions that were read, by level. Without this cache, each escape would be read
    /// again from each position of the escape around it, which takes exponential time.
    memo: Vec<(usize, Units)>,
}

impl<'t> UnitReader<'t> {
    pub(super) const fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            memo: Vec::new(),
        }
    }

    /// Every interpretation of the text at this position. The first one is the byte itself.
    pub(super) fn read_units(&mut self, at: usize) -> Units {
        self.read_levels(at, MAX_LEVELS)
    }

    fn read_levels(&mut self, at: usize, levels: u8) -> Units {
        let mut units = Units::default();
        let Some(&byte) = self.text.get(at) else {
            return units;
        };
        units.push(Unit::plain(byte));
        if levels == 0 || !begins_escape(byte) {
            return units;
        }
        let slot = usize::from(levels) * MEMO_PLACES + at % MEMO_PLACES;
        match self.memo.get(slot) {
            Some((place, known)) if *place == at => return *known,
            Some(_) => {}
            None => self.memo.resize(
                (usize::from(MAX_LEVELS) + 1) * MEMO_PLACES,
                (usize::MAX, units),
            ),
        }
        let mut place = 0;
        while let Some(unit) = units.get(place) {
            if unit.level < levels && begins_escape(unit.byte) {
                self.unescape(at, unit, levels - 1, &mut units);
            }
            place += 1;
        }
        if let Some(slot) = self.memo.get_mut(slot) {
            *slot = (at, units);
        }
        units
    }

    /// Adds the meaning of an escape that begins with `first`. Its other characters may be escaped
    /// up to `inner` times.
    fn unescape(&mut self, start: usize, first: Unit, inner: u8, units: &mut Units) {
        let at = first.end(start);
        let mut push = |part: Option<Part>| {
            // Headers contain only ASCII, so secrets contain no other characters.
            if let Some((code, end, level)) = part
                && let Ok(byte) = u8::try_from(code)
                && byte.is_ascii()
                && let Ok(length) = u16::try_from(end - start)
            {
                units.push(Unit {
                    level: level.max(first.level) + 1,
                    length,
                    ..Unit::plain(byte)
                });
            }
        };
        match first.byte {
            b'&' => push(self.read_reference(at, inner)),
            b'%' => push(self.read_hex(at, 2, (0, inner))),
            // A space in form encoding.
            b'+' => push(Some((u32::from(b' '), at, 0))),
            // JSON. JavaScript, Python and Markdown use the same escapes.
            _ => {
                for next in self.read_levels(at, inner).iter() {
                    let end = next.end(at);
                    match next.byte {
                        b'u' => push(self.read_hex(end, 4, (next.level, inner))),
                        b'x' => push(self.read_hex(end, 2, (next.level, inner))),
                        b't' => push(Some((u32::from(b'\t'), end, next.level))),
                        byte if byte.is_ascii_punctuation() => {
                            push(Some((u32::from(byte), end, next.level)));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Reads this many hexadecimal digits, nested at least and at most this deep.
    fn read_hex(&mut self, mut at: usize, digits: usize, levels: (u8, u8)) -> Option<Part> {
        let (mut level, inner) = levels;
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.read_byte(at, inner, |byte| byte.is_ascii_hexdigit())?;
            code = code * 16 + char::from(digit.byte).to_digit(16)?;
            (at, level) = (digit.end(at), level.max(digit.level));
        }
        Some((code, at, level))
    }

    /// Reads a character reference of HTML after its `&`.
    fn read_reference(&mut self, at: usize, inner: u8) -> Option<Part> {
        let first = self.read_byte(at, inner, |byte| byte == b'#' || byte.is_ascii_alphabetic())?;
        if first.byte != b'#' {
            return self.read_name(at, inner);
        }
        let at = first.end(at);
        match self.read_byte(at, inner, |byte| byte == b'x') {
            Some(x) => self.read_number(x.end(at), 16, (first.level.max(x.level), inner)),
            None => self.read_number(at, 10, (first.level, inner)),
        }
    }

    fn read_number(&mut self, mut at: usize, radix: u32, levels: (u8, u8)) -> Option<Part> {
        let (mut level, inner) = levels;
        let mut code = 0;
        for digits in 0..=MAX_DIGITS {
            let next = self.read_byte(at, inner, |byte| {
                byte == b';' || char::from(byte).is_digit(radix)
            })?;
            (at, level) = (next.end(at), level.max(next.level));
            if next.byte == b';' {
                return (digits > 0).then_some((code, at, level));
            }
            code = code * radix + char::from(next.byte).to_digit(radix)?;
        }
        None
    }

    fn read_name(&mut self, mut at: usize, inner: u8) -> Option<Part> {
        let (mut name, mut level) = ([0; LONGEST_NAME], 0);
        for letters in 0..=LONGEST_NAME {
            let next =
                self.read_byte(at, inner, |byte| byte == b';' || byte.is_ascii_alphabetic())?;
            (at, level) = (next.end(at), level.max(next.level));
            if next.byte == b';' {
                let name = name.get(..letters)?;
                let (_, byte) = NAMED.iter().find(|(known, _)| *known == name)?;
                return Some((u32::from(*byte), at, level));
            }
            *name.get_mut(letters)? = next.byte;
        }
        None
    }

    /// The first accepted interpretation of this position.
    fn read_byte(&mut self, at: usize, levels: u8, accept: impl Fn(u8) -> bool) -> Option<Unit> {
        let plain = Unit::plain(*self.text.get(at)?);
        match begins_escape(plain.byte) {
            false => accept(plain.byte).then_some(plain),
            true => self
                .read_levels(at, levels)
                .iter()
                .find(|unit| accept(unit.byte)),
        }
    }
}
