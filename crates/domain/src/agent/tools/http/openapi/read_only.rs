//! Removes properties that only responses have.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Keywords whose values are objects of schemas.
pub(super) const BY_NAME: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords whose values are not schemas.
pub(super) const PLAIN: [&str; 6] = [
    "const",
    "default",
    "enum",
    "required",
    "dependentRequired",
    "type",
];
/// Keywords whose members describe the same object.
const COMPOSED: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Removes `readOnly` properties, also from `required` and in nested schemas, and then the
/// keyword. The schema is self-contained.
pub(super) fn remove_read_only(schema: &mut Value) {
    let mut names = HashSet::new();
    collect(schema, &mut names);
    remove(schema, &names);
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for (name, value) in fields {
        match value {
            Value::Object(schemas) if BY_NAME.contains(&name.as_str()) => {
                schemas.values_mut().for_each(remove_read_only);
            }
            Value::Object(_) if !PLAIN.contains(&name.as_str()) => remove_read_only(value),
            Value::Array(schemas) if !PLAIN.contains(&name.as_str()) => {
                schemas.iter_mut().for_each(remove_read_only);
            }
            _ => {}
        }
    }
}

/// The names of the read-only properties of an object.
fn collect(schema: &Value, names: &mut HashSet<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let read_only = properties
        .into_iter()
        .flatten()
        .filter(|(_, schema)| is_read_only(schema));
    names.extend(read_only.map(|(name, _)| name.clone()));
    for member in members(schema) {
        collect(member, names);
    }
}

fn is_read_only(schema: &Value) -> bool {
    let all = schema.get("allOf").and_then(Value::as_array);
    schema.get("readOnly") == Some(&Value::Bool(true))
        || all.into_iter().flatten().any(is_read_only)
}

fn members(schema: &Value) -> impl Iterator<Item = &Value> {
    let groups = COMPOSED.iter().filter_map(|group| schema.get(*group));
    groups.filter_map(Value::as_array).flatten()
}

fn remove(schema: &mut Value, names: &HashSet<String>) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.retain(|name, value| name != "readOnly" || !value.is_boolean());
    if names.is_empty() {
        return;
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.retain(|name, _| !names.contains(name));
    }
    remove_required(fields, names);
    for group in COMPOSED {
        let members = fields.get_mut(group).and_then(Value::as_array_mut);
        for member in members.into_iter().flatten() {
            remove(member, names);
        }
    }
}

fn remove_required(fields: &mut Map<String, Value>, names: &HashSet<String>) {
    let Some(Value::Array(required)) = fields.get_mut("required") else {
        return;
    };
    required.retain(|name| name.as_str().is_none_or(|name| !names.contains(name)));
    if required.is_empty() {
        fields.remove("required");
    }
}
