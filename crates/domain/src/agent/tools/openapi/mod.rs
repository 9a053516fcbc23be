//! From an OpenAPI document, 3.0 or 3.1, to operations
//! (<https://spec.openapis.org/oas/v3.1.1.html>).
//!
//! What cannot be carried over, such as a body that is no JSON, leaves its
//! operation out, or is an error if that operation was asked for by name.

mod operation;
mod schema;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{HttpMethod, Operation};

/// Most references that lead from one to the next.
const MAX_REFERENCES: usize = 16;

/// What a document describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Its first server, if it has an address of its own.
    pub base_url: Option<String>,
    /// What can be called.
    pub operations: Vec<Operation>,
    /// The headers by which a caller proves who it is, with what goes before the
    /// secret.
    pub credentials: BTreeSet<(String, String)>,
}

/// Why a document is of no use, in words for who imports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// Another kind of document, or another version.
    #[error("`openapi` must be an OpenAPI document of version 3.0 or 3.1; convert other ones first")]
    Version,
    /// More than an agent can have.
    #[error(
        "the OpenAPI document has more than 128 operations; name those that the agent needs with `allow`"
    )]
    TooMany,
    /// Nothing could be made of it.
    #[error("the OpenAPI document has no operation that can be called")]
    Nothing,
    /// `allow` names what there is not.
    #[error("the OpenAPI document has no operation `{0}`; `allow` names operations by their `operationId`")]
    Unknown(String),
    /// An operation that was asked for cannot be called.
    #[error("the operation `{name}` of the OpenAPI document cannot be imported: {why}")]
    Operation {
        /// Which.
        name: String,
        /// What about it.
        why: Unfit,
    },
}

/// What about an operation cannot be carried over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A reference leads nowhere, out of the document, or in circles.
    #[error("its reference `{0}` does not lead to a part of this document")]
    Reference(String),
    /// The body must be sent, in something else than JSON.
    #[error("it takes a body that is no JSON")]
    Body,
    /// A cookie must be sent.
    #[error("it takes a cookie")]
    Cookie,
    /// Its arguments are described at too great a length.
    #[error("its arguments are described by more than 4000 values")]
    TooLarge,
    /// A part is not of the form that the specification gives it.
    #[error("its {0} is malformed")]
    Malformed(&'static str),
    /// It is not what an operation must be.
    #[error("{0}")]
    Refused(String),
}

/// As many as an agent can have tools. Each has copies of what it refers to.
const MAX_OPERATIONS: usize = 128;

/// The operations of a document; those that `allow` names, if it names any.
pub fn import(document: &Value, allow: &[String]) -> Result<Imported, OpenApiError> {
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err(OpenApiError::Version);
    }
    let mut imported = Imported { base_url: server(document), ..Imported::default() };
    let mut missing: BTreeSet<&str> = allow.iter().map(String::as_str).collect();
    for found in found(document) {
        if imported.operations.len() >= MAX_OPERATIONS {
            return Err(OpenApiError::TooMany);
        }
        let name = operation::name(&found);
        let id = found.operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        let is_wanted = missing.remove(id) | missing.remove(name.as_str());
        if !is_wanted && !allow.is_empty() {
            continue;
        }
        match operation::read(document, &found, name.clone()) {
            Ok(operation) => {
                imported.credentials.extend(credentials(document, found.operation));
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

/// An operation where it stands.
struct Found<'d> {
    method: HttpMethod,
    path: &'d str,
    /// What all operations of its path have.
    item: &'d Map<String, Value>,
    operation: &'d Map<String, Value>,
}

fn found(document: &Value) -> impl Iterator<Item = Found<'_>> {
    const METHODS: [(&str, HttpMethod); 6] = [
        ("get", HttpMethod::Get),
        ("head", HttpMethod::Head),
        ("post", HttpMethod::Post),
        ("put", HttpMethod::Put),
        ("patch", HttpMethod::Patch),
        ("delete", HttpMethod::Delete),
    ];
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    paths.flat_map(move |(path, item)| {
        let item = resolve(document, item).ok().and_then(Value::as_object);
        METHODS.iter().filter_map(move |(name, method)| {
            let item = item?;
            let operation = item.get(*name)?.as_object()?;
            Some(Found { method: *method, path, item, operation })
        })
    })
}

/// The value, or what its references lead to within the document.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> Result<&'d Value, Unfit> {
    let mut value = value;
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        value = target(document, reference)?;
    }
    Err(Unfit::Reference("$ref".to_owned()))
}

/// What a reference names: a pointer into the document (RFC 6901 section 6).
fn target<'d>(document: &'d Value, reference: &str) -> Result<&'d Value, Unfit> {
    let nowhere = || Unfit::Reference(crate::cut(reference, 200));
    let pointer = reference.strip_prefix('#').ok_or_else(nowhere)?;
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().map_err(|_| nowhere())?;
    document.pointer(&pointer).ok_or_else(nowhere)
}

/// The address of the first server, its variables at their defaults. One that is
/// relative to where the document lies is none.
fn server(document: &Value) -> Option<String> {
    let server = document.pointer("/servers/0")?;
    let mut url = server.get("url")?.as_str()?.to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    let is_absolute = url.starts_with("http://") || url.starts_with("https://");
    is_absolute.then(|| url.trim_end_matches('/').to_owned())
}

/// How a caller may prove who it is, as far as a header does that.
fn credentials<'d>(
    document: &'d Value,
    operation: &'d Map<String, Value>,
) -> impl Iterator<Item = (String, String)> {
    let wanted = operation.get("security").or_else(|| document.get("security"));
    let wanted = wanted.and_then(Value::as_array).into_iter().flatten();
    let names = wanted.filter_map(Value::as_object).flat_map(Map::keys);
    names.filter_map(|name| {
        let scheme = document.pointer("/components/securitySchemes")?.get(name)?;
        let scheme = resolve(document, scheme).ok()?;
        let text = |field: &str| scheme.get(field).and_then(Value::as_str).unwrap_or_default();
        let authorization = |prefix: &str| Some(("Authorization".to_owned(), prefix.to_owned()));
        match (text("type"), text("scheme").to_ascii_lowercase().as_str(), text("in")) {
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

    fn of(document: &Value, name: &str) -> Operation {
        import(document, &[name.to_owned()]).unwrap().operations.remove(0)
    }

    #[test]
    fn what_can_be_called_is_imported_and_what_cannot_is_left_out() {
        let imported = import(&shop(), &[]).unwrap();
        let names: Vec<&str> = imported.operations.iter().map(|operation| operation.name.as_str()).collect();
        assert_eq!(names, ["orders_get", "replaceOrder", "get_ping"]);
        assert_eq!(imported.base_url.as_deref(), Some("https://eu.shop.example/v1"));
        let headers = [("Authorization", "Bearer "), ("X-Api-Key", "")];
        let headers = headers.map(|(name, prefix)| (name.to_owned(), prefix.to_owned()));
        assert_eq!(imported.credentials, headers.into());
    }

    #[test]
    fn parameters_keep_their_places_under_names_that_a_model_can_say() {
        let get = of(&shop(), "orders/get");
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
        assert_eq!(properties["filter_state_"], json!({ "type": ["string", "null"] }));
        assert_eq!(
            (&properties["fields"]["type"], &properties["order_id"]["type"]),
            (&json!("string"), &json!("integer"))
        );
        assert_eq!(get.parameters["required"], json!(["order_id"]));
        let arguments = json!({ "order_id": 7, "filter_state_": "open", "fields": "a,b", "X-Trace": "t" });
        let request = get.request("https://h", arguments.as_object().unwrap()).unwrap();
        assert_eq!(request.url.as_str(), "https://h/orders/7?filter%5Bstate%5D=open&fields=a%2Cb");
        assert_eq!(request.headers, [("X-Trace".to_owned(), "t".to_owned())]);
    }

    #[test]
    fn the_fields_of_a_body_are_arguments_and_schemas_stand_alone() {
        let put = of(&shop(), "replaceOrder");
        assert_eq!(put.body, None);
        assert_eq!(put.parameters["required"], json!(["order_id", "lines"]));
        let line = json!({ "type": "object", "properties": {
            "parent": {},
            "amount": { "type": "number", "exclusiveMinimum": 0 },
            "kind": { "type": ["string", "null"], "enum": ["a", null] },
        } });
        assert_eq!(put.parameters["properties"]["lines"], json!({ "type": "array", "items": line }));
        assert_eq!(put.parameters["properties"]["note"], json!({ "type": "string" }));
        let arguments = json!({ "order_id": 7, "lines": [{ "parent": { "any": 1 } }] });
        let request = put.request("https://h", arguments.as_object().unwrap()).unwrap();
        assert_eq!(request.body, Some(json!({ "lines": [{ "parent": { "any": 1 } }] })));
    }

    #[test]
    fn a_body_that_is_more_than_fields_is_one_argument() {
        for schema in [
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "object", "properties": { "a": {} }, "oneOf": [{}] }),
            json!({ "type": "object", "properties": { "order id": {} } }),
            json!({ "type": "object", "properties": { "order_id": {} } }),
        ] {
            let mut shop = shop();
            shop["components"]["schemas"]["Order"] = schema.clone();
            let put = of(&shop, "replaceOrder");
            assert_eq!((put.body.as_deref(), &put.parameters["properties"]["body"]), (Some("body"), &schema));
        }
    }

    #[test]
    fn what_is_asked_for_and_cannot_be_had_is_told_with_the_reason() {
        let mut broken = shop();
        broken["paths"]["/ping"]["get"]["parameters"] = json!([{ "$ref": "other.yaml#/a" }]);
        let mut circle = shop();
        circle["components"]["parameters"]["Order"] = json!({ "$ref": "#/components/parameters/Order" });
        let mut untold = shop();
        untold["paths"]["/orders/{order id}"]["parameters"] = json!([]);
        for (document, name, says) in [
            (
                &shop(),
                "upload",
                "`upload` of the OpenAPI document cannot be imported: it takes a body that is no JSON",
            ),
            (&shop(), "logged in", "it takes a cookie"),
            (&shop(), "nowhere", "no operation `nowhere`"),
            (&broken, "get_ping", "`other.yaml#/a` does not lead"),
            (&circle, "replaceOrder", "does not lead to a part of this document"),
            (&untold, "orders/get", "must be among its `parameters`"),
            (&json!({ "swagger": "2.0" }), "", "version 3.0 or 3.1"),
            (&json!({ "openapi": "3.1.0" }), "a", "no operation `a`"),
        ] {
            let message = import(document, &[name.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        assert_eq!(import(&json!({ "openapi": "3.1.0", "paths": {} }), &[]), Err(OpenApiError::Nothing));
    }

    #[test]
    fn schemas_that_unfold_without_end_are_refused_before_they_do() {
        let mut bomb = shop();
        let schemas = bomb["components"]["schemas"].as_object_mut().unwrap();
        for level in 0..12 {
            let next = json!({ "$ref": format!("#/components/schemas/L{}", level + 1) });
            let fields: Map<String, Value> =
                (0..8).map(|field| (format!("f{field}"), next.clone())).collect();
            schemas.insert(format!("L{level}"), json!({ "properties": fields }));
        }
        schemas.insert("L12".into(), json!({}));
        schemas.insert("Order".into(), json!({ "$ref": "#/components/schemas/L0" }));
        let refused = import(&bomb, &["replaceOrder".to_owned()]);
        let why = Unfit::TooLarge;
        assert_eq!(refused, Err(OpenApiError::Operation { name: "replaceOrder".into(), why }));
    }
}
