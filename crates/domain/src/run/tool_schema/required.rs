//! The names of required properties in a schema.

use serde_json::{Map, Value};

pub(super) fn required_names(schema: &Map<String, Value>) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

pub(super) fn add_required(schema: &mut Map<String, Value>, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let mut required = required_names(schema);
    for name in names {
        if !required.contains(&name) {
            required.push(name);
        }
    }
    schema.insert("required".to_owned(), required.into());
}

/// Removes repeated and other names. An empty list is removed, because draft 4 does not allow it.
pub(super) fn keep_required(schema: &mut Map<String, Value>, is_known: impl Fn(&str) -> bool) {
    let mut names: Vec<String> = Vec::new();
    for name in required_names(schema) {
        if is_known(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    schema.remove("required");
    add_required(schema, names);
}
