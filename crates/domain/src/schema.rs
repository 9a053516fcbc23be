//! JSON schemas of an agent's answers and of the arguments of its tools.
//!
//! The agent's owner writes a schema, or imports it from another party. The validated values
//! come from a model. So the time of a validation must be bounded by the sizes of the schema and
//! the value:
//!
//! - A schema has no external and no recursive references.
//! - Patterns are matched in linear time.
//! - Keywords that may check a value repeatedly are refused.

use std::borrow::Cow;
use std::collections::HashSet;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::prose::{json_in_prose, unfenced};
use crate::{ForeignJsonError, MAX_JSON_VALUES, cut, parse_foreign_json, replace_lone_surrogates};

/// Bytes of a schema as JSON.
const MAX_BYTES: usize = 32 * 1024;
/// Subschemas, counted once per reference to them.
const MAX_SUBSCHEMAS: usize = 4096;
/// So many values of an `enum`, or of another array or object, take as long as one subschema.
const SCALARS_PER_SUBSCHEMA: usize = 8;
/// A byte of a schema takes as long to compile as this many bytes of JSON take to parse.
const COMPILATION_COST: usize = 64;
/// Length of a chain of references. Each one adds a level of recursion.
const MAX_REFERENCES: usize = 32;
/// The drafts in which only `$id` changes the base of `$ref`.
const DRAFTS: [&str; 4] = ["2020-12", "2019-09", "draft-07", "draft-06"];
/// Bytes of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
/// Bytes of all compiled patterns of a schema. Each may use an equal part.
const MAX_PATTERNS_BYTES: usize = 8 * MAX_PATTERN_BYTES;
/// Bytes of an answer that is validated. An error in each of many small values takes hundreds
/// of times their size.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Bytes of an error message that a model sees.
const MAX_FAULT_BYTES: usize = 300;

/// A schema of answers.
#[derive(Debug)]
pub struct AnswerSchema {
    json: Value,
    validator: BoundedValidator,
}

/// Validates values in a time that is bounded by the sizes of schema and value.
#[derive(Debug)]
pub(crate) struct BoundedValidator {
    validator: Validator,
    subschemas: usize,
}

/// Why a schema is not supported. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("it must be a JSON object")]
    NotAnObject,
    #[error("it is longer than 32768 bytes")]
    TooLong,
    #[error("`$schema` must be draft-06, draft-07, 2019-09 or 2020-12 (the default)")]
    Draft,
    /// A reference to another document, to nothing, or of a kind that is not supported.
    #[error("`$ref` must point into the schema itself, like \"#/$defs/name\": {0}")]
    Reference(String),
    #[error("it refers to itself, at {0}; write out as many levels as needed")]
    Recursive(String),
    /// Keywords whose cost doubles with every level.
    #[error("`{0}` is not supported; use `additionalProperties` or `items`")]
    Unevaluated(String),
    #[error(
        "it has more than 4096 subschemas, counted once per reference, or more than 32 references in a row"
    )]
    TooLarge,
    #[error("{0}")]
    Invalid(String),
}

/// Why an answer does not match the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaMismatch {
    /// For the model. May quote the answer.
    pub for_model: String,
    /// For readers of the task and for the log. Does not quote the answer.
    pub for_reader: String,
}

impl AnswerSchema {
    pub fn parse(json: &Value) -> Result<Self, SchemaError> {
        Ok(Self {
            json: json.clone(),
            validator: bounded_validator(json)?,
        })
    }

    /// An upper bound for the time to compile a schema, measured like [`Self::cost`].
    pub fn compilation_cost(json: &Value) -> usize {
        compilation_cost(json)
    }

    /// An upper bound for the time to validate an answer of this many bytes, measured as the
    /// number of bytes of JSON that take as long to parse.
    pub const fn cost(&self, bytes: usize) -> usize {
        self.validator.cost(bytes)
    }

    pub const fn json(&self) -> &Value {
        &self.json
    }

    /// Validates an answer and returns its JSON, without a code fence or prose around it. Of
    /// several JSON values in prose, the last one that matches counts.
    pub fn validate_answer<'a>(&self, answer: &'a str) -> Result<Cow<'a, str>, SchemaMismatch> {
        let text = unfenced(answer);
        let mismatch = match self.validate_json(text) {
            Ok(json) => return Ok(json),
            Err(mismatch) => mismatch,
        };
        let is_json = serde_json::from_str::<IgnoredAny>(&replace_lone_surrogates(text)).is_ok();
        if is_json || text.len() > MAX_ANSWER_BYTES {
            return Err(mismatch);
        }
        let mut in_prose = json_in_prose(text).into_iter().rev().peekable();
        let first = in_prose.peek().map(|json| self.validate_json(json));
        match first {
            None => Err(mismatch),
            Some(Ok(json)) => Ok(json),
            Some(Err(mismatch)) => in_prose
                .skip(1)
                .find_map(|json| self.validate_json(json).ok())
                .ok_or(mismatch),
        }
    }

    fn validate_json<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, SchemaMismatch> {
        if text.len() > MAX_ANSWER_BYTES {
            let too_long = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(SchemaMismatch {
                for_model: too_long.clone(),
                for_reader: too_long,
            });
        }
        let text = replace_lone_surrogates(text);
        let value = parse_foreign_json(&text, MAX_JSON_VALUES).map_err(|error| match error {
            ForeignJsonError::TooManyValues(_) => {
                let too_many = format!("it has {error}");
                SchemaMismatch {
                    for_model: too_many.clone(),
                    for_reader: too_many,
                }
            }
            ForeignJsonError::Invalid(error) => SchemaMismatch {
                for_model: format!("It must contain only JSON: {error}"),
                for_reader: "it is not valid JSON".to_owned(),
            },
        })?;
        match self.validator.validate(&value) {
            Ok(()) => Ok(text),
            Err(error) => Err(SchemaMismatch {
                for_model: fault(&error),
                for_reader: format!("it violates the schema{}", at(error.schema_path().as_str())),
            }),
        }
    }
}

impl BoundedValidator {
    /// See [`AnswerSchema::cost`]. Each subschema may check each value.
    pub(crate) const fn cost(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.subschemas)
    }

    /// Returns only the first error. All of them would take hundreds of times the value's size.
    pub(crate) fn validate<'v>(&self, value: &'v Value) -> Result<(), ValidationError<'v>> {
        self.validator.validate(value)
    }
}

/// Builds the validator of a supported schema.
pub(crate) fn bounded_validator(json: &Value) -> Result<BoundedValidator, SchemaError> {
    if !json.is_object() {
        return Err(SchemaError::NotAnObject);
    }
    if json.to_string().len() > MAX_BYTES {
        return Err(SchemaError::TooLong);
    }
    let known = |draft: &Value| {
        draft
            .as_str()
            .is_some_and(|uri| DRAFTS.iter().any(|known| uri.contains(known)))
    };
    if json.get("$schema").is_some_and(|draft| !known(draft)) {
        return Err(SchemaError::Draft);
    }
    let mut walk = Walk {
        root: json,
        left: MAX_SUBSCHEMAS,
        path: Vec::new(),
        patterns: HashSet::new(),
    };
    walk.check(json)?;
    let most = MAX_PATTERN_BYTES.min(MAX_PATTERNS_BYTES / walk.patterns.len().max(1));
    let invalid = |error: ValidationError<'_>| {
        let place = error.instance_path().as_str();
        let limit = match error.to_string().contains("regex") {
            true => format!(
                "; each of its {} patterns may take {most} bytes compiled",
                walk.patterns.len()
            ),
            false => String::new(),
        };
        SchemaError::Invalid(cut(
            &format!("{error}{}{limit}", at(place)),
            MAX_FAULT_BYTES,
        ))
    };
    let patterns = PatternOptions::regex()
        .size_limit(most)
        .dfa_size_limit(most);
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(json);
    Ok(BoundedValidator {
        validator: validator.map_err(invalid)?,
        subschemas: MAX_SUBSCHEMAS - walk.left,
    })
}

fn fault(error: &ValidationError<'_>) -> String {
    cut(
        &format!("- {error}{}", at(error.instance_path().as_str())),
        MAX_FAULT_BYTES,
    )
}

fn at(place: &str) -> Cow<'static, str> {
    if place.is_empty() {
        Cow::Borrowed("")
    } else {
        Cow::Owned(format!(" at {place}"))
    }
}

fn scalars<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    values
        .filter(|value| !value.is_object() && !value.is_array())
        .count()
}

/// How many bytes of JSON take as long to parse as this schema takes to compile, at most.
pub(crate) fn compilation_cost(schema: &Value) -> usize {
    schema.to_string().len().saturating_mul(COMPILATION_COST)
}

/// Follows references as the validator would. Everything that looks like a reference is treated
/// as one.
struct Walk<'a> {
    root: &'a Value,
    /// The remaining part of [`MAX_SUBSCHEMAS`].
    left: usize,
    /// The references that led here.
    path: Vec<&'a str>,
    patterns: HashSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn check(&mut self, value: &'a Value) -> Result<(), SchemaError> {
        match value {
            Value::Object(fields) => {
                self.charge(1 + scalars(fields.values()) / SCALARS_PER_SUBSCHEMA)?;
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("$ref", Value::String(target)) => self.follow(target)?,
                        ("pattern", Value::String(pattern)) => {
                            self.patterns.insert(pattern);
                        }
                        ("patternProperties", Value::Object(schemas)) => {
                            self.patterns.extend(schemas.keys().map(String::as_str));
                            self.check(value)?;
                        }
                        (
                            "unevaluatedProperties" | "unevaluatedItems",
                            Value::Bool(_) | Value::Object(_),
                        ) => {
                            return Err(SchemaError::Unevaluated(name.clone()));
                        }
                        ("$dynamicRef" | "$recursiveRef" | "$id", Value::String(text)) => {
                            return Err(SchemaError::Reference(cut(text, 100)));
                        }
                        _ => self.check(value)?,
                    }
                }
                Ok(())
            }
            Value::Array(items) => {
                self.charge(scalars(items.iter()) / SCALARS_PER_SUBSCHEMA)?;
                items.iter().try_for_each(|item| self.check(item))
            }
            _ => Ok(()),
        }
    }

    fn charge(&mut self, subschemas: usize) -> Result<(), SchemaError> {
        self.left = self
            .left
            .checked_sub(subschemas)
            .ok_or(SchemaError::TooLarge)?;
        Ok(())
    }

    fn follow(&mut self, target: &'a str) -> Result<(), SchemaError> {
        if self.path.contains(&target) {
            return Err(SchemaError::Recursive(cut(target, 100)));
        }
        let pointer = target
            .strip_prefix('#')
            .filter(|pointer| !pointer.contains('%'));
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        let found = found.ok_or_else(|| SchemaError::Reference(cut(target, 100)))?;
        if self.path.len() == MAX_REFERENCES {
            return Err(SchemaError::TooLarge);
        }
        self.path.push(target);
        self.check(found)?;
        self.path.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(schema: &Value) -> String {
        AnswerSchema::parse(schema)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    fn order() -> AnswerSchema {
        AnswerSchema::parse(&json!({
            "type": "object",
            "properties": {
                "total": { "$ref": "#/$defs/money" },
                "lines": { "type": "array", "items": { "$ref": "#/$defs/money" } },
            },
            "required": ["total"],
            "additionalProperties": false,
            "$defs": { "money": { "type": "number", "minimum": 0 } },
        }))
        .unwrap()
    }

    #[test]
    fn a_valid_answer_is_returned_as_json_without_a_fence() {
        let schema = order();
        for answer in [
            r#"{"total":1.50}"#,
            " {\"total\":1.50}\n",
            "```json\n{\"total\":1.50}\n```",
            "```\n{\"total\":1.50}\n```\n",
        ] {
            assert_eq!(
                schema.validate_answer(answer).as_deref(),
                Ok(r#"{"total":1.50}"#),
                "{answer}"
            );
        }
        let text = AnswerSchema::parse(&json!({ "type": "string" })).unwrap();
        assert_eq!(text.validate_answer("\"```\"").as_deref(), Ok("\"```\""));
    }

    #[test]
    fn the_json_of_an_answer_with_prose_is_taken() {
        let schema = order();
        for answer in [
            "Here you go:\n```json\n{\"total\":1.50}\n```\nDone.",
            "Draft:\n```json\n{\"total\":1}\n```\nFinal:\n```\n{\"total\":1.50}\n```",
            "Used [1].\n```json\n{\"total\":1.50}\n```\nThe schema: ```{\"type\":7}```",
            "Here you go: {\"total\":1.50}",
            "{\"total\":1.50}\nThat is all.",
            "Sure [1]!\n\n{\"total\":1.50}\n\nDone {x}.",
        ] {
            let json = schema.validate_answer(answer);
            assert_eq!(json.as_deref(), Ok(r#"{"total":1.50}"#), "{answer}");
        }
        let text = AnswerSchema::parse(&json!({ "type": "string" })).unwrap();
        let json = text.validate_answer(r#""a\ud83d""#);
        assert_eq!(json.as_deref(), Ok(r#""a\ufffd""#));
        let mismatch = schema
            .validate_answer("It is:\n```json\n{\"total\":-1}\n```")
            .unwrap_err();
        assert!(mismatch.for_model.contains("at /total"), "{mismatch:?}");
    }

    #[test]
    fn a_mismatch_is_quoted_to_the_model_but_not_to_the_reader() {
        let schema = order();
        let mismatch = schema
            .validate_answer(r#"{"total":"secret","lines":[1,-2],"more":1}"#)
            .unwrap_err();
        let says = ["at /total", "at /lines/1", "more"];
        assert!(
            says.iter().any(|says| mismatch.for_model.contains(says)),
            "{}",
            mismatch.for_model
        );
        assert!(
            !mismatch.for_reader.contains("secret"),
            "{}",
            mismatch.for_reader
        );
        assert!(
            mismatch.for_reader.contains(" at /"),
            "{}",
            mismatch.for_reader
        );
        for answer in [
            "It is 1.50.",
            "{\"total\":1} and so on",
            "```json\n{\"total\":1}",
            "",
        ] {
            assert_eq!(
                schema.validate_answer(answer).unwrap_err().for_reader,
                "it is not valid JSON",
                "{answer}"
            );
        }
    }

    #[test]
    fn an_invalid_schema_is_refused_with_the_reason() {
        for (schema, says) in [
            (json!([]), "it must be a JSON object"),
            (json!({ "type": 7 }), "at /type"),
            (json!({ "type": "objekt" }), "objekt"),
            (json!({ "pattern": "(" }), "regex"),
            (json!({ "pattern": "(?=x)" }), "regex"),
            (json!({ "pattern": "(a{1000}){1000}" }), "regex"),
            (
                json!({ "$schema": "http://json-schema.org/draft-04/schema#" }),
                "`$schema`",
            ),
            (json!({ "$schema": 4 }), "`$schema`"),
            (
                json!({ "description": "x".repeat(MAX_BYTES) }),
                "longer than 32768 bytes",
            ),
        ] {
            let message = refusal(&schema);
            assert!(message.contains(says), "{says}: {message}");
        }
    }

    #[test]
    fn external_and_recursive_references_are_refused() {
        let within = |properties: Value| {
            json!({ "properties": properties, "$defs": {
                "a": { "allOf": [{ "$ref": "#/$defs/b" }] },
                "b": { "properties": { "c": { "$ref": "#/$defs/a" } } },
            } })
        };
        for (schema, says) in [
            (
                json!({ "$ref": "https://example.com/schema.json" }),
                "must point into",
            ),
            (json!({ "$ref": "file:///etc/passwd" }), "must point into"),
            (json!({ "$ref": "#/$defs/gone" }), "must point into"),
            (
                json!({ "$id": "http://x/", "type": "object" }),
                "must point into",
            ),
            (json!({ "$dynamicRef": "#x" }), "must point into"),
            (json!({ "$ref": "#" }), "refers to itself"),
            (
                within(json!({ "x": { "$ref": "#/$defs/a" } })),
                "refers to itself",
            ),
            (
                within(json!({ "$defs": { "$ref": "#/$defs/b" } })),
                "refers to itself",
            ),
            (
                json!({ "properties": { "x": { "$ref": "#/properties" } } }),
                "refers to itself",
            ),
        ] {
            let message = refusal(&schema);
            assert!(message.contains(says), "{schema}: {message}");
        }
    }

    /// Each level refers to the next one twice, or once.
    fn chain(levels: usize, twice: bool) -> Value {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({ "$ref": format!("#/$defs/l{}", level + 1) });
            let all = if twice {
                vec![next.clone(), next]
            } else {
                vec![next]
            };
            defs.insert(format!("l{level}"), json!({ "allOf": all }));
        }
        defs.insert(format!("l{levels}"), json!({ "type": "object" }));
        json!({ "$ref": "#/$defs/l0", "$defs": defs })
    }

    #[test]
    fn many_large_patterns_are_refused_and_a_few_are_not() {
        let schema = |count: usize, pattern: &str| {
            let patterns =
                (0..count).map(|n| (n.to_string(), json!({ "pattern": format!("{pattern}{n}") })));
            json!({ "properties": serde_json::Map::from_iter(patterns) })
        };
        assert!(AnswerSchema::parse(&schema(1, "[a-z]{5000}")).is_ok());
        assert!(AnswerSchema::parse(&schema(100, r"^\d{4}-\d{2}-\d{2}$")).is_ok());
        assert!(
            refusal(&schema(900, "[a-z]{5000}"))
                .contains("each of its 900 patterns may take 9320 bytes compiled")
        );
        let named =
            json!({ "patternProperties": { "[a-z]{5000}": {} }, "items": schema(900, "x") });
        assert!(AnswerSchema::parse(&named).is_err());
    }

    #[test]
    fn keywords_whose_cost_doubles_with_every_level_are_refused() {
        for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
            let message = refusal(&json!({ "allOf": [{ keyword: false }] }));
            assert!(message.contains(keyword), "{message}");
        }
    }

    #[test]
    fn only_one_error_of_many_is_reported() {
        let items = json!({ "anyOf": [{ "type": "integer" }, { "type": "object" }] });
        let schema = AnswerSchema::parse(&json!({ "type": "array", "items": items })).unwrap();
        let answer = |count: usize| format!("[{}[]]", "[],".repeat(count));
        let mismatch = schema
            .validate_answer(&answer(MAX_JSON_VALUES - 2))
            .unwrap_err();
        assert!(
            mismatch.for_model.contains("at /0"),
            "{}",
            mismatch.for_model
        );
        assert!(mismatch.for_model.len() < 400, "{}", mismatch.for_model);
        let mismatch = schema
            .validate_answer(&answer(MAX_JSON_VALUES - 1))
            .unwrap_err();
        assert_eq!(mismatch.for_reader, "it has more than 20000 JSON values");
        assert!(
            schema
                .validate_answer(&answer(200_000))
                .unwrap_err()
                .for_reader
                .contains("262144 bytes")
        );
    }

    #[test]
    fn a_schema_that_is_too_slow_or_too_deep_is_refused() {
        assert!(refusal(&chain(30, true)).contains("more than 4096 subschemas"));
        let values = json!({ "enum": vec![json!(0.5); 4000] });
        let each = |count: usize| json!({ "allOf": vec![json!({ "$ref": "#/$defs/values" }); count], "$defs": { "values": values } });
        assert!(refusal(&each(8)).contains("more than 4096 subschemas"));
        assert!(AnswerSchema::parse(&each(6)).is_ok());
        assert!(refusal(&chain(600, false)).contains("32 references in a row"));
        assert!(
            AnswerSchema::parse(&chain(30, false))
                .unwrap()
                .validate_answer("{}")
                .is_ok()
        );
        let slow = AnswerSchema::parse(&json!({ "type": "string", "pattern": "^(a+)+$" })).unwrap();
        let answer = json!("a".repeat(100_000) + "b").to_string();
        assert!(slow.validate_answer(&answer).is_err());
    }
}
