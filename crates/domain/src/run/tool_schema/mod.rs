//! Brings the schemas of tool arguments into a form that model providers accept.
//!
//! Providers refuse the whole request, with all its tools, because of one schema: OpenAI if an
//! object has no `properties`, Anthropic if `anyOf` is at the top, Gemini if `required` names a
//! property that does not exist. The tool's server checks the arguments in any case, so a schema
//! that is a little wider than the original is harmless.

mod clean;
mod required;

use serde_json::{Map, Value, json};

use clean::clean;
use required::{add_required, keep_required, required_names};

/// Keywords that providers refuse beside `type: object` at the top.
const REFUSED_AT_TOP: [&str; 8] = [
    "$schema", "$id", "enum", "const", "not", "if", "then", "else",
];
/// Most alternatives at the top of a schema that are merged, and how deep they are nested.
const MAX_BRANCHES: usize = 64;
const MAX_NESTED: usize = 4;

/// Returns an object schema with `properties` that has no malformed keywords, and no
/// alternatives or references at the top.
pub fn normalize_tool_schema(schema: Value) -> Value {
    let mut schema = Value::Object(match schema {
        Value::Object(fields) => fields,
        _ => Map::new(),
    });
    clean(&mut schema);
    let Value::Object(mut fields) = schema else {
        return json!({ "type": "object", "properties": {} });
    };
    let definitions = fields.clone();
    let mut branches = MAX_BRANCHES;
    merge_alternatives(&mut fields, &definitions, &mut branches, 0);
    for keyword in REFUSED_AT_TOP {
        fields.remove(keyword);
    }
    fields.insert("type".to_owned(), "object".into());
    let properties = fields
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    let names: Vec<String> = properties
        .as_object()
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    keep_required(&mut fields, |name| names.iter().any(|known| known == name));
    Value::Object(fields)
}

/// Moves the properties of references and alternatives at the top into the schema itself. A
/// property is required if each alternative requires it.
fn merge_alternatives(
    schema: &mut Map<String, Value>,
    definitions: &Map<String, Value>,
    branches: &mut usize,
    nested: usize,
) {
    let referred = schema.remove("$ref");
    let referred = referred.as_ref().and_then(Value::as_str);
    let referred = referred.and_then(|target| resolve(target, definitions));
    let mut list = |key| match schema.remove(key) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let groups = [
        (referred.into_iter().collect(), true),
        (list("allOf"), true),
        (list("anyOf"), false),
        (list("oneOf"), false),
    ];
    for (group, is_all) in groups {
        let mut common: Option<Vec<String>> = None;
        for branch in group {
            let Value::Object(mut branch) = branch else {
                continue;
            };
            if *branches == 0 || nested == MAX_NESTED {
                common = Some(Vec::new());
                break;
            }
            *branches -= 1;
            merge_alternatives(&mut branch, definitions, branches, nested + 1);
            let required = required_names(&branch);
            common = Some(match common {
                None => required,
                Some(known) if is_all => known.into_iter().chain(required).collect(),
                Some(known) => known
                    .into_iter()
                    .filter(|name| required.contains(name))
                    .collect(),
            });
            merge_properties(schema, branch);
        }
        add_required(schema, common.unwrap_or_default());
    }
}

/// The definition in the document that a local reference names.
fn resolve(target: &str, definitions: &Map<String, Value>) -> Option<Value> {
    let (kind, name) = target.strip_prefix("#/")?.split_once('/')?;
    definitions.get(kind)?.get(name).cloned()
}

fn merge_properties(schema: &mut Map<String, Value>, mut branch: Map<String, Value>) {
    for text in ["description", "title"] {
        if let (false, Some(value)) = (schema.contains_key(text), branch.remove(text)) {
            schema.insert(text.to_owned(), value);
        }
    }
    let Some(Value::Object(properties)) = branch.remove("properties") else {
        return;
    };
    let merged = schema
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    let Value::Object(merged) = merged else {
        return;
    };
    for (name, property) in properties {
        match merged.get_mut(&name) {
            None => {
                merged.insert(name, property);
            }
            Some(known) if *known == property => {}
            Some(known) => add_alternative(known, property),
        }
    }
}

/// Makes a property that several alternatives describe accept each of them.
fn add_alternative(known: &mut Value, property: Value) {
    if let Some(Value::Array(list)) = known.get_mut("anyOf") {
        if !list.contains(&property) {
            list.push(property);
        }
        return;
    }
    *known = json!({ "anyOf": [known.take(), property] });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, the schema, and what is sent to the model.
    type Case = (&'static str, Value, Value);

    fn objects() -> Vec<Case> {
        vec![
            ("empty", json!({}), json!({ "properties": {} })),
            ("null", json!(null), json!({ "properties": {} })),
            ("true", json!(true), json!({ "properties": {} })),
            (
                "no properties",
                json!({ "type": "object" }),
                json!({ "properties": {} }),
            ),
            (
                "properties null, required null",
                json!({ "type": "object", "properties": null, "required": null }),
                json!({ "properties": {} }),
            ),
            (
                "type is a list",
                json!({ "type": ["object", "null"], "properties": { "a": { "type": ["string", "null"] } } }),
                json!({ "properties": { "a": { "type": ["string", "null"] } } }),
            ),
            (
                "$schema",
                json!({ "$schema": "x", "properties": {} }),
                json!({ "properties": {} }),
            ),
        ]
    }

    fn alternatives() -> Vec<Case> {
        let a_or_b = json!([
            { "properties": { "a": { "type": "string" }, "c": {} }, "required": ["a", "c"] },
            { "properties": { "b": { "type": "string" }, "c": {} }, "required": ["b", "c"] },
        ]);
        let merged = json!({ "a": { "type": "string" }, "b": { "type": "string" }, "c": {} });
        vec![
            (
                "anyOf at the top",
                json!({ "type": "object", "anyOf": a_or_b }),
                json!({ "properties": merged, "required": ["c"] }),
            ),
            (
                "oneOf at the top, nested in allOf",
                json!({ "allOf": [{ "oneOf": a_or_b }] }),
                json!({ "properties": merged, "required": ["c"] }),
            ),
            (
                "allOf at the top",
                json!({ "allOf": a_or_b }),
                json!({ "properties": merged, "required": ["a", "c", "b"] }),
            ),
            (
                "alternatives of one property",
                json!({ "oneOf": [
                    { "properties": { "k": { "const": "x" } } }, { "properties": { "k": { "const": "y" } } },
                ] }),
                json!({ "properties": { "k": { "anyOf": [{ "const": "x" }, { "const": "y" }] } } }),
            ),
            (
                "alternatives only of what is required",
                json!({ "properties": { "a": {}, "b": {} }, "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
                json!({ "properties": { "a": {}, "b": {} } }),
            ),
            (
                "reference at the top",
                json!({ "$ref": "#/$defs/in", "$defs": { "in": { "properties": { "a": {} }, "required": ["a"] } } }),
                json!({
                    "$defs": { "in": { "properties": { "a": {} }, "required": ["a"] } },
                    "properties": { "a": {} }, "required": ["a"],
                }),
            ),
            (
                "reference to itself",
                json!({ "$ref": "#/$defs/in", "$defs": { "in": { "$ref": "#/$defs/in" } } }),
                json!({ "$defs": { "in": { "$ref": "#/$defs/in" } }, "properties": {} }),
            ),
        ]
    }

    fn keywords() -> Vec<Case> {
        vec![
            (
                "required within properties, of unknown names, twice, and not of texts",
                json!({
                    "properties": {
                        "a": { "type": "string", "required": true }, "b": { "required": false },
                        "c": { "type": "object", "properties": { "d": {} }, "required": ["d", "e", 1, "d"] },
                        "f": { "type": "object", "required": "yes" },
                    },
                    "required": ["c", "zz", null],
                }),
                json!({
                    "properties": {
                        "a": { "type": "string" }, "b": {},
                        "c": { "type": "object", "properties": { "d": {} }, "required": ["d"] },
                        "f": { "type": "object" },
                    },
                    "required": ["c", "a"],
                }),
            ),
            (
                "properties that are not schemas",
                json!({ "properties": { "a": true, "b": null, "c": "string", "d": [] } }),
                json!({ "properties": { "a": {}, "b": {}, "c": {}, "d": {} } }),
            ),
            (
                "arrays without items, or with a list of them",
                json!({ "properties": {
                    "a": { "type": "array" }, "b": { "type": "array", "items": [{ "type": "int" }] },
                    "c": { "type": "array", "items": true }, "d": { "type": ["array", "null"] },
                } }),
                json!({ "properties": {
                    "a": { "type": "array", "items": {} },
                    "b": { "type": "array", "items": { "anyOf": [{ "type": "integer" }] } },
                    "c": { "type": "array", "items": {} },
                    "d": { "type": ["array", "null"], "items": {} },
                } }),
            ),
            (
                "unknown types, and keywords of the wrong type",
                json!({ "properties": {
                    "a": { "type": "any", "description": null, "enum": [], "anyOf": [] },
                    "b": { "type": "Str", "minLength": "1", "additionalProperties": "no" },
                    "c": { "minimum": 1, "exclusiveMinimum": true, "exclusiveMaximum": false },
                } }),
                json!({ "properties": {
                    "a": {}, "b": { "type": "string" }, "c": { "exclusiveMinimum": 1 },
                } }),
            ),
        ]
    }

    #[test]
    fn schemas_become_what_every_provider_accepts() {
        let cases = objects().into_iter().chain(alternatives());
        for (name, schema, expected) in cases.chain(keywords()) {
            let mut expected = expected;
            expected["type"] = "object".into();
            let normalized = normalize_tool_schema(schema);
            assert_eq!(normalized, expected, "{name}");
            assert_eq!(
                normalize_tool_schema(normalized.clone()),
                normalized,
                "{name}"
            );
        }
    }

    #[test]
    fn a_regular_schema_is_unchanged() {
        let schema = json!({
            "type": "object", "title": "Order", "additionalProperties": false, "required": ["id"],
            "properties": {
                "id": { "type": "string", "pattern": "^x", "default": null, "description": "The id" },
                "type": { "enum": ["a", 1] }, "required": { "type": "boolean" },
                "when": { "anyOf": [{ "type": "string", "format": "date" }, { "type": "null" }] },
                "lines": { "type": "array", "items": { "$ref": "#/$defs/line" }, "minItems": 1 },
            },
            "$defs": { "line": { "type": "object", "properties": { "n": { "type": "integer", "minimum": 0 } } } },
        });
        assert_eq!(normalize_tool_schema(schema.clone()), schema);
    }

    #[test]
    fn many_alternatives_end_in_a_schema_of_bounded_size() {
        let mut definitions = Map::new();
        for level in 0..9 {
            let next = json!({ "$ref": format!("#/$defs/l{}", level + 1) });
            definitions.insert(
                format!("l{level}"),
                json!({ "anyOf": vec![next; 20], "properties": { "a": {} } }),
            );
        }
        let schema = json!({ "$ref": "#/$defs/l0", "$defs": definitions });
        let before = schema.to_string().len();
        assert!(normalize_tool_schema(schema).to_string().len() < 2 * before);
    }
}
