//! The text of a document: JSON or YAML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a text is neither JSON nor YAML.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DocumentError(#[from] yaml_serde::Error);

/// Parses JSON or YAML. YAML includes JSON, but the JSON parser is much faster.
pub fn parse_api_document(text: &str) -> Result<Value, DocumentError> {
    let text = text.trim_start_matches('\u{feff}');
    if let Ok(document) = serde_json::from_str(text) {
        return Ok(document);
    }
    let YamlValue(document) = yaml_serde::from_str(text)?;
    Ok(document)
}

/// A YAML value as JSON. Integers of more than 64 bits become floats, as in JSON, and `<<`
/// merges a mapping.
struct YamlValue(Value);

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor).map(Self)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JSON has the nearest float, too"
    )]
    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JSON has the nearest float, too"
    )]
    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok((number as f64).into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(YamlValue(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut fields, mut merged) = (Map::new(), Vec::new());
        while let Some((name, YamlValue(value))) = map.next_entry::<String, YamlValue>()? {
            match value {
                Value::Object(other) if name == "<<" => merged.push(other),
                Value::Array(others) if name == "<<" => {
                    merged.extend(others.into_iter().filter_map(|other| match other {
                        Value::Object(other) => Some(other),
                        _ => None,
                    }));
                }
                value => {
                    fields.insert(name, value);
                }
            }
        }
        for (name, value) in merged.into_iter().flatten() {
            fields.entry(name).or_insert(value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_its_json() {
        for (yaml, expected) in [
            (
                "min: -9223372036854776000\nmax: 18446744073709551616000\nnear: 9223372036854776000",
                json!({ "min": -9_223_372_036_854_776_000.0_f64, "max": 1.844_674_407_370_955_2e22,
                    "near": 9_223_372_036_854_776_000_u64 }),
            ),
            (
                "huge: 99999999999999999999999999999999999999999999",
                json!({ "huge": 1e44 }),
            ),
            (
                "200: {on: yes, date: 2020-01-01}",
                json!({ "200": { "on": "yes", "date": "2020-01-01" } }),
            ),
            (
                "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3",
                json!({ "a": { "x": 1, "y": 2 }, "b": { "y": 3, "x": 1 } }),
            ),
            (
                "n: ~\nf: 1.50\ni: .inf\nl: [true, 'x']",
                json!({ "n": null, "f": 1.5, "i": null, "l": [true, "x"] }),
            ),
        ] {
            assert_eq!(parse_api_document(yaml).unwrap(), expected, "{yaml}");
        }
        assert!(parse_api_document("a: [").is_err());
    }
}
