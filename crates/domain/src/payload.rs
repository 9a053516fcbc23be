//! The payload of a trigger: one JSON value, stored as the text that was sent.

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Nesting of arrays and objects in a payload.
const MAX_DEPTH: usize = 128;

/// RFC 8259 section 2.
const JSON_WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Any JSON value except `null`, as sent. Digits, key order and escapes are unchanged, because
/// the text is never parsed and serialized again.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(String);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// Why a body is not a valid payload. The texts are for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// No bytes, or only white space.
    #[error("Invalid or missing JSON data in request body: the body is empty")]
    Empty,
    #[error("Invalid or missing JSON data in request body: null is not a payload")]
    Null,
    /// RFC 8259 section 8.1 requires UTF-8.
    #[error("The request body is not UTF-8; send JSON encoded as UTF-8")]
    NotUtf8,
    /// With the location of the first error.
    #[error("The request body is not valid JSON: {fault} at line {line} column {column}")]
    NotJson {
        /// The error of the parser.
        fault: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    #[error("The request body nests arrays and objects deeper than 128 levels")]
    TooDeep,
}

impl Payload {
    /// From a JSON body. A leading byte-order mark is dropped.
    pub fn from_json(body: &[u8]) -> Result<Self, PayloadError> {
        let text = std::str::from_utf8(body).map_err(|_| PayloadError::NotUtf8)?;
        let json = text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .trim_matches(JSON_WHITE_SPACE);
        if json.is_empty() {
            return Err(PayloadError::Empty);
        }
        if depth(json) > MAX_DEPTH {
            return Err(PayloadError::TooDeep);
        }
        serde_json::from_str::<IgnoredAny>(json).map_err(|error| not_json(&error))?;
        if json == "null" {
            return Err(PayloadError::Null);
        }
        Ok(Self(json.to_owned()))
    }

    /// From a query string or a form body: an object of strings, in the order of first
    /// appearance. Repeated names become an array.
    pub fn from_form(encoded: &[u8]) -> Self {
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            add_field(
                &mut fields,
                name.into_owned(),
                Value::String(value.into_owned()),
            );
        }
        Self(Value::Object(fields).to_string())
    }

    /// From a record.
    pub const fn from_stored(json: String) -> Self {
        Self(json)
    }

    /// The text of all strings in the payload, without field names. Used as a search query.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let mut rest = self.0.as_str();
        while let Some(start) = rest.find('"') {
            let from_quote = rest.split_at(start).1;
            let (literal, after) = from_quote.split_at(literal_len(from_quote));
            rest = after;
            let is_name = after.trim_start().starts_with(':');
            if !is_name && let Ok(text) = serde_json::from_str::<String>(literal) {
                words.push_str(&text);
                words.push('\n');
            }
        }
        words
    }

    pub fn as_json(&self) -> &str {
        &self.0
    }
}

fn add_field(fields: &mut Map<String, Value>, name: String, value: Value) {
    match fields.get_mut(&name) {
        None => {
            fields.insert(name, value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(single) => *single = Value::Array(vec![single.take(), value]),
    }
}

/// The length of the string literal at the start of `json`, including quotes.
fn literal_len(json: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    json.len()
}

/// The deepest nesting of brackets outside strings. Counted separately, because the parser has
/// no limit for values that it ignores.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn not_json(error: &serde_json::Error) -> PayloadError {
    let (line, column) = (error.line(), error.column());
    let full = error.to_string();
    let place = format!(" at line {line} column {column}");
    let fault = full.strip_suffix(&place).unwrap_or(&full).to_owned();
    PayloadError::NotJson {
        fault,
        line,
        column,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(body: &str) -> Result<String, PayloadError> {
        Payload::from_json(body.as_bytes()).map(|payload| payload.0)
    }

    #[test]
    fn a_payload_is_the_text_that_was_sent() {
        for text in [
            r#"{"z":1,"a":2,"m":3}"#,
            "123456789012345678901234567890",
            "1.50",
            "1e999",
            r#"{"a":1,"a":2}"#,
            r#""\ud800""#,
            "0",
            "true",
            "[]",
            r#""""#,
        ] {
            assert_eq!(json(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn white_space_and_a_byte_order_mark_around_the_value_are_dropped() {
        assert_eq!(json("\u{feff} \n {\"a\":1} \n"), Ok("{\"a\":1}".into()));
    }

    #[test]
    fn an_invalid_payload_is_refused_with_the_reason() {
        assert_eq!(json(""), Err(PayloadError::Empty));
        assert!(matches!(
            json("\u{a0}{}"),
            Err(PayloadError::NotJson { .. })
        ));
        assert_eq!(json(" null "), Err(PayloadError::Null));
        assert_eq!(Payload::from_json(b"\"\xff\""), Err(PayloadError::NotUtf8));
        assert_eq!(
            json("{bad").unwrap_err().to_string(),
            "The request body is not valid JSON: key must be a string at line 1 column 2"
        );
        assert!(matches!(json("1 2"), Err(PayloadError::NotJson { .. })));
    }

    #[test]
    fn nesting_is_limited_outside_strings_only() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(json(&nested(128)).is_ok());
        assert_eq!(json(&nested(129)), Err(PayloadError::TooDeep));
        assert_eq!(json(&"[".repeat(200_000)), Err(PayloadError::TooDeep));
        assert!(json(&format!("\"\\\"{}\"", "[".repeat(500))).is_ok());
    }

    #[test]
    fn a_query_becomes_an_object_of_strings() {
        let form = |query: &str| Payload::from_form(query.as_bytes()).0;
        assert_eq!(form(""), "{}");
        assert_eq!(
            form("a=1&b=x+y%26&a=2&c"),
            r#"{"a":["1","2"],"b":"x y&","c":""}"#
        );
        assert_eq!(
            form("a[]=1&a[]=2&o[k]=v"),
            r#"{"a[]":["1","2"],"o[k]":"v"}"#
        );
        assert_eq!(form("a=1;b=2"), r#"{"a":"1;b=2"}"#);
    }

    #[test]
    fn the_words_of_a_payload_are_its_strings_without_names() {
        let words = |text: &str| Payload(text.to_owned()).words();
        assert_eq!(
            words(r#"{"q" : "returned \"goods\"","n":1e999,"in":["\u00e9",{"x":"y"}]}"#),
            "returned \"goods\"\né\ny\n"
        );
        assert_eq!(words(r#"["\ud800","x"]"#), "x\n");
        assert_eq!(words("1"), "");
    }

    proptest! {
        #[test]
        fn every_value_that_the_runner_can_parse_is_accepted(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(json(&text).ok(), (!value.is_null()).then_some(text));
        }

        #[test]
        fn no_bytes_make_the_payload_parser_panic(bytes: Vec<u8>) {
            let _ = Payload::from_json(&bytes);
            let form = Payload::from_form(&bytes);
            prop_assert!(Payload::from_json(form.0.as_bytes()).is_ok());
            if let Ok(payload) = Payload::from_json(&bytes) {
                let _ = payload.words();
            }
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }
}
