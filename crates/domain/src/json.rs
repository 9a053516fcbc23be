//! Counts the values of untrusted JSON before it is parsed to a [`Value`].
//!
//! A `Value` takes up to 300 bytes for each JSON value in the text: 4 MB of `[[0],[0],…]`
//! would take half a gigabyte. Callers limit the bytes of such a text, and this module limits
//! the number of its values.
//!
//! [`Value`]: serde_json::Value

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

/// Values in the arguments of a call, in an answer with a schema, and in a message that its
/// provider wants back. As a `Value` they take about 6 MB. A model would need twice as many
/// tokens to write them.
pub const MAX_JSON_VALUES: usize = 20_000;

/// Why JSON cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum ForeignJsonError {
    #[error("more than {0} JSON values")]
    TooManyValues(usize),
    #[error(transparent)]
    Invalid(#[from] serde_json::Error),
}

/// Parses JSON with at most `most` values.
pub fn parse_foreign_json<T: DeserializeOwned>(
    json: &str,
    most: usize,
) -> Result<T, ForeignJsonError> {
    match count_json_values(json.as_bytes()) > most {
        true => Err(ForeignJsonError::TooManyValues(most)),
        false => Ok(serde_json::from_str(json)?),
    }
}

/// Some fields of a JSON object.
#[derive(Debug)]
pub struct JsonFields<'a, const N: usize> {
    /// In the order of the names. `None` for an absent field and for `null`. If an object has a
    /// name twice, the last one counts.
    pub values: [Option<&'a RawValue>; N],
    /// Whether the object has fields of other names.
    pub has_others: bool,
}

/// Returns the fields with these names, unparsed, so that one of an unexpected type does not
/// cost the others. Fields of other names take no memory.
pub fn json_fields<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<JsonFields<'a, N>, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let fields = FieldsNamed(names).deserialize(&mut parser)?;
    parser.end()?;
    Ok(fields)
}

struct FieldsNamed<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for FieldsNamed<'_, N> {
    type Value = JsonFields<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for FieldsNamed<'_, N> {
    type Value = JsonFields<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = JsonFields {
            values: [None; N],
            has_others: false,
        };
        while let Some(place) = map.next_key_seed(PlaceOfName(&self.0))? {
            match place.and_then(|place| fields.values.get_mut(place)) {
                Some(field) => {
                    let value: &RawValue = map.next_value()?;
                    *field = (value.get() != "null").then_some(value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    fields.has_others = true;
                }
            }
        }
        Ok(fields)
    }
}

/// The place of a key among these names.
struct PlaceOfName<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for PlaceOfName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PlaceOfName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// Replaces each escape of half a surrogate pair (`\ud83d`), which no parser accepts, with that
/// of the replacement character.
pub fn replace_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        let start = at + found;
        at = start + ESCAPE_BYTES;
        match escaped_code_unit(json, start) {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_code_unit(json, at), Some(0xDC00..=0xDFFF)) =>
            {
                at += ESCAPE_BYTES;
            }
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(json.get(copied..start).unwrap_or_default());
                repaired.push_str("\\ufffd");
                copied = at;
            }
            Some(_) => {}
            None => {
                let escaped = json.get(start + 1..).and_then(|rest| rest.chars().next());
                at = start + 1 + escaped.map_or(0, char::len_utf8);
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    repaired.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(repaired)
}

/// Bytes of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

fn escaped_code_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

/// Counts the values of a JSON text: scalars, arrays and objects, including the outermost.
/// Allocates nothing. For invalid JSON, the result is at least the number of values that a
/// parser creates before it reports the error.
pub fn count_json_values(json: &[u8]) -> usize {
    // The outermost value, one after each comma, and the first one in each container.
    let mut values: usize = 1;
    let mut is_container_empty = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => skip_string(&mut bytes),
            b',' | b'[' | b'{' => values += 1,
            b']' | b'}' if is_container_empty => values -= 1,
            _ => {}
        }
        is_container_empty = matches!(byte, b'[' | b'{');
    }
    values
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn fields_are_returned_unparsed_and_the_last_of_a_name_counts() {
        let json = r#"{"a":1,"b":null,"\u0063":[{}],"z":{"a":7},"a":2.50}"#;
        let fields = json_fields(json, ["a", "b", "c", "d"]).unwrap();
        let values = fields.values.map(|value| value.map(RawValue::get));
        assert_eq!(values, [Some("2.50"), None, Some("[{}]"), None]);
        assert!(fields.has_others);
        assert!(!json_fields("{\"a\":1}", ["a"]).unwrap().has_others);
        for not_an_object in ["[]", "1", "", "{\"a\":", "{} {}"] {
            assert!(
                json_fields(not_an_object, ["a"]).is_err(),
                "{not_an_object}"
            );
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        for (json, repaired) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00 \ud83d\u0041""#, r#""\ufffd \ufffd\u0041""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\\ud83d \é""#, r#""\\ud83d \é""#),
            (r#""\ud8"#, r#""\ud8"#),
            ("\\", "\\"),
        ] {
            assert_eq!(replace_lone_surrogates(json), repaired);
        }
    }

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }

    /// Any JSON, with brackets, commas, quotes and backslashes in its strings.
    fn any_json() -> impl Strategy<Value = Value> {
        let text = r#"[\[\]{},:"\\a\n ]{0,8}"#;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            let fields = proptest::collection::vec((text, inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::from),
                fields.prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_counted_as_a_parser_creates_them(value in any_json(), is_pretty in any::<bool>()) {
            let json = match is_pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            prop_assert_eq!(count_json_values(json.as_bytes()), count(&value), "{}", json);
        }

        #[test]
        fn any_bytes_can_be_counted(bytes in r#"[\[\]{},:"\\a1 ]{0,40}"#) {
            let values = count_json_values(bytes.as_bytes());
            if let Ok(value) = serde_json::from_str::<Value>(&bytes) {
                prop_assert_eq!(values, count(&value));
            }
        }
    }

    #[test]
    fn json_with_too_many_values_is_not_parsed() {
        assert_eq!(
            parse_foreign_json::<Value>("[1, [2]]", 4).unwrap(),
            json!([1, [2]])
        );
        let too_many = parse_foreign_json::<Value>("[1, [2]]", 3).unwrap_err();
        assert_eq!(too_many.to_string(), "more than 3 JSON values");
        assert!(matches!(
            parse_foreign_json::<Value>("[", 3),
            Err(ForeignJsonError::Invalid(_))
        ));
        // One long string is one value.
        let long = format!("\"{}\"", "[[0],".repeat(1_000_000));
        assert!(parse_foreign_json::<Value>(&long, 1).is_ok());
    }
}
