//! Parses the replies of model providers within limits. Only known fields are stored, and the
//! first other ones of a tool call. All others take no memory, and no field becomes a [`Value`]
//! before its values are counted.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use domain::{MAX_JSON_VALUES, count_json_values, json_fields, replace_lone_surrogates};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::provider_error::ProviderError;

/// Most content blocks of a reply. A reply with citations has a block for each.
pub(super) const MAX_BLOCKS: usize = 4096;
/// One more than the agent loop accepts in a turn, so that the loop can report the excess.
pub(super) const MAX_CALLS: usize = 33;
/// Most fields of a tool call, beside the known ones, that go back to the provider.
const MAX_OTHER_FIELDS: usize = 8;
/// Most bytes of what goes back to the provider unchanged. The limit of a whole conversation.
const MAX_ECHO_BYTES: usize = 4 * 1024 * 1024;

/// The largest integer that all JSON parsers represent exactly.
const MAX_COUNT: f64 = 9_007_199_254_740_991.0;

const NON_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Why a reply cannot be used.
#[derive(Debug)]
pub(super) enum ReplyError {
    /// It does not have the form of this provider's replies.
    NotAReply,
    /// It exceeds this limit.
    MoreThan(String),
    /// It is an error, although its status is 200.
    Refused(Box<ProviderError>),
}

impl From<serde_json::Error> for ReplyError {
    fn from(_: serde_json::Error) -> Self {
        Self::NotAReply
    }
}

/// The first `MOST` items of a list. Later items take no memory.
pub(super) struct AtMost<T, const MOST: usize> {
    pub(super) items: Vec<T>,
    has_more: bool,
}

impl<T, const MOST: usize> AtMost<T, MOST> {
    /// All items, or an error if the list had more.
    pub(super) fn into_items(self, what: &str) -> Result<Vec<T>, ReplyError> {
        match self.has_more {
            true => Err(ReplyError::MoreThan(format!("{MOST} {what}"))),
            false => Ok(self.items),
        }
    }
}

impl<T, const MOST: usize> Default for AtMost<T, MOST> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            has_more: false,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstItems(PhantomData))
    }
}

struct FirstItems<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FirstItems<T, MOST> {
    type Value = AtMost<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => {
                    return Ok(AtMost {
                        items,
                        has_more: false,
                    });
                }
            }
        }
        let mut has_more = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            has_more = true;
        }
        Ok(AtMost { items, has_more })
    }
}

/// A body as text, without a byte-order mark. What is not Unicode is replaced.
pub(super) fn decode(body: &[u8]) -> Cow<'_, str> {
    let repair = |text: &str| match replace_lone_surrogates(text) {
        Cow::Owned(repaired) => Some(repaired),
        Cow::Borrowed(_) => None,
    };
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            replace_lone_surrogates(text)
        }
        Cow::Owned(text) => {
            let text = match text.strip_prefix('\u{feff}') {
                Some(rest) => rest.to_owned(),
                None => text,
            };
            Cow::Owned(repair(&text).unwrap_or(text))
        }
    }
}

/// Replaces what Python writes for numbers that JSON does not have. `None` if there is none.
pub(super) fn replace_non_numbers(json: &str) -> Option<String> {
    let (mut repaired, mut copied, mut at, mut is_string) = (String::new(), 0, 0, false);
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'\\' if is_string => at += 1,
            b'"' => is_string = !is_string,
            b'N' | b'I' | b'-' if !is_string => {
                let rest = json.get(at..)?;
                let word = NON_NUMBERS.iter().find(|word| rest.starts_with(**word));
                if let Some(word) = word {
                    repaired.push_str(json.get(copied..at)?);
                    repaired.push_str("null");
                    copied = at + word.len();
                    at = copied - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    repaired.push_str(json.get(copied..).filter(|_| copied > 0)?);
    Some(repaired)
}

pub(super) fn parse_string(field: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(field?.get()).ok()
}

/// The fields of an object. All are absent if the value is not an object.
pub(super) fn optional_fields<'a, const N: usize>(
    field: Option<&'a RawValue>,
    names: [&str; N],
) -> [Option<&'a RawValue>; N] {
    let fields = field.and_then(|field| json_fields(field.get(), names).ok());
    fields.map_or([None; N], |fields| fields.values)
}

/// The first fields of an object that have none of these names. Later ones take no memory.
pub(super) fn other_fields<'a>(
    object: &'a RawValue,
    known: &[&str],
) -> Vec<(String, &'a RawValue)> {
    let mut parser = serde_json::Deserializer::from_str(object.get());
    parser
        .deserialize_map(OtherFields(known))
        .unwrap_or_default()
}

struct OtherFields<'k>(&'k [&'k str]);

impl<'de> Visitor<'de> for OtherFields<'_> {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut others = Vec::new();
        while let Some(name) = fields.next_key::<Cow<'_, str>>()? {
            if others.len() == MAX_OTHER_FIELDS || self.0.contains(&name.as_ref()) {
                fields.next_value::<IgnoredAny>()?;
            } else {
                others.push((name.into_owned(), fields.next_value()?));
            }
        }
        others.retain(|(_, value): &(_, &RawValue)| value.get() != "null");
        Ok(others)
    }
}

/// A number of tokens, rounded. Everything that cannot be one counts as 0: it must not cost the
/// reply, or the run's budget.
pub(super) fn parse_count(field: Option<&RawValue>) -> u64 {
    let text = field.map_or("", |field| field.get().trim_matches('"').trim());
    let number: f64 = text.parse().unwrap_or_default();
    if !(0.0..=MAX_COUNT).contains(&number) {
        return 0;
    }
    // Rounded and within the range of the type.
    number.round() as u64
}

/// The id of a call, which some servers send as a number. Without one, the run makes one up.
pub(super) fn parse_id(field: Option<&RawValue>) -> String {
    let number = || {
        let text = field?.get();
        let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        is_number.then(|| text.to_owned())
    };
    parse_string(field).or_else(number).unwrap_or_default()
}

/// The arguments of a call as text. Most servers send a string that contains JSON, some send
/// the JSON itself or a string within a string. They are parsed when the call is made.
pub(super) fn parse_arguments(field: Option<&RawValue>) -> Result<String, ReplyError> {
    let Some(field) = field else {
        return Ok(String::new());
    };
    let text = parse_string(Some(field)).unwrap_or_else(|| field.get().to_owned());
    if count_json_values(text.as_bytes()) > MAX_JSON_VALUES {
        return Err(too_many_values("the arguments of a tool call"));
    }
    let nested = match text.starts_with('"') {
        true => serde_json::from_str::<String>(&text).ok(),
        false => None,
    };
    let text = nested
        .filter(|nested| nested.starts_with('{'))
        .unwrap_or(text);
    if text.trim() == "null" {
        return Ok(String::new());
    }
    // A string that contains JSON has escapes of its own.
    Ok(match replace_lone_surrogates(&text) {
        Cow::Owned(repaired) => repaired,
        Cow::Borrowed(_) => text,
    })
}

/// JSON that goes back to the provider unchanged.
pub(super) fn parse_echo(parts: &[&RawValue]) -> Result<Vec<Value>, ReplyError> {
    if parts.iter().map(|part| part.get().len()).sum::<usize>() > MAX_ECHO_BYTES {
        return Err(ReplyError::MoreThan(
            "4 MiB in a message that it signs".to_owned(),
        ));
    }
    if parts
        .iter()
        .map(|part| count_json_values(part.get().as_bytes()))
        .sum::<usize>()
        > MAX_JSON_VALUES
    {
        return Err(too_many_values("a message that it signs"));
    }
    Ok(parts
        .iter()
        .map(|part| serde_json::from_str(part.get()))
        .collect::<Result<_, _>>()?)
}

fn too_many_values(place: &str) -> ReplyError {
    ReplyError::MoreThan(format!("{MAX_JSON_VALUES} JSON values in {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_stored_up_to_its_limit() {
        let list = |json| serde_json::from_str::<AtMost<&RawValue, 2>>(json).unwrap();
        assert_eq!(list("[1, [2]]").into_items("items").unwrap().len(), 2);
        let Err(ReplyError::MoreThan(bound)) = list("[1,2,3,4]").into_items("items") else {
            panic!("no limit")
        };
        assert_eq!(bound, "2 items");
        assert_eq!(list("[1,2,3,4]").items.len(), 2);
        assert!(serde_json::from_str::<AtMost<&RawValue, 2>>("[1,2,3,").is_err());
    }

    #[test]
    fn arguments_are_text_whatever_the_server_sends() {
        let read = |json| parse_arguments(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(read(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(read(r#"{"a": 1}"#), r#"{"a": 1}"#);
        assert_eq!(read("null"), "");
        assert_eq!(read(r#""null""#), "");
        assert_eq!(read(r#""\"{\\\"a\\\":1}\"""#), r#"{"a":1}"#);
        assert_eq!(read(r#""{\"a\":\"\\ud83d\"}""#), r#"{"a":"\ufffd"}"#);
        let long = serde_json::value::to_raw_value(&"x".repeat(3_000_000)).unwrap();
        assert_eq!(parse_arguments(Some(&long)).unwrap().len(), 3_000_000);
        for many in [
            vec!["[0]"; 10_001].join(","),
            vec![r"\u005b0]"; 10_001].join(","),
        ] {
            for json in [format!("[{many}]"), format!("\"[{many}]\"")] {
                if let Ok(raw) = serde_json::from_str::<&RawValue>(&json) {
                    assert!(matches!(
                        parse_arguments(Some(raw)),
                        Err(ReplyError::MoreThan(_))
                    ));
                }
            }
        }
    }

    #[test]
    fn token_counts_of_any_type_are_whole_numbers() {
        for (json, count) in [
            ("7", 7),
            ("7.6", 8),
            ("\"7\"", 7),
            ("7e2", 700),
            ("-7", 0),
            ("1e300", 0),
            ("99999999999999999999999", 0),
            ("\"many\"", 0),
            ("\"NaN\"", 0),
            ("\"inf\"", 0),
            ("[7]", 0),
            ("{}", 0),
            ("true", 0),
        ] {
            assert_eq!(
                parse_count(serde_json::from_str(json).unwrap()),
                count,
                "{json}"
            );
        }
        assert_eq!(parse_count(None), 0);
    }

    #[test]
    fn numbers_that_json_does_not_have_become_null() {
        let json = r#"{"a":NaN,"b":[-Infinity,-1],"c":"NaN \" Infinity"}"#;
        let repaired = r#"{"a":null,"b":[null,-1],"c":"NaN \" Infinity"}"#;
        assert_eq!(replace_non_numbers(json).as_deref(), Some(repaired));
        assert_eq!(replace_non_numbers(r#"{"a":"NaN"}"#), None);
    }

    #[test]
    fn a_body_that_is_not_unicode_is_repaired() {
        assert_eq!(decode(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(decode(b"\xef\xbb\xbf\"\xff\""), "\"\u{fffd}\"");
        assert_eq!(decode(b"\"a\xff\""), "\"a\u{fffd}\"");
        assert_eq!(decode(br#""\ud83d""#), r#""\ufffd""#);
        assert!(matches!(decode(b"{}"), Cow::Borrowed("{}")));
    }

    #[test]
    fn what_goes_back_is_limited_in_bytes_and_values_over_all_parts() {
        let part = |json: String| RawValue::from_string(json).unwrap();
        let text = part(format!("\"{}\"", "x".repeat(3 * 1024 * 1024)));
        assert_eq!(parse_echo(&[&text]).unwrap().len(), 1);
        assert!(matches!(
            parse_echo(&[&text, &text]),
            Err(ReplyError::MoreThan(_))
        ));
        let many = part(format!("[{}0]", "0,".repeat(12_000)));
        assert_eq!(parse_echo(&[&many]).unwrap().len(), 1);
        assert!(matches!(
            parse_echo(&[&many, &many]),
            Err(ReplyError::MoreThan(_))
        ));
    }
}
