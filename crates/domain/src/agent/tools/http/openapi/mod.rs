//! Imports operations from an OpenAPI document, version 3.0 or 3.1
//! (<https://spec.openapis.org/oas/v3.1.1.html>).
//!
//! An operation that is not supported, for example because its body is not JSON, is skipped.
//! If `allow` names it, it is an error.

mod operation;
mod schema;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{HttpMethod, Operation};

/// Length of a chain of references.
const MAX_REFERENCES: usize = 16;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedApi {
    /// The first server, if its URL is absolute.
    pub base_url: Option<String>,
    pub operations: Vec<Operation>,
    /// Headers for authentication: the header's name, and the prefix of the secret.
    pub credentials: BTreeSet<(String, String)>,
}

/// Why a document cannot be imported. The texts are for the agent's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    #[error(
        "`openapi` must be an OpenAPI document of version 3.0 or 3.1; convert other versions first"
    )]
    Version,
    #[error(
        "the OpenAPI document has more than 128 operations; select those that the agent needs with `allow`"
    )]
    TooMany,
    #[error("the OpenAPI document has no supported operation")]
    Nothing,
    /// `allow` names an operation that does not exist.
    #[error("the OpenAPI document has no operation `{0}`; `allow` expects an `operationId`")]
    Unknown(String),
    /// `allow` names an operation that is not supported.
    #[error("the operation `{name}` of the OpenAPI document cannot be imported: {why}")]
    Operation { name: String, why: OperationError },
}

/// Why an operation cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A reference to nothing, to another document, or in a cycle.
    #[error("its reference `{0}` does not lead to a part of this document")]
    Reference(String),
    #[error("it requires a body that is not JSON")]
    Body,
    #[error("it requires a cookie")]
    Cookie,
    #[error("the schemas of its arguments have more than 4000 values")]
    TooLarge,
    /// Violates the specification.
    #[error("its {0} is malformed")]
    Malformed(&'static str),
    /// Imported, but not valid as an operation of a tool.
    #[error("{0}")]
    Refused(String),
}

/// An agent's maximum number of tools. Each operation has copies of the schemas that it
/// refers to.
const MAX_OPERATIONS: usize = 128;

/// Imports the operations that `allow` names, or all if it is empty.
pub fn import_openapi(document: &Value, allow: &[String]) -> Result<ImportedApi, OpenApiError> {
    let version = document
        .get("openapi")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err(OpenApiError::Version);
    }
    let mut imported = ImportedApi {
        base_url: server(document),
        ..ImportedApi::default()
    };
    let mut missing: BTreeSet<&str> = allow.iter().map(String::as_str).collect();
    for located in located_operations(document) {
        if imported.operations.len() >= MAX_OPERATIONS {
            return Err(OpenApiError::TooMany);
        }
        let name = operation::operation_name(&located);
        let id = located
            .operation
            .get("operationId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_wanted = missing.remove(id) | missing.remove(name.as_str());
        if !is_wanted && !allow.is_empty() {
            continue;
        }
        match operation::convert_operation(document, &located, name.clone()) {
            Ok(operation) => {
                imported
                    .credentials
                    .extend(credentials(document, located.operation));
                imported.operations.push(operation);
            }
            Err(why) if is_wanted => return Err(OpenApiError::Operation { name, why }),
            Err(_) => {}
        }
    }
    match missing.first() {
        Some(name) => Err(OpenApiError::Unknown(crate::cut(name, 128))),
        None if imported.operations.is_empty() => Err(OpenApiError::Nothing),
        None => Ok(imported),
    }
}

/// An operation with its place in the document.
struct LocatedOperation<'d> {
    method: HttpMethod,
    path: &'d str,
    /// The path item, which all operations of the path share.
    item: &'d Map<String, Value>,
    operation: &'d Map<String, Value>,
}

fn located_operations(document: &Value) -> impl Iterator<Item = LocatedOperation<'_>> {
    const METHODS: [(&str, HttpMethod); 6] = [
        ("get", HttpMethod::Get),
        ("head", HttpMethod::Head),
        ("post", HttpMethod::Post),
        ("put", HttpMethod::Put),
        ("patch", HttpMethod::Patch),
        ("delete", HttpMethod::Delete),
    ];
    let paths = document
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    paths.flat_map(move |(path, item)| {
        let item = resolve(document, item).ok().and_then(Value::as_object);
        METHODS.iter().filter_map(move |(name, method)| {
            let item = item?;
            let operation = item.get(*name)?.as_object()?;
            Some(LocatedOperation {
                method: *method,
                path,
                item,
                operation,
            })
        })
    })
}

/// The value itself, or the value that its references lead to in the document.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> Result<&'d Value, OperationError> {
    let mut value = value;
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
            return Ok(value);
        };
        value = target(document, reference)?;
    }
    Err(OperationError::Reference("$ref".to_owned()))
}

/// The value that a reference points to: a pointer into the document (RFC 6901 section 6).
fn target<'d>(document: &'d Value, reference: &str) -> Result<&'d Value, OperationError> {
    let nowhere = || OperationError::Reference(crate::cut(reference, 200));
    let pointer = reference.strip_prefix('#').ok_or_else(nowhere)?;
    let pointer = percent_encoding::percent_decode_str(pointer)
        .decode_utf8()
        .map_err(|_| nowhere())?;
    document.pointer(&pointer).ok_or_else(nowhere)
}

/// The URL of the first server, with the defaults of its variables. `None` if it is relative
/// to the document's URL.
fn server(document: &Value) -> Option<String> {
    let server = document.pointer("/servers/0")?;
    let mut url = server.get("url")?.as_str()?.to_owned();
    for (name, variable) in server
        .get("variables")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    let is_absolute = url.starts_with("http://") || url.starts_with("https://");
    is_absolute.then(|| url.trim_end_matches('/').to_owned())
}

/// The authentication schemes of an operation that use a header.
fn credentials<'d>(
    document: &'d Value,
    operation: &'d Map<String, Value>,
) -> impl Iterator<Item = (String, String)> {
    let wanted = operation
        .get("security")
        .or_else(|| document.get("security"));
    let wanted = wanted.and_then(Value::as_array).into_iter().flatten();
    let names = wanted.filter_map(Value::as_object).flat_map(Map::keys);
    names.filter_map(|name| {
        let scheme = document.pointer("/components/securitySchemes")?.get(name)?;
        let scheme = resolve(document, scheme).ok()?;
        let text = |field: &str| {
            scheme
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let authorization = |prefix: &str| Some(("Authorization".to_owned(), prefix.to_owned()));
        match (
            text("type"),
            text("scheme").to_ascii_lowercase().as_str(),
            text("in"),
        ) {
            ("http", "basic", _) => authorization("Basic "),
            ("http", "bearer", _) | ("oauth2" | "openIdConnect", ..) => authorization("Bearer "),
            ("apiKey", _, "header") => Some((text("name").to_owned(), String::new())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shop() -> Value {
        json!({
            "openapi": "3.0.3",
            "info": { "title": "Shop", "version": "1" },
            "servers": [{ "url": "https://{region}.shop.example/v1/", "variables": { "region": { "default": "eu" } } }],
            "security": [{ "key": [] }],
            "paths": {
                "/orders/{order id}": {
                    "parameters": [{ "$ref": "#/components/parameters/Order" }],
                    "get": {
                        "operationId": "orders/get", "summary": "One order", "description": "With its lines.",
                        "parameters": [
                            { "name": "filter[state]", "in": "query", "schema": { "type": "string", "nullable": true } },
                            { "name": "fields", "in": "query", "explode": false, "schema": { "type": "array", "items": {} } },
                            { "name": "X-Trace", "in": "header", "schema": { "type": "string" } },
                            { "name": "Authorization", "in": "header", "schema": { "type": "string" } },
                            { "name": "session", "in": "cookie", "schema": { "type": "string" } },
                        ],
                        "security": [{ "token": [] }, { "cookie": [] }],
                    },
                    "put": {
                        "operationId": "replaceOrder",
                        "requestBody": { "required": true, "content": { "application/json; charset=utf-8": {
                            "schema": { "$ref": "#/components/schemas/Order" },
                        } } },
                    },
                    "delete": { "operationId": "logged in", "parameters": [{ "name": "sid", "in": "cookie", "required": true }] },
                },
                "/pictures": { "post": {
                    "operationId": "upload",
                    "requestBody": { "required": true, "content": { "image/png": {} } },
                } },
                "/ping": { "get": { "summary": "Ping" } },
            },
            "components": {
                "parameters": { "Order": { "name": "order id", "in": "path", "required": true, "schema": { "type": "integer" } } },
                "schemas": { "Order": {
                    "type": "object", "required": ["lines"], "xml": { "name": "o" },
                    "properties": {
                        "lines": { "type": "array", "items": { "$ref": "#/components/schemas/Line" } },
                        "note": { "type": "string", "example": "fragile", "pattern": "(?P<a>x)(?&a)", "x-order": 1 },
                    },
                }, "Line": {
                    "type": "object",
                    "properties": {
                        "parent": { "$ref": "#/components/schemas/Line" },
                        "amount": { "type": "number", "minimum": 0, "exclusiveMinimum": true },
                        "kind": { "type": "string", "enum": ["a"], "nullable": true },
                    },
                } },
                "securitySchemes": {
                    "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
                    "token": { "type": "http", "scheme": "Bearer" },
                    "cookie": { "type": "apiKey", "in": "cookie", "name": "sid" },
                },
            },
        })
    }

    fn imported_operation(document: &Value, name: &str) -> Operation {
        import_openapi(document, &[name.to_owned()])
            .unwrap()
            .operations
            .remove(0)
    }

    #[test]
    fn supported_operations_are_imported_and_others_are_skipped() {
        let imported = import_openapi(&shop(), &[]).unwrap();
        let names: Vec<&str> = imported
            .operations
            .iter()
            .map(|operation| operation.name.as_str())
            .collect();
        assert_eq!(names, ["orders_get", "replaceOrder", "get_ping"]);
        assert_eq!(
            imported.base_url.as_deref(),
            Some("https://eu.shop.example/v1")
        );
        let headers = [("Authorization", "Bearer "), ("X-Api-Key", "")];
        let headers = headers.map(|(name, prefix)| (name.to_owned(), prefix.to_owned()));
        assert_eq!(imported.credentials, headers.into());
    }

    #[test]
    fn parameters_keep_their_places_under_names_that_models_accept() {
        let get = imported_operation(&shop(), "orders/get");
        assert_eq!(
            (get.path.as_str(), get.description.as_str()),
            ("/orders/{order_id}", "One order\nWith its lines.")
        );
        assert_eq!(get.query, ["filter_state_", "fields"]);
        assert_eq!(
            (get.headers.as_slice(), &get.wire_names["filter_state_"]),
            (&["X-Trace".to_owned()][..], &"filter[state]".to_owned())
        );
        let properties = &get.parameters["properties"];
        assert_eq!(
            properties["filter_state_"],
            json!({ "type": ["string", "null"] })
        );
        assert_eq!(
            (
                &properties["fields"]["type"],
                &properties["order_id"]["type"]
            ),
            (&json!("string"), &json!("integer"))
        );
        assert_eq!(get.parameters["required"], json!(["order_id"]));
        let arguments =
            json!({ "order_id": 7, "filter_state_": "open", "fields": "a,b", "X-Trace": "t" });
        let request = get
            .checked()
            .unwrap()
            .request("https://h", arguments.as_object().unwrap())
            .unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://h/orders/7?filter%5Bstate%5D=open&fields=a%2Cb"
        );
        assert_eq!(request.headers, [("X-Trace".to_owned(), "t".to_owned())]);
    }

    #[test]
    fn the_fields_of_a_body_are_arguments_and_schemas_are_self_contained() {
        let put = imported_operation(&shop(), "replaceOrder");
        assert_eq!(put.body, None);
        assert_eq!(put.parameters["required"], json!(["order_id", "lines"]));
        let line = json!({ "type": "object", "properties": {
            "parent": {},
            "amount": { "type": "number", "exclusiveMinimum": 0 },
            "kind": { "type": ["string", "null"], "enum": ["a", null] },
        } });
        assert_eq!(
            put.parameters["properties"]["lines"],
            json!({ "type": "array", "items": line })
        );
        assert_eq!(
            put.parameters["properties"]["note"],
            json!({ "type": "string" })
        );
        let arguments = json!({ "order_id": 7, "lines": [{ "parent": { "any": 1 } }] });
        let request = put
            .checked()
            .unwrap()
            .request("https://h", arguments.as_object().unwrap())
            .unwrap();
        assert_eq!(
            request.body,
            Some(json!({ "lines": [{ "parent": { "any": 1 } }] }))
        );
    }

    #[test]
    fn a_body_with_a_complex_schema_is_one_argument() {
        for schema in [
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "object", "properties": { "a": {} }, "oneOf": [{}] }),
            json!({ "type": "object", "properties": { "order id": {} } }),
            json!({ "type": "object", "properties": { "order_id": {} } }),
        ] {
            let mut shop = shop();
            shop["components"]["schemas"]["Order"] = schema.clone();
            let put = imported_operation(&shop, "replaceOrder");
            assert_eq!(
                (put.body.as_deref(), &put.parameters["properties"]["body"]),
                (Some("body"), &schema)
            );
        }
    }

    #[test]
    fn a_requested_operation_that_cannot_be_imported_is_an_error_with_the_reason() {
        let mut broken = shop();
        broken["paths"]["/ping"]["get"]["parameters"] = json!([{ "$ref": "other.yaml#/a" }]);
        let mut circle = shop();
        circle["components"]["parameters"]["Order"] =
            json!({ "$ref": "#/components/parameters/Order" });
        let mut undeclared = shop();
        undeclared["paths"]["/orders/{order id}"]["parameters"] = json!([]);
        for (document, name, says) in [
            (
                &shop(),
                "upload",
                "`upload` of the OpenAPI document cannot be imported: it requires a body that is not JSON",
            ),
            (&shop(), "logged in", "it requires a cookie"),
            (&shop(), "nowhere", "no operation `nowhere`"),
            (&broken, "get_ping", "`other.yaml#/a` does not lead"),
            (
                &circle,
                "replaceOrder",
                "does not lead to a part of this document",
            ),
            (&undeclared, "orders/get", "must be among its `parameters`"),
            (&json!({ "swagger": "2.0" }), "", "version 3.0 or 3.1"),
            (&json!({ "openapi": "3.1.0" }), "a", "no operation `a`"),
        ] {
            let message = import_openapi(document, &[name.to_owned()])
                .unwrap_err()
                .to_string();
            assert!(message.contains(says), "{message}");
        }
        let empty = json!({ "openapi": "3.1.0", "paths": {} });
        assert_eq!(import_openapi(&empty, &[]), Err(OpenApiError::Nothing));
    }

    #[test]
    fn schemas_that_expand_exponentially_are_refused_early() {
        let mut bomb = shop();
        let schemas = bomb["components"]["schemas"].as_object_mut().unwrap();
        for level in 0..12 {
            let next = json!({ "$ref": format!("#/components/schemas/L{}", level + 1) });
            let fields: Map<String, Value> = (0..8)
                .map(|field| (format!("f{field}"), next.clone()))
                .collect();
            schemas.insert(format!("L{level}"), json!({ "properties": fields }));
        }
        schemas.insert("L12".into(), json!({}));
        schemas.insert("Order".into(), json!({ "$ref": "#/components/schemas/L0" }));
        let refused = import_openapi(&bomb, &["replaceOrder".to_owned()]);
        let why = OperationError::TooLarge;
        assert_eq!(
            refused,
            Err(OpenApiError::Operation {
                name: "replaceOrder".into(),
                why
            })
        );
    }
}
