//! The text of a document: JSON or YAML.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
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
    let left = Cell::new(MAX_BYTES);
    let deserializer = yaml_serde::Deserializer::from_str(text);
    Ok(YamlValue(&left).deserialize(deserializer)?)
}

/// Bytes of memory that the values of a document may take, with all copies that aliases make. The
/// largest documents of public APIs have 12 MiB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a value besides its text.
const VALUE_BYTES: usize = 64;

/// A YAML value as JSON. Integers of more than 64 bits become floats, as in JSON, and `<<`
/// merges a mapping. Contains the remaining part of [`MAX_BYTES`].
#[derive(Clone, Copy)]
struct YamlValue<'b>(&'b Cell<usize>);

impl YamlValue<'_> {
    fn count<E: Error>(self, text: &str) -> Result<(), E> {
        let rest = self.0.get().checked_sub(VALUE_BYTES + text.len());
        self.0
            .set(rest.ok_or_else(|| E::custom("the document has too many values"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for YamlValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count("")?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for YamlValue<'_> {
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

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.count(text)?;
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
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut fields, mut merged) = (Map::new(), Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            self.count(&name)?;
            match map.next_value_seed(self)? {
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

    #[test]
    fn aliases_cannot_multiply_a_small_document() {
        let list = "x,".repeat(25_000);
        let aliases = "*a,".repeat(80_000);
        for document in [
            format!("a: &a [{list}]\nb: [{aliases}]"),
            format!("a: &a {}\nb: [{aliases}]", "x".repeat(25_000)),
            format!("a: &a {{{}: 1}}\nb: [{aliases}]", "x".repeat(1000)),
        ] {
            let error = parse_api_document(&document).unwrap_err().to_string();
            assert!(error.contains("too many values"), "{error}");
        }
    }
}
