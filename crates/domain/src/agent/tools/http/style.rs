//! How arguments that are lists or objects are written in a request: the styles of OpenAPI
//! (<https://spec.openapis.org/oas/v3.1.1.html#style-values>).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ArgumentError;
use crate::ExactValue;

/// All but the unreserved characters (RFC 3986 section 2.3).
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Without the reserved characters that would end a value or a query.
const RESERVED_IN_QUERY: &AsciiSet = &RESERVED
    .remove(b':')
    .remove(b'/')
    .remove(b'?')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b'=');
/// Nesting of objects in a `deepObject`.
const MAX_DEPTH: usize = 16;

/// How an argument is written in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentStyle {
    /// The style, as in OpenAPI. `json` writes the argument as JSON.
    pub style: StyleName,
    /// Whether each value of a list or an object is written separately.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub explode: bool,
    /// Whether reserved characters such as `/` and `:` are sent as they are in the query.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_reserved: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StyleName {
    #[default]
    Form,
    SpaceDelimited,
    PipeDelimited,
    DeepObject,
    Simple,
    Label,
    Matrix,
    Json,
}

/// The place of an argument in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Header,
    /// The query, or a form in the body.
    Pairs,
    JsonBody,
}

impl StyleName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    pub(super) const fn fits(self, place: Place) -> bool {
        match self {
            Self::Json => !matches!(place, Place::JsonBody),
            Self::Simple => matches!(place, Place::Path | Place::Header),
            Self::Label | Self::Matrix => matches!(place, Place::Path),
            Self::Form | Self::SpaceDelimited | Self::PipeDelimited | Self::DeepObject => {
                matches!(place, Place::Pairs)
            }
        }
    }
}

/// The encoded pairs of a query or of a form. Omits null.
///
/// Without a style, a list is one pair for each value, and an object is JSON.
pub(super) fn encoded_pairs(
    argument: &str,
    name: &str,
    value: &ExactValue,
    style: Option<&ArgumentStyle>,
) -> Result<Vec<String>, ArgumentError> {
    let Some(style) = style else {
        return Ok(default_pairs(name, value));
    };
    let encode = |text: &str| {
        let set = if style.allow_reserved {
            RESERVED_IN_QUERY
        } else {
            RESERVED
        };
        utf8_percent_encode(text, set).to_string()
    };
    let name_of = |name: &str| utf8_percent_encode(name, RESERVED).to_string();
    let pair = |name: &str, text: &str| format!("{}={}", name_of(name), encode(text));
    Ok(match (style.style, value) {
        (_, ExactValue::Null) => Vec::new(),
        (StyleName::Json, value) => vec![pair(name, &value.to_json())],
        (StyleName::DeepObject, ExactValue::Object(_)) => {
            let mut pairs = Vec::new();
            push_deep(&mut pairs, name, value, &pair, 0);
            pairs
        }
        // Stripe and Rails read lists with numbers.
        (StyleName::DeepObject, ExactValue::Array(_)) => {
            let mut pairs = Vec::new();
            push_deep(&mut pairs, name, value, &pair, 0);
            pairs
        }
        (
            StyleName::Form | StyleName::SpaceDelimited | StyleName::PipeDelimited,
            ExactValue::Array(values),
        ) if style.explode => texts(values).iter().map(|text| pair(name, text)).collect(),
        (StyleName::Form, ExactValue::Object(fields)) if style.explode => fields
            .iter()
            .flat_map(|(name, value)| match value {
                ExactValue::Array(values) => {
                    texts(values).iter().map(|text| pair(name, text)).collect()
                }
                ExactValue::Null => Vec::new(),
                value => vec![pair(name, &text_of(value))],
            })
            .collect(),
        (_, ExactValue::Array(_) | ExactValue::Object(_)) => {
            let (separator, encoded) = match style.style {
                StyleName::SpaceDelimited => (' ', "%20"),
                StyleName::PipeDelimited => ('|', "%7C"),
                _ => (',', ","),
            };
            let parts = parts(value);
            // An encoded comma differs from a separator. The others do not.
            let is_ambiguous = separator != ',' || style.allow_reserved;
            if is_ambiguous && parts.iter().any(|part| part.contains(separator)) {
                return Err(ArgumentError::Separator(argument.to_owned(), separator));
            }
            let parts: Vec<String> = parts.iter().map(|part| encode(part)).collect();
            match parts.is_empty() {
                true => Vec::new(),
                false => vec![format!("{}={}", name_of(name), parts.join(encoded))],
            }
        }
        (_, value) => vec![pair(name, &text_of(value))],
    })
}

fn default_pairs(name: &str, value: &ExactValue) -> Vec<String> {
    let pair = |text: &str| {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.append_pair(name, text).finish()
    };
    match value {
        ExactValue::Null => Vec::new(),
        ExactValue::Array(values) => values.iter().map(|value| pair(&text_of(value))).collect(),
        value => vec![pair(&text_of(value))],
    }
}

const fn is_scalar(value: &ExactValue) -> bool {
    !matches!(value, ExactValue::Array(_) | ExactValue::Object(_))
}

/// Writes `name[field]=value`, with a pair of brackets for each level. A list of objects has
/// numbers, and so has an argument that is a list, as Stripe and Rails read them.
fn push_deep(
    pairs: &mut Vec<String>,
    name: &str,
    value: &ExactValue,
    pair: &impl Fn(&str, &str) -> String,
    depth: usize,
) {
    match value {
        ExactValue::Null => {}
        ExactValue::Object(fields) if depth < MAX_DEPTH => {
            for (field, value) in fields {
                push_deep(pairs, &format!("{name}[{field}]"), value, pair, depth + 1);
            }
        }
        ExactValue::Array(values) if depth > 0 && values.iter().all(is_scalar) => {
            pairs.extend(texts(values).iter().map(|text| pair(name, text)));
        }
        ExactValue::Array(values) if depth < MAX_DEPTH => {
            for (number, value) in values.iter().enumerate() {
                push_deep(pairs, &format!("{name}[{number}]"), value, pair, depth + 1);
            }
        }
        value => pairs.push(pair(name, &text_of(value))),
    }
}

/// A part of a path: encoded, and as it is when decoded once. `None` if the argument has no
/// value that can be a part of a path. Lists and objects need a style.
pub(super) fn path_text(
    name: &str,
    value: &ExactValue,
    style: Option<&ArgumentStyle>,
) -> Option<(String, String)> {
    if style.is_none() && scalar_text(value).is_none() {
        return None;
    }
    let style = style.copied().unwrap_or(ArgumentStyle {
        style: StyleName::Simple,
        ..ArgumentStyle::default()
    });
    let list = match value {
        ExactValue::Null => return None,
        value if style.style == StyleName::Json => vec![value.to_json()],
        ExactValue::Object(fields) if style.explode => {
            let named = fields
                .iter()
                .filter(|(_, value)| *value != ExactValue::Null)
                .map(|(name, value)| {
                    format!("{}={}", encode_path(name), encode_path(&text_of(value)))
                });
            return join_path(name, &named.collect::<Vec<_>>(), style, true);
        }
        value => parts(value),
    };
    if list.iter().any(String::is_empty) {
        return None;
    }
    let list: Vec<String> = list.iter().map(|text| encode_path(text)).collect();
    join_path(name, &list, style, false)
}

fn join_path(
    name: &str,
    list: &[String],
    style: ArgumentStyle,
    has_names: bool,
) -> Option<(String, String)> {
    if list.is_empty() {
        return None;
    }
    let name = encode_path(name);
    let text = match style.style {
        StyleName::Label => {
            let separator = if style.explode { "." } else { "," };
            format!(".{}", list.join(separator))
        }
        StyleName::Matrix if has_names => format!(";{}", list.join(";")),
        StyleName::Matrix if style.explode => {
            list.iter().map(|text| format!(";{name}={text}")).collect()
        }
        StyleName::Matrix => format!(";{name}={}", list.join(",")),
        _ => list.join(","),
    };
    let decoded = percent_encoding::percent_decode_str(&text)
        .decode_utf8_lossy()
        .into_owned();
    Some((text, decoded))
}

fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The value of a header. Lists and objects need a style.
pub(super) fn header_text(value: &ExactValue, style: Option<&ArgumentStyle>) -> Option<String> {
    match (value, style) {
        (value, Some(style)) if style.style == StyleName::Json => Some(value.to_json()),
        (ExactValue::Object(fields), Some(style)) if style.explode => {
            let named = fields
                .iter()
                .filter(|(_, value)| *value != ExactValue::Null)
                .map(|(name, value)| format!("{name}={}", text_of(value)));
            Some(named.collect::<Vec<_>>().join(","))
        }
        (ExactValue::Array(_) | ExactValue::Object(_), Some(_)) => Some(parts(value).join(",")),
        (value, _) => scalar_text(value),
    }
}

pub(super) fn scalar_text(value: &ExactValue) -> Option<String> {
    match value {
        ExactValue::String(text) | ExactValue::Number(text) => Some(text.clone()),
        ExactValue::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The value as a text: JSON if it is a list or an object.
fn text_of(value: &ExactValue) -> String {
    scalar_text(value).unwrap_or_else(|| value.to_json())
}

fn texts(values: &[ExactValue]) -> Vec<String> {
    let given = values.iter().filter(|value| **value != ExactValue::Null);
    given.map(text_of).collect()
}

/// The values of a list, the names and values of an object, or a single value.
fn parts(value: &ExactValue) -> Vec<String> {
    match value {
        ExactValue::Array(values) => texts(values),
        ExactValue::Object(fields) => fields
            .iter()
            .filter(|(_, value)| *value != ExactValue::Null)
            .flat_map(|(name, value)| [name.clone(), text_of(value)])
            .collect(),
        value => vec![text_of(value)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn style(fields: Value) -> ArgumentStyle {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn lists_and_objects_are_written_as_the_examples_of_the_specification() {
        let (list, object) = (
            json!(["blue", "black", "a&b,c"]),
            json!({ "R": 100, "G": null, "B": "x y" }),
        );
        let cases = json!([
            [list, { "style": "form", "explode": true }, "color=blue&color=black&color=a%26b%2Cc"],
            [list, { "style": "form" }, "color=blue,black,a%26b%2Cc"],
            [list, { "style": "spaceDelimited" }, "color=blue%20black%20a%26b%2Cc"],
            [list, { "style": "pipeDelimited" }, "color=blue%7Cblack%7Ca%26b%2Cc"],
            [object, { "style": "form", "explode": true }, "R=100&B=x%20y"],
            [object, { "style": "form" }, "color=R,100,B,x%20y"],
            [
                object, { "style": "deepObject", "explode": true },
                "color%5BR%5D=100&color%5BB%5D=x%20y",
            ],
            [
                object, { "style": "json" },
                "color=%7B%22R%22%3A100%2C%22G%22%3Anull%2C%22B%22%3A%22x%20y%22%7D",
            ],
            [
                { "a": { "b": [1, 2] } }, { "style": "deepObject" },
                "color%5Ba%5D%5Bb%5D=1&color%5Ba%5D%5Bb%5D=2",
            ],
            [[], { "style": "form" }, ""],
            [null, { "style": "form" }, ""],
            [
                "a/b:c?d&e#f+g", { "style": "form", "allow_reserved": true },
                "color=a/b:c?d%26e%23f%2Bg",
            ],
        ]);
        for case in cases.as_array().unwrap() {
            let [value, fields, expected] = &case.as_array().unwrap()[..] else {
                panic!("{case}")
            };
            let pairs = encoded_pairs(
                "color",
                "color",
                &value.into(),
                Some(&style(fields.clone())),
            );
            assert_eq!(pairs.unwrap().join("&"), *expected, "{fields}");
        }
        let ambiguous = (&json!(["a|b"])).into();
        let refused = encoded_pairs(
            "ids",
            "ids",
            &ambiguous,
            Some(&style(json!({ "style": "pipeDelimited" }))),
        );
        assert_eq!(refused, Err(ArgumentError::Separator("ids".into(), '|')));
    }

    #[test]
    fn paths_and_headers_take_lists_and_objects() {
        let (list, object) = (json!(["a/b", 2]), json!({ "R": 1, "G": "x" }));
        for (value, fields, path, header) in [
            (
                &list,
                json!({ "style": "simple" }),
                "a%2Fb,2",
                Some("a/b,2"),
            ),
            (
                &object,
                json!({ "style": "simple" }),
                "R,1,G,x",
                Some("R,1,G,x"),
            ),
            (
                &object,
                json!({ "style": "simple", "explode": true }),
                "R=1,G=x",
                Some("R=1,G=x"),
            ),
            (
                &list,
                json!({ "style": "label", "explode": true }),
                ".a%2Fb.2",
                None,
            ),
            (&list, json!({ "style": "label" }), ".a%2Fb,2", None),
            (&list, json!({ "style": "matrix" }), ";c=a%2Fb,2", None),
            (
                &list,
                json!({ "style": "matrix", "explode": true }),
                ";c=a%2Fb;c=2",
                None,
            ),
            (
                &object,
                json!({ "style": "matrix", "explode": true }),
                ";R=1;G=x",
                None,
            ),
            (&json!(5), json!({ "style": "matrix" }), ";c=5", None),
        ] {
            let style = style(fields.clone());
            let written = path_text("c", &value.into(), Some(&style)).unwrap().0;
            assert_eq!(written, path, "{fields}");
            if let Some(header) = header {
                assert_eq!(
                    header_text(&value.into(), Some(&style)).as_deref(),
                    Some(header)
                );
            }
        }
        for value in [json!([]), json!(""), json!(["a", ""]), json!(null)] {
            assert_eq!(path_text("c", &(&value).into(), None), None, "{value}");
        }
    }
}
