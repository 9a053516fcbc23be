//! Decodes the bytes of a text. A wrong guess would store words that no search finds, so an
//! encoding is certain, or the document is refused.

use std::ops::RangeInclusive;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::ReadError;

/// The encoding of a page is declared in this many bytes (HTML standard, section 13.2.3.2).
const CHARSET_SEARCH_BYTES: usize = 1024;
/// Bytes in which NUL bytes and control characters are counted.
const SAMPLE_BYTES: usize = 64 * 1024;
/// Text has fewer control characters, of a hundred.
const MAX_CONTROL_PERCENT: usize = 2;
/// Non-ASCII letters that show an encoding other than that of Western Europe.
const MIN_LETTERS: usize = 6;
/// Non-ASCII characters that occur in text in any language, besides letters.
const PUNCTUATION: &str = "\u{a0}€£¥§°©®™«»‹›“”„‚‘’–—…•·¡¿±×÷²³¹½¼¾ªº´µ¶ˆ˜¨¸¢¤¬¦¯‰†‡№\u{ad}※،؛؟٪";

/// Blocks of Unicode with the vowels and symbols of older encodings: Thai, arrows, numbers in
/// circles, shapes, East Asian punctuation and units, and characters of half or full width.
const SYMBOLS: [RangeInclusive<char>; 7] = [
    '\u{e00}'..='\u{e7f}',
    '\u{2190}'..='\u{21ff}',
    '\u{2460}'..='\u{24ff}',
    '\u{25a0}'..='\u{26ff}',
    '\u{3000}'..='\u{303f}',
    '\u{3300}'..='\u{33ff}',
    '\u{ff00}'..='\u{ffef}',
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Of(&'static Encoding),
    Utf32(ByteOrder),
}

/// Decodes a text. The encoding is that of its byte-order mark or of its NUL bytes, else the
/// caller's `charset`, else the one that the document declares, else UTF-8, else what its letters
/// show.
pub(super) fn decoded(
    bytes: &[u8],
    charset: Option<&str>,
    declared: Option<&str>,
) -> Result<String, ReadError> {
    let text = match certain_charset(bytes) {
        Some(certain) => decoded_as(bytes, certain).ok_or_else(|| invalid(certain))?,
        None => decoded_without_mark(bytes, charset, declared)?,
    };
    check_is_text(&text)?;
    Ok(text)
}

impl Charset {
    fn is_ascii_compatible(self) -> bool {
        matches!(self, Self::Of(encoding) if encoding.is_ascii_compatible())
    }
}

fn decoded_without_mark(
    bytes: &[u8],
    charset: Option<&str>,
    declared: Option<&str>,
) -> Result<String, ReadError> {
    let utf8 = str::from_utf8(bytes).ok();
    let chosen = match charset {
        Some(label) => Some(charset_for_label(label).ok_or(ReadError::UnknownCharset)?),
        // A page whose declaration can be read as ASCII is not in UTF-16 (HTML standard).
        None => declared
            .and_then(charset_for_label)
            .filter(|charset| charset.is_ascii_compatible()),
    };
    match (chosen, utf8) {
        // The bytes of another single-byte encoding are valid UTF-8 only if they are ASCII.
        (Some(Charset::Of(encoding)), Some(text)) if encoding.is_single_byte() => {
            Ok(text.to_owned())
        }
        // A declaration of a page is often that of its template. In UTF-16 and UTF-32 a text
        // without NUL bytes has no space and no line break.
        (Some(chosen), Some(text))
            if !has_iso_2022_jp(bytes) && (charset.is_none() || !chosen.is_ascii_compatible()) =>
        {
            Ok(text.to_owned())
        }
        (Some(chosen), _) => match decoded_as(bytes, chosen) {
            Some(text) => Ok(text),
            None if charset.is_some() => Err(invalid(chosen)),
            None => guessed(bytes),
        },
        (None, Some(text)) if !has_iso_2022_jp(bytes) => Ok(text.to_owned()),
        (None, _) => guessed(bytes),
    }
}

/// The escape sequences that select the Japanese characters of ISO-2022-JP.
fn has_iso_2022_jp(bytes: &[u8]) -> bool {
    bytes
        .windows(3)
        .any(|window| matches!(window, b"\x1b$B" | b"\x1b$@"))
}

/// By the byte-order mark, or by NUL bytes, which text contains only in UTF-16 and UTF-32.
fn certain_charset(bytes: &[u8]) -> Option<Charset> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => return Some(Charset::Utf32(ByteOrder::Little)),
        [0, 0, 0xfe, 0xff, ..] => return Some(Charset::Utf32(ByteOrder::Big)),
        _ => {}
    }
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Some(Charset::Of(encoding));
    }
    let sample = bytes
        .get(..SAMPLE_BYTES.min(bytes.len()))
        .unwrap_or_default();
    let mut nuls = [0_usize; 4];
    for (index, _) in sample.iter().enumerate().filter(|(_, byte)| **byte == 0) {
        if let Some(count) = nuls.get_mut(index % 4) {
            *count += 1;
        }
    }
    let units = sample.len() / 4;
    let [first, second, third, fourth] = nuls;
    if first + second + third + fourth == 0 {
        None
    } else if fourth == units && third * 2 > units && bytes.len().is_multiple_of(4) {
        Some(Charset::Utf32(ByteOrder::Little))
    } else if first == units && second * 2 > units && bytes.len().is_multiple_of(4) {
        Some(Charset::Utf32(ByteOrder::Big))
    } else {
        utf16_by_nuls(bytes, sample)
    }
}

/// A text in UTF-16 has spaces, line breaks or digits, which are readable in one byte order only.
fn utf16_by_nuls(bytes: &[u8], sample: &[u8]) -> Option<Charset> {
    // One NUL byte in a text of single bytes, such as at its end, does not make it UTF-16.
    let controls = sample.iter().filter(|byte| byte.is_ascii_control()).count();
    if str::from_utf8(bytes).is_ok() && controls * 4 < sample.len() {
        return None;
    }
    let readable = |encoding: &'static Encoding| {
        decoded_as(bytes, Charset::Of(encoding))
            .filter(|text| check_is_text(text).is_ok())
            .map_or(0, |text| text.chars().filter(char::is_ascii).count())
    };
    let (little, big) = (readable(UTF_16LE), readable(UTF_16BE));
    if little > 2 * big {
        Some(Charset::Of(UTF_16LE))
    } else if big > 2 * little {
        Some(Charset::Of(UTF_16BE))
    } else {
        None
    }
}

fn charset_for_label(label: &str) -> Option<Charset> {
    match label.trim().to_ascii_lowercase().as_str() {
        "utf-32" | "utf-32be" | "ucs-4" => Some(Charset::Utf32(ByteOrder::Big)),
        "utf-32le" => Some(Charset::Utf32(ByteOrder::Little)),
        label => Encoding::for_label(label.as_bytes()).map(Charset::Of),
    }
}

fn decoded_as(bytes: &[u8], charset: Charset) -> Option<String> {
    match charset {
        Charset::Of(encoding) => {
            let (text, _, is_malformed) = encoding.decode(bytes);
            (!is_malformed).then(|| text.into_owned())
        }
        Charset::Utf32(order) => {
            let (units, rest) = bytes.as_chunks::<4>();
            let units = units.iter().map(|unit| match order {
                ByteOrder::Little => u32::from_le_bytes(*unit),
                ByteOrder::Big => u32::from_be_bytes(*unit),
            });
            let text: Option<String> = units.map(char::from_u32).collect();
            text.filter(|_| rest.is_empty())
                .map(|text| text.trim_start_matches('\u{feff}').to_owned())
        }
    }
}

fn invalid(charset: Charset) -> ReadError {
    ReadError::Encoding(match charset {
        Charset::Of(encoding) => encoding.name().to_owned(),
        Charset::Utf32(_) => "UTF-32".to_owned(),
    })
}

/// The encoding that the letters of the text show, if the text is plausible in it.
fn guessed(bytes: &[u8]) -> Result<String, ReadError> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    let text = decoded_as(bytes, Charset::Of(encoding)).filter(|text| {
        encoding != UTF_8
            && is_plausible(text)
            && (encoding == WINDOWS_1252 || has_evidence(text))
            && (encoding.is_single_byte() || !may_be_utf16(bytes))
    });
    text.ok_or(ReadError::UnknownEncoding)
}

/// Fewer letters fit several encodings.
fn has_evidence(text: &str) -> bool {
    let letters = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic());
    letters.count() >= MIN_LETTERS
}

/// Whether no word mixes letters of Latin and other scripts, and no character is rare in texts.
fn is_plausible(text: &str) -> bool {
    let is_common = |c: char| {
        c.is_ascii()
            || c.is_alphabetic()
            || PUNCTUATION.contains(c)
            || SYMBOLS.iter().any(|block| block.contains(&c))
    };
    let is_latin = |c: char| c.is_alphabetic() && c < '\u{250}';
    let is_of_other_alphabet = |c: char| c.is_alphabetic() && ('\u{370}'..'\u{e00}').contains(&c);
    text.chars().all(is_common)
        && !text.split(|c: char| !c.is_alphabetic()).any(|word| {
            let has_case_error = word
                .chars()
                .zip(word.chars().skip(1))
                .any(|(one, next)| one.is_lowercase() && next.is_uppercase() && !next.is_ascii());
            has_case_error || word.contains(is_latin) && word.contains(is_of_other_alphabet)
        })
}

/// UTF-16 without spaces, line breaks and other ASCII characters has no NUL bytes.
fn may_be_utf16(bytes: &[u8]) -> bool {
    let is_east_asian = |c: char| matches!(c, '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff00}'..='\u{ffef}');
    let has_ascii_space = bytes.iter().any(|byte| matches!(byte, b' ' | b'\n'));
    !has_ascii_space
        && [UTF_16LE, UTF_16BE].into_iter().any(|encoding| {
            decoded_as(bytes, Charset::Of(encoding))
                .is_some_and(|text| text.chars().all(is_east_asian))
        })
}

/// Refuses binary data that happens to be decodable.
fn check_is_text(text: &str) -> Result<(), ReadError> {
    let is_control = |c: &char| c.is_control() && !c.is_ascii_whitespace();
    let controls = text.chars().take(SAMPLE_BYTES).filter(is_control).count();
    let count = text.chars().take(SAMPLE_BYTES).count();
    if text.contains('\0') || controls * 100 > count * MAX_CONTROL_PERCENT {
        return Err(ReadError::Binary);
    }
    Ok(())
}

/// The encoding that a page declares, in its XML declaration or in a `meta` element.
pub(super) fn declared_charset(page: &[u8]) -> Option<&str> {
    let start = page.get(..CHARSET_SEARCH_BYTES.min(page.len()))?;
    let xml = start.trim_ascii_start().strip_prefix(b"<?xml");
    let xml = xml.and_then(|rest| rest.get(..find(rest, b"?>")?));
    if let Some(label) = xml.and_then(|declaration| value_of(declaration, b"encoding")) {
        return Some(label);
    }
    let mut rest = start;
    while let Some(at) = find(rest, b"<meta") {
        rest = rest.get(at + 1..)?;
        let tag = rest.get(..find(rest, b">").unwrap_or(rest.len()))?;
        if let Some(label) = value_of(tag, b"charset") {
            return Some(label);
        }
    }
    None
}

/// The value after `name=`, with or without quotation marks.
fn value_of<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let after = tag.get(find(tag, name)? + name.len()..)?.trim_ascii_start();
    let label = after.strip_prefix(b"=")?.trim_ascii_start();
    let label = label
        .strip_prefix(b"\"")
        .or_else(|| label.strip_prefix(b"'"))
        .unwrap_or(label);
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_:.".contains(byte);
    let end = label.iter().position(is_end).unwrap_or(label.len());
    str::from_utf8(label.get(..end)?)
        .ok()
        .filter(|label| !label.is_empty())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes
        .windows(part.len())
        .position(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, order: ByteOrder) -> Vec<u8> {
        let units = text.encode_utf16();
        units
            .flat_map(|unit| match order {
                ByteOrder::Little => unit.to_le_bytes(),
                ByteOrder::Big => unit.to_be_bytes(),
            })
            .collect()
    }

    fn utf32(text: &str, order: ByteOrder) -> Vec<u8> {
        let units = text.chars().map(u32::from);
        units
            .flat_map(|unit| match order {
                ByteOrder::Little => unit.to_le_bytes(),
                ByteOrder::Big => unit.to_be_bytes(),
            })
            .collect()
    }

    #[test]
    fn utf_16_and_utf_32_are_recognised_with_and_without_a_byte_order_mark() {
        for text in [
            "Refunds are paid.",
            "Müller zahlt 5 €\n",
            "Возврат денег\nскоро",
            "退款 在十四天内。\n",
        ] {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                for mark in ["", "\u{feff}"] {
                    let marked = format!("{mark}{text}");
                    for bytes in [utf16(&marked, order), utf32(&marked, order)] {
                        let declared = decoded(&bytes, None, Some("utf-8"));
                        assert_eq!(
                            decoded(&bytes, None, None).as_deref(),
                            Ok(text),
                            "{bytes:?}"
                        );
                        assert_eq!(declared.as_deref(), Ok(text));
                    }
                }
            }
        }
    }

    #[test]
    fn a_declaration_that_does_not_fit_is_not_believed() {
        for (page, label) in [
            ("<p>Müller".as_bytes(), "iso-8859-1"),
            ("<p>Müller".as_bytes(), "utf-16"),
            (b"<p>M\xfcller zahlt die R\xfccksendung", "utf-8"),
            (b"<p>M\xfcller zahlt die R\xfccksendung", "klingon"),
        ] {
            assert!(
                decoded(page, None, Some(label))
                    .unwrap()
                    .starts_with("<p>Müller"),
                "{label}"
            );
        }
        assert_eq!(
            decoded(b"M\xfc", Some("utf-8"), None),
            Err(ReadError::Encoding("UTF-8".to_owned()))
        );
        assert_eq!(
            decoded(b"M\xfc", Some("klingon"), None),
            Err(ReadError::UnknownCharset)
        );
        assert_eq!(
            decoded("Mü".as_bytes(), Some("latin1"), None).as_deref(),
            Ok("Mü")
        );
    }

    #[test]
    fn older_encodings_are_recognised_by_their_letters_or_refused() {
        let (windows_1251, _, _) =
            encoding_rs::WINDOWS_1251.encode("Возврат денег в течение недели");
        let (shift_jis, _, _) = encoding_rs::SHIFT_JIS.encode("返品は十四日以内にお願いします。\n");
        let (iso_2022_jp, _, _) = encoding_rs::ISO_2022_JP.encode("返品は十四日以内に");
        let (gbk, _, _) = encoding_rs::GBK.encode("退款将在十四天内支付 给客户。\n");
        let (symbols, _, _) =
            encoding_rs::SHIFT_JIS.encode("※返品は①十四日以内に→お願いします。\n");
        let (thai, _, _) = encoding_rs::WINDOWS_874.encode("คืนเงินภายในสิบสี่วัน ฟรี\n");
        for (bytes, text) in [
            (
                &b"R\xfccksendung kostet 5 \x80"[..],
                "Rücksendung kostet 5 €",
            ),
            (&windows_1251, "Возврат денег в течение недели"),
            (&shift_jis, "返品は十四日以内にお願いします。\n"),
            (&iso_2022_jp, "返品は十四日以内に"),
            (&gbk, "退款将在十四天内支付 给客户。\n"),
            (&symbols, "※返品は①十四日以内に→お願いします。\n"),
            (&thai, "คืนเงินภายในสิบสี่วัน ฟรี\n"),
        ] {
            assert_eq!(decoded(bytes, None, None).as_deref(), Ok(text));
        }
        for bytes in [
            &b"\x81\x8d\x9d"[..],
            b"abc\xff\xfe\xfd\xfc\xfb\xf0\x01",
            &utf16("退款将在十四天内", ByteOrder::Little),
        ] {
            let refused = decoded(bytes, None, None);
            assert!(
                matches!(refused, Err(ReadError::UnknownEncoding | ReadError::Binary)),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn binary_data_is_refused() {
        for bytes in [&b"a\0b\0\0c"[..], b"Refunds are paid\0", b"\x01\x02\x03abc"] {
            assert_eq!(decoded(bytes, None, None), Err(ReadError::Binary));
        }
    }

    #[test]
    fn the_declaration_of_a_page_is_found() {
        for (page, label) in [
            ("<meta charset='iso-8859-1'>", Some("iso-8859-1")),
            (
                "<META http-equiv=x content=\"text/html; charset=utf-8\">",
                Some("utf-8"),
            ),
            (
                "<?xml version='1.0' encoding=\"windows-1252\"?><html>",
                Some("windows-1252"),
            ),
            (
                "<script charset='utf-16'></script><meta name=x><meta charset=gbk>",
                Some("gbk"),
            ),
            ("<p>charset=utf-16", None),
        ] {
            assert_eq!(declared_charset(page.as_bytes()), label, "{page}");
        }
    }
}
