//! Finds the JSON of an answer among other text.

use serde::de::IgnoredAny;

use crate::replace_lone_surrogates;

/// JSON values in an answer with prose that are looked at.
const MAX_JSON_IN_PROSE: usize = 8;

/// The content of the code fence, if the whole answer is fenced.
pub(crate) fn unfenced(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"));
    let inner = inner.and_then(|inner| inner.split_once('\n'));
    // The opening fence may be followed by the name of a language.
    inner
        .filter(|(language, _)| !language.contains(['{', '[', '"']))
        .map_or(answer, |(_, text)| text.trim())
}

/// The objects and arrays in an answer with other text: what is in code fences, or a value that
/// begins or ends the text or has its own lines.
pub(crate) fn json_in_prose(text: &str) -> Vec<&str> {
    // The last fence is not closed, so the answer is not complete.
    if text.matches("```").count() % 2 == 1 {
        return Vec::new();
    }
    let mut fenced: Vec<&str> = text
        .split("```")
        .skip(1)
        .step_by(2)
        .take(MAX_JSON_IN_PROSE)
        .filter_map(|block| block.get(block.find(['{', '['])?..))
        .map(str::trim_end)
        .collect();
    fenced
        .retain(|json| serde_json::from_str::<IgnoredAny>(&replace_lone_surrogates(json)).is_ok());
    if !fenced.is_empty() {
        return fenced;
    }
    let (mut found, mut at) = (Vec::new(), 0);
    for _ in 0..MAX_JSON_IN_PROSE {
        let rest = text.get(at..).unwrap_or_default();
        let Some(place) = rest.find(['{', '[']) else {
            break;
        };
        let start = at + place;
        let json = text.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<IgnoredAny>();
        at = start + 1;
        if let Some(Ok(_)) = values.next() {
            let end = start + values.byte_offset();
            let before = text
                .get(..start)
                .unwrap_or_default()
                .trim_end_matches([' ', '\t']);
            let after = text
                .get(end..)
                .unwrap_or_default()
                .trim_start_matches([' ', '\t', '\r']);
            let begins_line = before.is_empty() || before.ends_with('\n');
            let ends_line = after.is_empty() || after.starts_with('\n');
            if (begins_line && ends_line) || after.trim().is_empty() {
                found.extend(text.get(start..end));
            }
            at = end;
        }
    }
    found
}
