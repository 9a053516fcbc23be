//! Parses JSON with the errors in its text that servers make.

use serde_json::Value;

/// Parses JSON that may have a byte order mark, bytes that are not UTF-8, and halves of surrogate
/// pairs. They become U+FFFD.
pub(in super::super) fn parse_lenient(json: &[u8]) -> Option<Value> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    if let Ok(value) = serde_json::from_slice(json) {
        return Some(value);
    }
    serde_json::from_str(&replace_lone_surrogates(&String::from_utf8_lossy(json))).ok()
}

/// Replaces escapes of surrogates that are not a pair. Other text is unchanged.
fn replace_lone_surrogates(json: &str) -> String {
    let mut replaced = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        replaced.push_str(before);
        let (text, length) = match (surrogate(escape), escape.get(6..).and_then(surrogate)) {
            (Some(0xD800..0xDC00), Some(0xDC00..)) => (escape.get(..12), 12),
            (Some(_), _) => (Some("\\ufffd"), 6),
            // An escaped backslash does not start another escape.
            (None, _) => (None, 1 + escape.chars().nth(1).map_or(0, char::len_utf8)),
        };
        replaced.push_str(text.or(escape.get(..length)).unwrap_or_default());
        rest = escape.get(length..).unwrap_or_default();
    }
    replaced.push_str(rest);
    replaced
}

/// The surrogate whose escape is at the start of this text.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    (0xD800..0xE000).contains(&unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_that_is_not_unicode_is_replaced() {
        for (text, expected) in [
            (&b"\xEF\xBB\xBF[1]"[..], Some(json!([1]))),
            (br#"["a\ud83d"]"#, Some(json!(["a\u{fffd}"]))),
            (
                br#"["\ude00\ud83d\ude00\ud83dx"]"#,
                Some(json!(["\u{fffd}😀\u{fffd}x"])),
            ),
            (br#"["\\ud83d \ud83d"]"#, Some(json!(["\\ud83d \u{fffd}"]))),
            (
                br#"["\ud83d\ud83d\"\ud83d\n"]"#,
                Some(json!(["\u{fffd}\u{fffd}\"\u{fffd}\n"])),
            ),
            (b"[\"a\xff\"]", Some(json!(["a\u{fffd}"]))),
            (br#"["\ud8"#, None),
            (br"\", None),
            ("[\"\\ä\"]".as_bytes(), None),
            (b"", None),
            (b"<html>", None),
        ] {
            assert_eq!(
                parse_lenient(text),
                expected,
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }
}
