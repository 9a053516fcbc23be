//! Removes malformed keywords from the schemas of tool arguments.

use serde_json::{Map, Value, json};

use super::required::{add_required, keep_required};

const TYPES: [&str; 7] = [
    "object", "array", "string", "integer", "number", "boolean", "null",
];
/// Names of types that JSON schema does not have but servers use, and what they mean.
const TYPE_ALIASES: [(&str, &str); 8] = [
    ("str", "string"),
    ("text", "string"),
    ("int", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("dict", "object"),
    ("list", "array"),
];
const SCHEMA_MAPS: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];
const SCHEMA_LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const SUBSCHEMAS: [&str; 7] = [
    "items",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
];
const TEXTS: [&str; 5] = ["description", "title", "pattern", "format", "$ref"];
const NUMBERS: [&str; 9] = [
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// Removes malformed keywords, here and in all subschemas. The depth of a parsed JSON is limited.
pub(super) fn clean(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        *schema = Value::Object(Map::new());
        return;
    };
    clean_type(fields);
    clean_scalars(fields);
    clean_required(fields);
    clean_array_items(fields);
    clean_subschemas(fields);
}

fn clean_subschemas(fields: &mut Map<String, Value>) {
    for key in SCHEMA_MAPS {
        match fields.get_mut(key) {
            Some(Value::Object(schemas)) => schemas.values_mut().for_each(clean),
            Some(_) => {
                fields.remove(key);
            }
            None => {}
        }
    }
    for key in SCHEMA_LISTS {
        match fields.get_mut(key) {
            Some(Value::Array(schemas)) if !schemas.is_empty() => {
                schemas.iter_mut().for_each(clean);
            }
            Some(_) => {
                fields.remove(key);
            }
            None => {}
        }
    }
    for key in SUBSCHEMAS {
        if let Some(schema) = fields.get_mut(key) {
            clean(schema);
        }
    }
    match fields.get_mut("additionalProperties") {
        None | Some(Value::Bool(_)) => {}
        Some(schema @ Value::Object(_)) => clean(schema),
        Some(_) => {
            fields.remove("additionalProperties");
        }
    }
}

fn type_name(name: &str) -> Option<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    let known = TYPES.iter().find(|known| **known == name).copied();
    known.or_else(|| {
        let alias = TYPE_ALIASES.iter().find(|(alias, _)| *alias == name)?;
        Some(alias.1)
    })
}

fn clean_type(fields: &mut Map<String, Value>) {
    let cleaned = match fields.get("type") {
        None => return,
        Some(Value::String(name)) => type_name(name).map(Value::from),
        Some(Value::Array(names)) => {
            let mut known: Vec<&str> = Vec::new();
            for name in names.iter().filter_map(|name| type_name(name.as_str()?)) {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
            match known.as_slice() {
                [] => None,
                [one] => Some(Value::from(*one)),
                _ => Some(known.into()),
            }
        }
        Some(_) => None,
    };
    match cleaned {
        Some(name) => fields.insert("type".to_owned(), name),
        None => fields.remove("type"),
    };
}

fn clean_scalars(fields: &mut Map<String, Value>) {
    for key in TEXTS {
        if fields.get(key).is_some_and(|text| !text.is_string()) {
            fields.remove(key);
        }
    }
    for key in NUMBERS {
        if fields.get(key).is_some_and(|number| !number.is_number()) {
            fields.remove(key);
        }
    }
    let is_list = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    if fields.get("enum").is_some_and(|list| !is_list(list)) {
        fields.remove("enum");
    }
    // Draft 4 has a boolean that makes the limit beside it exclusive.
    for (exclusive, limit) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        match fields.get(exclusive) {
            None | Some(Value::Number(_)) => {}
            Some(Value::Bool(true)) => match fields.remove(limit) {
                Some(number) => _ = fields.insert(exclusive.to_owned(), number),
                None => _ = fields.remove(exclusive),
            },
            Some(_) => _ = fields.remove(exclusive),
        }
    }
}

/// Draft 3 and many servers write `"required": true` into the property itself.
fn clean_required(fields: &mut Map<String, Value>) {
    if fields.contains_key("required") {
        keep_required(fields, |_| true);
    }
    let Some(Value::Object(properties)) = fields.get_mut("properties") else {
        return;
    };
    let mut required = Vec::new();
    for (name, property) in properties.iter_mut() {
        let Some(property) = property.as_object_mut() else {
            continue;
        };
        if property.get("required") == Some(&Value::Bool(true)) {
            required.push(name.clone());
        }
    }
    let names: Vec<String> = properties.keys().cloned().collect();
    add_required(fields, required);
    let is_composed = SCHEMA_LISTS.iter().any(|key| fields.contains_key(*key));
    if !is_composed && !fields.contains_key("$ref") && fields.contains_key("required") {
        keep_required(fields, |name| names.iter().any(|known| known == name));
    }
}

/// An array has one schema for its items. A list of schemas was replaced in draft 2020-12.
fn clean_array_items(fields: &mut Map<String, Value>) {
    let is_array = fields.get("type").is_some_and(|name| {
        name == "array"
            || name
                .as_array()
                .is_some_and(|names| names.contains(&"array".into()))
    });
    let items = match fields.get_mut("items") {
        Some(Value::Array(schemas)) if schemas.is_empty() => json!({}),
        Some(Value::Array(schemas)) => json!({ "anyOf": std::mem::take(schemas) }),
        Some(_) => return,
        None if is_array => json!({}),
        None => return,
    };
    fields.insert("items".to_owned(), items);
}
