//! JSON schemas: the form that an agent's answers must have, and the arguments of
//! its tools.
//!
//! Whoever describes agents writes schemas, or takes them from somebody's document,
//! but what they are held against comes from a model. So a schema may refer to
//! nothing outside of itself and not to itself either, its patterns are matched in
//! linear time, and what looks at values again and again is refused: how long a
//! check can take is bounded by the schema and the value.

use std::borrow::Cow;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::{ForeignJsonError, MAX_JSON_VALUES, cut, parse_foreign_json};

/// Most bytes of a schema, as JSON.
const MAX_BYTES: usize = 32 * 1024;
/// Most subschemas, those that are referred to counted each time.
const MAX_SUBSCHEMAS: usize = 4096;
/// Most references in a row: each is a step deeper into the stack.
const MAX_REFERENCES: usize = 32;
/// The drafts in which `$id` alone moves what `$ref` is relative to.
const DRAFTS: [&str; 4] = ["2020-12", "2019-09", "draft-07", "draft-06"];
/// Most bytes of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
/// Most bytes of an answer that is held against a schema: a fault in each of many
/// small values takes hundreds of times their size.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Most bytes of a fault that a model is told.
const MAX_FAULT_BYTES: usize = 300;

/// A schema that answers can be held against.
#[derive(Debug)]
pub struct AnswerSchema {
    json: Value,
    validator: BoundedValidator,
}

/// Holds values against a schema, at a cost that is bounded by both.
#[derive(Debug)]
pub(crate) struct BoundedValidator {
    validator: Validator,
    subschemas: usize,
}

/// What is wrong with a schema, in words for its owner.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No object.
    #[error("it must be a JSON schema, an object")]
    NotAnObject,
    /// Too long.
    #[error("it is longer than 32768 bytes")]
    TooLong,
    /// Of an older or an unknown kind.
    #[error("`$schema` may name draft-06, draft-07, 2019-09 or 2020-12, which it is without it")]
    Draft,
    /// References outside, into the void, or of a kind that is not followed.
    #[error("`$ref` may only point into the schema itself, as \"#/$defs/name\": {0}")]
    Reference(String),
    /// A schema within itself.
    #[error("it refers to itself, at {0}; write out as many levels as answers need")]
    Recursive(String),
    /// Keywords whose check costs twice as much with every level.
    #[error("`{0}` is not supported; use `additionalProperties` or `items`")]
    Unevaluated(String),
    /// Too many subschemas, references resolved.
    #[error(
        "it has more than 4096 subschemas, counting those referred to each time, or 32 references in a row"
    )]
    TooLarge,
    /// No JSON schema.
    #[error("{0}")]
    Invalid(String),
}

/// Why an answer does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// In words for the model that gave it, which quote it.
    pub for_model: String,
    /// In words for whoever reads the task, which do not.
    pub for_reader: String,
}

impl AnswerSchema {
    /// Reads a schema.
    pub fn parse(json: &Value) -> Result<Self, SchemaError> {
        Ok(Self { json: json.clone(), validator: bounded_validator(json)? })
    }

    /// How many bytes of JSON take about as long to parse as an answer of so many bytes
    /// takes to be held against this, at most.
    pub const fn cost(&self, bytes: usize) -> usize {
        self.validator.cost(bytes)
    }

    /// As it was written.
    pub const fn json(&self) -> &Value {
        &self.json
    }

    /// The JSON in an answer that fits, without the fence that models like to put
    /// around it.
    pub fn read<'a>(&self, answer: &'a str) -> Result<&'a str, Misfit> {
        let text = unfenced(answer);
        if text.len() > MAX_ANSWER_BYTES {
            let too_long = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(Misfit { for_model: too_long.clone(), for_reader: too_long });
        }
        let value = parse_foreign_json(text, MAX_JSON_VALUES).map_err(|error| match error {
            ForeignJsonError::TooManyValues(_) => {
                let too_many = format!("it has {error}");
                Misfit { for_model: too_many.clone(), for_reader: too_many }
            }
            ForeignJsonError::Invalid(error) => Misfit {
                for_model: format!("It is not JSON alone: {error}"),
                for_reader: "it is no JSON".to_owned(),
            },
        })?;
        match self.validator.validate(&value) {
            Ok(()) => Ok(text),
            Err(error) => Err(Misfit {
                for_model: fault(&error),
                for_reader: format!("it breaks the schema{}", at(error.schema_path().as_str())),
            }),
        }
    }
}

impl BoundedValidator {
    /// See [`AnswerSchema::cost`]: each subschema may look at each value.
    pub(crate) const fn cost(&self, bytes: usize) -> usize {
        bytes.saturating_mul(self.subschemas)
    }

    /// The first fault alone: all of them would take hundreds of times the value's size.
    pub(crate) fn validate<'v>(&self, value: &'v Value) -> Result<(), ValidationError<'v>> {
        self.validator.validate(value)
    }
}

/// The validator of a schema that is small and plain enough.
pub(crate) fn bounded_validator(json: &Value) -> Result<BoundedValidator, SchemaError> {
    if !json.is_object() {
        return Err(SchemaError::NotAnObject);
    }
    if json.to_string().len() > MAX_BYTES {
        return Err(SchemaError::TooLong);
    }
    let known =
        |draft: &Value| draft.as_str().is_some_and(|uri| DRAFTS.iter().any(|known| uri.contains(known)));
    if json.get("$schema").is_some_and(|draft| !known(draft)) {
        return Err(SchemaError::Draft);
    }
    let mut walk = Walk { root: json, left: MAX_SUBSCHEMAS, path: Vec::new() };
    walk.check(json)?;
    let invalid = |error: ValidationError<'_>| {
        let place = error.instance_path().as_str();
        SchemaError::Invalid(cut(&format!("{error}{}", at(place)), MAX_FAULT_BYTES))
    };
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    let validator = jsonschema::options().offline().with_pattern_options(patterns).build(json);
    Ok(BoundedValidator { validator: validator.map_err(invalid)?, subschemas: MAX_SUBSCHEMAS - walk.left })
}

fn fault(error: &ValidationError<'_>) -> String {
    cut(&format!("- {error}{}", at(error.instance_path().as_str())), MAX_FAULT_BYTES)
}

fn at(place: &str) -> Cow<'static, str> {
    if place.is_empty() { Cow::Borrowed("") } else { Cow::Owned(format!(" at {place}")) }
}

/// The text between a fence's lines, if the whole answer is fenced.
fn unfenced(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inner = inner.and_then(|inner| inner.split_once('\n'));
    // What stands behind the opening fence names the language.
    inner.filter(|(language, _)| !language.contains(['{', '[', '"'])).map_or(answer, |(_, text)| text.trim())
}

/// Follows references as a check would. Whatever has the shape of one is taken for
/// one, wherever it stands.
struct Walk<'a> {
    root: &'a Value,
    left: usize,
    /// The references that led here.
    path: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn check(&mut self, value: &'a Value) -> Result<(), SchemaError> {
        match value {
            Value::Object(fields) => {
                self.left = self.left.checked_sub(1).ok_or(SchemaError::TooLarge)?;
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("$ref", Value::String(target)) => self.follow(target)?,
                        ("unevaluatedProperties" | "unevaluatedItems", Value::Bool(_) | Value::Object(_)) => {
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
            Value::Array(items) => items.iter().try_for_each(|item| self.check(item)),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, target: &'a str) -> Result<(), SchemaError> {
        if self.path.contains(&target) {
            return Err(SchemaError::Recursive(cut(target, 100)));
        }
        let pointer = target.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
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
        AnswerSchema::parse(schema).map(|_| ()).unwrap_err().to_string()
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
    fn an_answer_that_fits_is_the_json_alone() {
        let schema = order();
        for answer in [
            r#"{"total":1.50}"#,
            " {\"total\":1.50}\n",
            "```json\n{\"total\":1.50}\n```",
            "```\n{\"total\":1.50}\n```\n",
        ] {
            assert_eq!(schema.read(answer), Ok(r#"{"total":1.50}"#), "{answer}");
        }
        let text = AnswerSchema::parse(&json!({ "type": "string" })).unwrap();
        assert_eq!(text.read("\"```\""), Ok("\"```\""));
    }

    #[test]
    fn what_does_not_fit_is_told_to_the_model_and_not_quoted_to_the_reader() {
        let schema = order();
        let misfit = schema.read(r#"{"total":"secret","lines":[1,-2],"more":1}"#).unwrap_err();
        let says = ["at /total", "at /lines/1", "more"];
        assert!(says.iter().any(|says| misfit.for_model.contains(says)), "{}", misfit.for_model);
        assert!(!misfit.for_reader.contains("secret"), "{}", misfit.for_reader);
        assert!(misfit.for_reader.contains(" at /"), "{}", misfit.for_reader);
        for answer in ["It is 1.50.", "{\"total\":1} and so on", "```json\n{\"total\":1}", ""] {
            assert_eq!(schema.read(answer).unwrap_err().for_reader, "it is no JSON", "{answer}");
        }
    }

    #[test]
    fn a_schema_that_is_none_is_refused_with_what_is_wrong() {
        for (schema, says) in [
            (json!([]), "it must be a JSON schema, an object"),
            (json!({ "type": 7 }), "at /type"),
            (json!({ "type": "objekt" }), "objekt"),
            (json!({ "pattern": "(" }), "regex"),
            (json!({ "pattern": "(?=x)" }), "regex"),
            (json!({ "pattern": "(a{1000}){1000}" }), "regex"),
            (json!({ "$schema": "http://json-schema.org/draft-04/schema#" }), "`$schema`"),
            (json!({ "$schema": 4 }), "`$schema`"),
            (json!({ "description": "x".repeat(MAX_BYTES) }), "longer than 32768 bytes"),
        ] {
            let message = refusal(&schema);
            assert!(message.contains(says), "{says}: {message}");
        }
    }

    #[test]
    fn a_schema_refers_to_nothing_outside_of_itself_and_not_to_itself() {
        let within = |properties: Value| {
            json!({ "properties": properties, "$defs": {
                "a": { "allOf": [{ "$ref": "#/$defs/b" }] },
                "b": { "properties": { "c": { "$ref": "#/$defs/a" } } },
            } })
        };
        for (schema, says) in [
            (json!({ "$ref": "https://example.com/schema.json" }), "only point into"),
            (json!({ "$ref": "file:///etc/passwd" }), "only point into"),
            (json!({ "$ref": "#/$defs/gone" }), "only point into"),
            (json!({ "$id": "http://x/", "type": "object" }), "only point into"),
            (json!({ "$dynamicRef": "#x" }), "only point into"),
            (json!({ "$ref": "#" }), "refers to itself"),
            (within(json!({ "x": { "$ref": "#/$defs/a" } })), "refers to itself"),
            (within(json!({ "$defs": { "$ref": "#/$defs/b" } })), "refers to itself"),
            (json!({ "properties": { "x": { "$ref": "#/properties" } } }), "refers to itself"),
        ] {
            let message = refusal(&schema);
            assert!(message.contains(says), "{schema}: {message}");
        }
    }

    /// Each level asks for the next one twice, or once.
    fn chain(levels: usize, twice: bool) -> Value {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({ "$ref": format!("#/$defs/l{}", level + 1) });
            let all = if twice { vec![next.clone(), next] } else { vec![next] };
            defs.insert(format!("l{level}"), json!({ "allOf": all }));
        }
        defs.insert(format!("l{levels}"), json!({ "type": "object" }));
        json!({ "$ref": "#/$defs/l0", "$defs": defs })
    }

    #[test]
    fn what_costs_twice_as_much_with_every_level_is_refused() {
        for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
            let message = refusal(&json!({ "allOf": [{ keyword: false }] }));
            assert!(message.contains(keyword), "{message}");
        }
    }

    #[test]
    fn an_answer_of_many_small_faults_is_told_by_one_of_them() {
        let items = json!({ "anyOf": [{ "type": "integer" }, { "type": "object" }] });
        let schema = AnswerSchema::parse(&json!({ "type": "array", "items": items })).unwrap();
        let answer = |count: usize| format!("[{}[]]", "[],".repeat(count));
        let misfit = schema.read(&answer(MAX_JSON_VALUES - 2)).unwrap_err();
        assert!(misfit.for_model.contains("at /0"), "{}", misfit.for_model);
        assert!(misfit.for_model.len() < 400, "{}", misfit.for_model);
        let misfit = schema.read(&answer(MAX_JSON_VALUES - 1)).unwrap_err();
        assert_eq!(misfit.for_reader, "it has more than 20000 JSON values");
        assert!(schema.read(&answer(200_000)).unwrap_err().for_reader.contains("262144 bytes"));
    }

    #[test]
    fn a_schema_that_would_take_for_ever_or_too_deep_is_refused() {
        assert!(refusal(&chain(30, true)).contains("more than 4096 subschemas"));
        assert!(refusal(&chain(600, false)).contains("32 references in a row"));
        assert!(AnswerSchema::parse(&chain(30, false)).unwrap().read("{}").is_ok());
        let slow = AnswerSchema::parse(&json!({ "type": "string", "pattern": "^(a+)+$" })).unwrap();
        let answer = json!("a".repeat(100_000) + "b").to_string();
        assert!(slow.read(&answer).is_err());
    }
}
