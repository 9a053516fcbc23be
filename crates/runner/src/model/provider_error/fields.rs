//! Reads the fields of a provider's error.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::model::retry_after::parse_duration;

/// Most bytes of a code, a parameter or the id of a request.
const MAX_IDENTIFIER_BYTES: usize = 64;
/// Codes that say no more than the status. Used if there is no other.
const GENERIC: [&str; 10] = [
    "api_error",
    "invalid_request",
    "invalid_request_error",
    "bad_request",
    "bad_request_error",
    "BadRequest",
    "BadRequestError",
    "INVALID_ARGUMENT",
    "HTTPException",
    "HttpException",
];
/// What servers write for no value, or for any error.
const NOT_CODES: [&str; 7] = [
    "None",
    "none",
    "null",
    "undefined",
    "unknown",
    "error",
    "Error",
];

/// The error code. The more exact one, if there are several.
pub(super) fn most_telling(
    objects: &[&Map<String, Value>],
    single: Option<&str>,
) -> Option<String> {
    let mut words = Vec::new();
    let mut numbers = Vec::new();
    for object in objects {
        words.extend(
            details(object).filter_map(|detail| identifier(detail.get("reason")?.as_str()?)),
        );
        for name in [
            "code",
            "type",
            "error_type",
            "status",
            "status_code",
            "__type",
            "error_code",
            "errorCode",
            "Code",
            "reason",
        ] {
            match object.get(name) {
                Some(Value::String(text)) => words.extend(aws_code(text)),
                Some(Value::Number(number)) => numbers.extend(identifier(&number.to_string())),
                _ => {}
            }
        }
    }
    words.extend(single.and_then(identifier));
    let is_number = |word: &String| word.bytes().all(|byte| !byte.is_ascii_alphabetic());
    let (numeric, words): (Vec<_>, Vec<_>) = words.into_iter().partition(is_number);
    let telling = words.iter().find(|word| !GENERIC.contains(&word.as_str()));
    let is_status = |number: &String| {
        number
            .parse::<f64>()
            .is_ok_and(|n| (100.0..600.0).contains(&n))
    };
    telling.or(words.first()).cloned().or_else(|| {
        let mut numbers = numeric.into_iter().chain(numbers);
        numbers
            .find(|number| !is_status(number) && number.as_str() != "0" && number.as_str() != "-1")
    })
}

/// AWS may wrap the code: `namespace#Code:url`. In problem details (RFC 9457) it is a URI.
pub(super) fn aws_code(text: &str) -> Option<String> {
    let text = text.rsplit('#').next()?;
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    match word {
        "http" | "https" | "urn" | "tag" => identifier(rest.rsplit(['/', ':']).next()?),
        "about" => None,
        _ => identifier(word),
    }
}

/// The text, if it cannot be a sentence.
pub(super) fn identifier(text: &str) -> Option<String> {
    let text = text.trim();
    let is_identifier = (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    (is_identifier && !NOT_CODES.contains(&text)).then(|| text.to_owned())
}

pub(super) fn status_in(object: &Map<String, Value>) -> Option<StatusCode> {
    let names = [
        "code",
        "status",
        "status_code",
        "statusCode",
        "http_status",
        "http_code",
    ];
    names.into_iter().find_map(|name| {
        let number = match object.get(name)? {
            Value::String(text) => text.trim().parse().ok()?,
            number => number.as_f64()?,
        };
        let is_error = (400.0..600.0).contains(&number) && number.fract() == 0.0;
        // The range is that of the type.
        is_error.then(|| StatusCode::from_u16(number as u16).ok())?
    })
}

/// The type of the error, which some servers repeat as its code.
pub(super) fn kind_in(object: &Map<String, Value>) -> Option<String> {
    let names = ["type", "error_type", "__type", "status"];
    let mut kinds = names
        .into_iter()
        .filter_map(|name| aws_code(object.get(name)?.as_str()?));
    kinds.find(|kind| kind.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

fn details(object: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let details = object.get("details").and_then(Value::as_array);
    details.into_iter().flatten().filter_map(Value::as_object)
}

/// The wrong parameter: `param`, FastAPI's `loc`, or the field of Google's `BadRequest`.
pub(super) fn param_in(object: &Map<String, Value>) -> Option<String> {
    let named = ["param", "parameter", "field"]
        .into_iter()
        .find_map(|name| identifier(object.get(name)?.as_str()?));
    let located = || {
        let parts = object
            .get("loc")?
            .as_array()?
            .iter()
            .filter_map(|part| match part {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
        identifier(
            &parts
                .skip_while(|part| part == "body")
                .collect::<Vec<_>>()
                .join("."),
        )
    };
    let violated = || {
        details(object).find_map(|detail| {
            let violation = detail.get("fieldViolations")?.as_array()?.first()?;
            identifier(violation.get("field")?.as_str()?)
        })
    };
    named.or_else(located).or_else(violated)
}

/// Google's `RetryInfo`.
pub(super) fn retry_in(object: &Map<String, Value>) -> Option<Duration> {
    details(object).find_map(|detail| parse_duration(detail.get("retryDelay")?.as_str()?))
}
