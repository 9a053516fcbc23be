//! Counts the values of untrusted JSON before it is parsed to a [`Value`].
//!
//! A `Value` takes up to 300 bytes for each JSON value in the text: 4 MB of `[[0],[0],…]`
//! would take half a gigabyte. Callers limit the bytes of such a text, and this module limits
//! the number of its values.
//!
//! [`Value`]: serde_json::Value

use serde::de::DeserializeOwned;

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
