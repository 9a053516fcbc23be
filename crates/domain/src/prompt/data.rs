//! The payload as template values.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(super) fn payload_value(payload: &str) -> Value {
    let json: Arc<str> = payload.into();
    let whole = 0..json.len();
    value(&json, whole)
}

/// Converts JSON to a template value. A number whose digits a float would change (`1.50`, large
/// integers) becomes a string of its digits. `| float` converts it back to a number.
fn value(json: &Arc<str>, range: Range<usize>) -> Value {
    let text = json.get(range.clone()).unwrap_or_default();
    match text.as_bytes().first() {
        Some(b'{' | b'[') => Value::from_object(Container {
            json: Arc::clone(json),
            range,
            content: OnceLock::new(),
        }),
        // A lone surrogate is valid JSON but not valid Unicode. It is not decoded.
        Some(b'"') => {
            serde_json::from_str::<String>(text).map_or_else(|_| Value::from(text), Value::from)
        }
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') => Value::from(()),
        _ => number(text),
    }
}

/// An object or array of the payload. It is a part of the payload's text and is parsed only when
/// a template accesses it, one level at a time, so that deep payloads cost nothing.
#[derive(Debug)]
pub(super) struct Container {
    json: Arc<str>,
    range: Range<usize>,
    content: OnceLock<Value>,
}

impl Container {
    pub(super) fn text(&self) -> &str {
        self.json.get(self.range.clone()).unwrap_or_default()
    }

    fn is_map(&self) -> bool {
        self.text().starts_with('{')
    }

    fn content(&self) -> &Value {
        self.content.get_or_init(|| {
            let text = self.text();
            if self.is_map() {
                // A name that is not valid Unicode hides the object's fields, but not its text.
                let fields = serde_json::from_str(text).unwrap_or(ObjectFields(Vec::new()));
                Value::from_pairs(
                    fields
                        .0
                        .into_iter()
                        .map(|(name, raw)| (name, self.child(raw))),
                )
            } else {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                items.into_iter().map(|raw| self.child(raw)).collect()
            }
        })
    }

    fn len(&self) -> usize {
        self.content().len().unwrap_or_default()
    }

    /// A value inside this one, as a part of the same text.
    fn child(&self, raw: &RawValue) -> Value {
        let start = raw
            .get()
            .as_ptr()
            .addr()
            .saturating_sub(self.json.as_ptr().addr());
        value(&self.json, start..start + raw.get().len())
    }
}

impl Object for Container {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_map() {
            ObjectRepr::Map
        } else {
            ObjectRepr::Seq
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.content()
            .get_item(key)
            .ok()
            .filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.is_map() {
            Enumerator::Values(
                self.content()
                    .try_iter()
                    .map(Iterator::collect)
                    .unwrap_or_default(),
            )
        } else {
            Enumerator::Seq(self.len())
        }
    }

    // The default implementations of these two collect all keys.
    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.len())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.len() > 0
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

fn number(text: &str) -> Value {
    if let Ok(integer) = text.parse::<i128>()
        && integer.to_string() == text
    {
        return Value::from(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.to_string() == text => Value::from(float),
        _ => Value::from(text),
    }
}

/// An object's fields in their order. The values are not parsed yet.
struct ObjectFields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for ObjectFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectFields(Vec::new()))
    }
}

impl<'de> Visitor<'de> for ObjectFields<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(field) = map.next_entry()? {
            self.0.push(field);
        }
        Ok(self)
    }
}
