//! Converts schemas of a document to self-contained JSON schemas.

use serde_json::{Map, Value, json};

use super::read_only::{BY_NAME, PLAIN, remove_read_only};
use super::{OperationError, target};
use crate::schema::bounded_validator;

/// Nesting of schemas. Deeper schemas are replaced by one that accepts any value.
const MAX_DEPTH: usize = 16;
/// JSON values in all schemas of one operation.
const MAX_VALUES: usize = 4000;
/// Bytes of their texts and names. A tool with more cannot be stored.
const MAX_TEXT_BYTES: usize = 256 * 1024;
const MAX_DESCRIPTION_BYTES: usize = 500;

/// Keywords that are not copied: they are for people or other programs, or they are
/// identifiers that have no meaning in the copy.
const DROPPED: [&str; 16] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "definitions",
    "deprecated",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "writeOnly",
    "xml",
];
/// Keywords that do not restrict values.
const ANNOTATIONS: [&str; 4] = ["default", "description", "readOnly", "title"];
/// Copies schemas from a document and replaces references by their targets.
pub(super) struct Schemas<'d> {
    document: &'d Value,
    /// The remaining part of [`MAX_VALUES`].
    left: usize,
    /// The remaining part of [`MAX_TEXT_BYTES`].
    bytes_left: usize,
}

impl<'d> Schemas<'d> {
    pub(super) const fn new(document: &'d Value) -> Self {
        Self {
            document,
            left: MAX_VALUES,
            bytes_left: MAX_TEXT_BYTES,
        }
    }

    /// Counts values and the bytes of their texts before they are copied.
    fn count(&mut self, values: usize, bytes: usize) -> Result<(), OperationError> {
        let rest = |left: usize, taken| left.checked_sub(taken).ok_or(OperationError::TooLarge);
        self.left = rest(self.left, values)?;
        self.bytes_left = rest(self.bytes_left, bytes)?;
        Ok(())
    }

    /// A self-contained copy of the schema.
    pub(super) fn copy(&mut self, schema: &'d Value) -> Result<Value, OperationError> {
        let mut copy = self.schema(schema, &mut Vec::new(), 0)?;
        remove_read_only(&mut copy);
        Ok(copy)
    }

    /// `open`: the references being followed, to detect cycles.
    fn schema(
        &mut self,
        schema: &'d Value,
        open: &mut Vec<&'d str>,
        depth: usize,
    ) -> Result<Value, OperationError> {
        self.count(1, 0)?;
        let Some(fields) = schema.as_object() else {
            return if schema.is_boolean() {
                Ok(schema.clone())
            } else {
                Err(OperationError::Malformed("schema"))
            };
        };
        if depth > MAX_DEPTH {
            return Ok(json!({}));
        }
        let mut copy = match fields.get("$ref").and_then(Value::as_str) {
            None => Map::new(),
            Some(reference) if open.contains(&reference) => return Ok(json!({})),
            Some(reference) => {
                open.push(reference);
                let copy = self.schema(target(self.document, reference)?, open, depth + 1)?;
                open.pop();
                match copy {
                    Value::Object(fields) => fields,
                    other => return Ok(other),
                }
            }
        };
        let mut siblings = Map::new();
        for (name, value) in fields {
            if !DROPPED.contains(&name.as_str()) && !name.starts_with("x-") {
                let value = self.keyword(name, value, open, depth)?;
                siblings.extend(value.map(|value| (name.clone(), value)));
            }
        }
        // Both a reference and the keywords beside it apply.
        let is_replaced =
            |name: &String| copy.contains_key(name) && !ANNOTATIONS.contains(&name.as_str());
        if siblings.keys().any(is_replaced) {
            convert_version_3_0(&mut siblings);
            return Ok(json!({ "allOf": [copy, siblings] }));
        }
        copy.extend(siblings);
        convert_version_3_0(&mut copy);
        Ok(Value::Object(copy))
    }

    fn keyword(
        &mut self,
        name: &str,
        value: &'d Value,
        open: &mut Vec<&'d str>,
        depth: usize,
    ) -> Result<Option<Value>, OperationError> {
        Ok(Some(match value {
            Value::Object(fields) if BY_NAME.contains(&name) => {
                let mut copies = Map::new();
                for (name, schema) in fields {
                    self.count(0, name.len())?;
                    copies.insert(name.clone(), self.schema(schema, open, depth + 1)?);
                }
                copies.into()
            }
            Value::Object(_) if !PLAIN.contains(&name) => self.schema(value, open, depth + 1)?,
            Value::Array(schemas) if !PLAIN.contains(&name) => {
                let copies = schemas
                    .iter()
                    .map(|schema| self.schema(schema, open, depth + 1));
                copies
                    .collect::<Result<Vec<Value>, OperationError>>()?
                    .into()
            }
            Value::String(pattern) if name == "pattern" => {
                self.count(0, pattern.len())?;
                // Dropped if it is in an unsupported dialect of regular expressions.
                return Ok(bounded_validator(&json!({ "pattern": pattern }))
                    .is_ok()
                    .then(|| value.clone()));
            }
            Value::String(text) if name == "description" => {
                crate::cut(text, MAX_DESCRIPTION_BYTES).into()
            }
            _ => {
                self.count(values_in(value), text_bytes_in(value))?;
                let mut value = value.clone();
                write_whole_numbers(&mut value);
                value
            }
        }))
    }
}

fn values_in(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(values_in).sum::<usize>() + 1,
        Value::Object(fields) => fields.values().map(values_in).sum::<usize>() + 1,
        _ => 1,
    }
}

fn text_bytes_in(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(text_bytes_in).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + text_bytes_in(value))
            .sum(),
        _ => 0,
    }
}

/// Converts `nullable` and boolean exclusive bounds, which only OpenAPI 3.0 has.
fn convert_version_3_0(schema: &mut Map<String, Value>) {
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        allow_null(schema);
    }
    for (exclusive, bound) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => {
                if let Some(value) = schema.remove(bound) {
                    schema.insert(exclusive.to_owned(), value);
                } else {
                    schema.remove(exclusive);
                }
            }
            Some(Value::Bool(false)) => {
                schema.remove(exclusive);
            }
            _ => {}
        }
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    const COMPOSED: [&str; 5] = ["allOf", "anyOf", "oneOf", "not", "const"];
    match schema.get_mut("type") {
        Some(Value::Array(kinds)) if !kinds.contains(&"null".into()) => kinds.push("null".into()),
        Some(kind @ Value::String(_)) if kind != "null" => *kind = json!([kind.clone(), "null"]),
        _ => {}
    }
    if COMPOSED.iter().any(|name| schema.contains_key(*name)) {
        let described = schema.remove("description");
        let value = Value::Object(std::mem::take(schema));
        schema.extend(described.map(|text| ("description".to_owned(), text)));
        schema.insert("anyOf".to_owned(), json!([value, { "type": "null" }]));
    } else if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

/// Writes `126.0` as `126`, which all providers accept for an integer.
fn write_whole_numbers(value: &mut Value) {
    /// Larger floats are not exact integers.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() == 0.0 && float.abs() <= MAX_EXACT {
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                let whole = float as i64;
                *value = whole.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(write_whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(write_whole_numbers),
        _ => {}
    }
}
