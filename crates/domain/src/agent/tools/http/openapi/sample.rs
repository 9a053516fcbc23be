//! Sample arguments from the examples of a document. Schemas are imported without them.

use serde_json::{Map, Value};

use super::names::plain_argument;
use super::operation::all_parameters;
use super::{LocatedOperation, resolve};
use crate::agent::tools::Operation;

/// Bytes of an example as JSON. Longer ones are left out.
const MAX_BYTES: usize = 2048;

/// The arguments of the imported operation that have an example.
pub(super) fn sample_arguments(
    document: &Value,
    located: &LocatedOperation<'_>,
    operation: &Operation,
) -> Map<String, Value> {
    let mut examples = Map::new();
    for parameter in all_parameters(document, located).unwrap_or_default() {
        let name = parameter.get("name").and_then(Value::as_str);
        if let (Some(name), Some(example)) = (name, example_of(document, parameter)) {
            // The path has the argument's name, and the other places that of the parameter.
            examples.insert(plain_argument(name), example.clone());
            examples.insert(name.to_owned(), example);
        }
    }
    let mut sample = Map::new();
    let body = located.operation.get("requestBody");
    let body = body.and_then(|body| resolve(document, body).ok());
    let content = body.and_then(|body| body.get("content")?.as_object());
    if let Some(content) = content.and_then(|content| content.values().next()) {
        let example = example_of(document, content);
        match (&operation.body, example) {
            (Some(argument), Some(example)) => {
                sample.insert(argument.clone(), example);
            }
            (None, Some(Value::Object(fields))) => examples.extend(fields),
            (None, _) => examples.extend(field_examples(document, content)),
            (Some(_), None) => {}
        }
    }
    let properties = operation.parameters.get("properties");
    let properties = properties.and_then(Value::as_object);
    for argument in properties.into_iter().flat_map(Map::keys) {
        let name = operation.wire_names.get(argument).unwrap_or(argument);
        if let Some(example) = examples.get(name) {
            sample.insert(argument.clone(), example.clone());
        }
    }
    sample
}

/// The examples of the fields of a body.
fn field_examples(document: &Value, content: &Value) -> Map<String, Value> {
    let schema = content.get("schema");
    let schema = schema.and_then(|schema| resolve(document, schema).ok());
    let fields = schema.and_then(|schema| schema.get("properties")?.as_object());
    let examples = fields.into_iter().flatten().filter_map(|(name, field)| {
        let field = resolve(document, field).ok()?;
        Some((name.clone(), own_example(document, field)?))
    });
    examples.collect()
}

/// The example of a parameter or a body, or of its schema.
fn example_of(document: &Value, described: &Value) -> Option<Value> {
    let of_schema = || {
        let schema = resolve(document, described.get("schema")?).ok()?;
        own_example(document, schema)
    };
    own_example(document, described).or_else(of_schema)
}

/// `example`, the first of the list `examples`, or the value of the first named example.
fn own_example(document: &Value, described: &Value) -> Option<Value> {
    let named = |examples: &Value| {
        let first = examples.as_object()?.values().next()?;
        resolve(document, first).ok()?.get("value").cloned()
    };
    let listed = || {
        let examples = described.get("examples")?;
        examples.get(0).cloned().or_else(|| named(examples))
    };
    let example = described.get("example").cloned().or_else(listed)?;
    let bytes = serde_json::to_vec(&example).map_or(usize::MAX, |json| json.len());
    (bytes <= MAX_BYTES).then_some(example)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{ImportSource, import_openapi};

    #[test]
    fn arguments_get_the_examples_of_parameters_bodies_and_schemas() {
        let body = |content: serde_json::Value| json!({ "required": true, "content": { "application/json": content } });
        let order = json!({ "type": "object", "properties": { "note": { "type": "string", "examples": ["fragile"] }, "gift": { "type": "boolean" } } });
        let document = json!({
            "openapi": "3.1.0", "servers": [{ "url": "https://shop.example" }],
            "components": { "schemas": { "Order": order }, "examples": { "Some": { "value": ["a"] } } },
            "paths": {
                "/orders/{order id}": { "put": {
                    "operationId": "replace",
                    "parameters": [
                        { "name": "order id", "in": "path", "required": true, "schema": { "type": "string", "example": "42" } },
                        { "name": "page", "in": "query", "example": 3, "schema": { "type": "integer" } },
                        { "name": "long", "in": "query", "example": "x".repeat(3000), "schema": { "type": "string" } },
                    ],
                    "requestBody": body(json!({ "schema": { "$ref": "#/components/schemas/Order" } })),
                } },
                "/lists": { "post": {
                    "operationId": "add",
                    "requestBody": body(json!({ "schema": { "type": "array", "items": {} }, "examples": { "some": { "$ref": "#/components/examples/Some" } } })),
                } },
            },
        });
        let imported = import_openapi(&document, &[], ImportSource::default()).unwrap();
        assert_eq!(
            json!(imported.samples["replace"]),
            json!({ "order_id": "42", "page": 3, "note": "fragile" })
        );
        assert_eq!(json!(imported.samples["add"]), json!({ "body": ["a"] }));
    }
}
