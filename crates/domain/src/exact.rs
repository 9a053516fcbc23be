//! JSON values whose numbers keep their digits. A [`Value`] turns an integer of more than 64
//! bits into a float.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::{ForeignJsonError, parse_foreign_json};

/// Levels of a schema that are searched for integers.
const MAX_SCHEMA_DEPTH: usize = 64;
/// The largest power of ten that is written out.
const MAX_EXPONENT: i64 = 64;

/// A JSON value. A number is its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExactValue {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl ExactValue {
    /// Parses a JSON object with at most `most` values. Returns it also without exact numbers.
    pub fn parse_object(
        text: &str,
        most: usize,
    ) -> Result<(Map<String, Value>, Self), ForeignJsonError> {
        let fields: Map<String, Value> = parse_foreign_json(text, most)?;
        // The text is valid JSON, so the second parser accepts it.
        let exact = Parser { rest: text }.value();
        let exact = exact.unwrap_or_else(|| Self::from(&Value::Object(fields.clone())));
        Ok((fields, exact))
    }

    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(text) => {
                serde_json::from_str::<Number>(text).map_or(Value::Null, Value::Number)
            }
            Self::String(text) => Value::String(text.clone()),
            Self::Array(values) => values.iter().map(Self::to_value).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), value.to_value()))
                .collect(),
        }
    }

    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(flag) => json.push_str(if *flag { "true" } else { "false" }),
            Self::Number(text) => json.push_str(text),
            Self::String(text) => json.push_str(&Value::from(text.as_str()).to_string()),
            Self::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    json.push(if index == 0 { '[' } else { ',' });
                    value.write_json(json);
                }
                json.push_str(if values.is_empty() { "[]" } else { "]" });
            }
            Self::Object(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    json.push(if index == 0 { '{' } else { ',' });
                    json.push_str(&Value::from(name.as_str()).to_string());
                    json.push(':');
                    value.write_json(json);
                }
                json.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
        }
    }

    /// Writes whole numbers such as `126.0` and `1.2e3` as integers where the schema expects
    /// integers. Many servers accept only that form.
    pub fn write_integers(&mut self, schema: &Value) {
        self.write_integers_of(schema, schema, 0);
    }

    fn write_integers_of(&mut self, schema: &Value, root: &Value, depth: usize) {
        let Some(fields) = schema.as_object().filter(|_| depth < MAX_SCHEMA_DEPTH) else {
            return;
        };
        let depth = depth + 1;
        let target = fields.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|reference| root.pointer(reference.strip_prefix('#')?));
        if let Some(target) = target {
            self.write_integers_of(target, root, depth);
        }
        for group in ["allOf", "anyOf", "oneOf"] {
            let members = fields.get(group).and_then(Value::as_array);
            for member in members.into_iter().flatten() {
                self.write_integers_of(member, root, depth);
            }
        }
        match self {
            Self::Number(text) if expects_integer(fields) => {
                if let Some(integer) = as_integer(text) {
                    *text = integer;
                }
            }
            Self::Array(values) => {
                let first = fields.get("prefixItems").and_then(Value::as_array);
                let first = first.map_or(&[][..], Vec::as_slice);
                for (index, value) in values.iter_mut().enumerate() {
                    if let Some(schema) = first.get(index).or_else(|| fields.get("items")) {
                        value.write_integers_of(schema, root, depth);
                    }
                }
            }
            Self::Object(values) => {
                for (name, value) in values {
                    let named = fields
                        .get("properties")
                        .and_then(|all| all.get(name.as_str()));
                    if let Some(schema) = named.or_else(|| fields.get("additionalProperties")) {
                        value.write_integers_of(schema, root, depth);
                    }
                }
            }
            _ => {}
        }
    }
}

impl From<&Value> for ExactValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::String(text.clone()),
            Value::Array(values) => Self::Array(values.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), Self::from(value)))
                    .collect(),
            ),
        }
    }
}

fn expects_integer(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "integer",
        Some(Value::Array(kinds)) => {
            let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
            has("integer") && !has("number")
        }
        _ => false,
    }
}

/// A JSON number without fraction and exponent. `None` if it has that form already, or if it
/// is not whole.
fn as_integer(number: &str) -> Option<String> {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if mantissa == rest && fraction.is_empty() {
        return None;
    }
    let exponent: i64 = exponent.parse().ok()?;
    if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let point = usize::try_from(point.max(0)).ok()?;
    if digits
        .get(point..)
        .is_some_and(|rest| !rest.bytes().all(|digit| digit == b'0'))
    {
        return None;
    }
    digits.truncate(point);
    while digits.len() < point {
        digits.push('0');
    }
    Some(match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}"),
    })
}

/// Parses text that is known to be valid JSON. `None` if it is not.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn value(&mut self) -> Option<ExactValue> {
        self.skip_spaces();
        Some(match self.rest.bytes().next()? {
            b'{' => self.object()?,
            b'[' => self.array()?,
            b'"' => ExactValue::String(self.string()?),
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r']);
                match self.take(end.unwrap_or(self.rest.len()))? {
                    "null" => ExactValue::Null,
                    "true" => ExactValue::Bool(true),
                    "false" => ExactValue::Bool(false),
                    number => ExactValue::Number(number.to_owned()),
                }
            }
        })
    }

    fn array(&mut self) -> Option<ExactValue> {
        self.take(1)?;
        let mut values = Vec::new();
        while !self.ends_with(']')? {
            values.push(self.value()?);
        }
        Some(ExactValue::Array(values))
    }

    /// Of two fields with the same name, the last one counts, as in `serde_json`.
    fn object(&mut self) -> Option<ExactValue> {
        self.take(1)?;
        let mut fields: Vec<(String, ExactValue)> = Vec::new();
        let mut places = HashMap::new();
        while !self.ends_with('}')? {
            let name = self.string()?;
            self.skip_spaces();
            self.rest = self.rest.strip_prefix(':')?;
            let value = self.value()?;
            match places
                .get(&name)
                .and_then(|place: &usize| fields.get_mut(*place))
            {
                Some(field) => field.1 = value,
                None => {
                    places.insert(name.clone(), fields.len());
                    fields.push((name, value));
                }
            }
        }
        Some(ExactValue::Object(fields))
    }

    /// Skips a comma, or the end of a container.
    fn ends_with(&mut self, end: char) -> Option<bool> {
        self.skip_spaces();
        if let Some(rest) = self.rest.strip_prefix(end) {
            self.rest = rest;
            return Some(true);
        }
        self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        self.skip_spaces();
        (!self.rest.is_empty()).then_some(false)
    }

    fn string(&mut self) -> Option<String> {
        let mut is_escaped = false;
        let end = self.rest.bytes().skip(1).position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        serde_json::from_str(self.take(end + 2)?).ok()
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, bytes: usize) -> Option<&'t str> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> ExactValue {
        ExactValue::parse_object(text, 100).unwrap().1
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            (r#"{"id":12345678901234567890123}"#, None),
            (r#"{"a":[1.50,-0.10000000000000000001,1E5],"b":{}}"#, None),
            (
                "{\n \"a\" : [ ] , \"b\" : [ 1 , {\"c\":null} ]\t}",
                Some(r#"{"a":[],"b":[1,{"c":null}]}"#),
            ),
            (r#"{"a":1,"b":true,"a":2}"#, Some(r#"{"a":2,"b":true}"#)),
            (
                r#"{"q\"\\":"ä\u00e4\n\\","s":"1e2"}"#,
                Some(r#"{"q\"\\":"ää\n\\","s":"1e2"}"#),
            ),
            ("{}", None),
        ] {
            let exact = parse(text);
            assert_eq!(exact.to_json(), expected.unwrap_or(text));
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(exact.to_value(), value, "{text}");
        }
        for text in ["", "[1]", "{", r#"{"a":1} x"#, r#"{"a":01}"#] {
            assert!(ExactValue::parse_object(text, 100).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_integers_where_the_schema_expects_them() {
        for (number, expected) in [
            ("126.0", "126"),
            ("126", "126"),
            ("-7.000", "-7"),
            ("1.5", "1.5"),
            ("1.26e2", "126"),
            ("1e3", "1000"),
            ("1200e-2", "12"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("12345678901234567890123.0", "12345678901234567890123"),
            ("1e300", "1e300"),
            ("5e-1", "5e-1"),
        ] {
            let mut exact = parse(&format!(r#"{{"a":[{number}],"b":{number},"c":{number}}}"#));
            exact.write_integers(&json!({
                "properties": {
                    "a": { "items": { "$ref": "#/$defs/whole" } },
                    "b": { "anyOf": [{ "type": ["integer", "null"] }] },
                    "c": { "type": "number" },
                },
                "$defs": { "whole": { "type": "integer" } },
            }));
            let expected = format!(r#"{{"a":[{expected}],"b":{expected},"c":{number}}}"#);
            assert_eq!(exact.to_json(), expected);
        }
    }
}
