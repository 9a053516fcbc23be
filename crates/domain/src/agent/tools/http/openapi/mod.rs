//! Imports operations from an OpenAPI document, version 3.0 or 3.1
//! (<https://spec.openapis.org/oas/v3.1.1.html>).
//!
//! An operation that is not supported, for example because it uploads a file, is left out and
//! returned with the reason. If `allow` names it, it is an error.

mod body;
mod document;
mod list;
mod media;
mod names;
mod operation;
mod parameter;
mod read_only;
mod reference;
mod sample;
mod schema;
mod security;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{HttpMethod, Operation};
pub use document::{DocumentError, parse_api_document};
pub use list::{ListedApi, ListedOperation, list_openapi};
use reference::{resolve, target};
use servers::Servers;

/// An agent's maximum number of tools. Each operation has copies of the schemas that it
/// refers to.
const MAX_OPERATIONS: usize = 128;
/// Reasons in the error about a document of which nothing can be imported.
const MAX_REASONS: usize = 5;

/// The addresses of a document and of its API, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportSource<'a> {
    /// The base URL that the owner has set. It replaces the servers of the document.
    pub base_url: Option<&'a str>,
    /// Relative servers are resolved against it.
    pub document_url: Option<&'a str>,
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedApi {
    /// The server of the operations, if its URL is known.
    pub base_url: Option<String>,
    pub operations: Vec<Operation>,
    /// Headers for authentication: the header's name, and the prefix of the secret.
    pub credentials: BTreeSet<(String, String)>,
    pub left_out: Vec<LeftOut>,
    /// Arguments with the examples of the document, by the operation's name.
    pub samples: BTreeMap<String, Map<String, Value>>,
}

/// An operation that is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its `operationId`, or its method and path.
    pub operation: String,
    pub path: String,
    pub why: OperationError,
}

/// Why a document cannot be imported. The texts are for the agent's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    #[error(
        "`openapi` must be an OpenAPI document of version 3.0 or 3.1; convert other versions first"
    )]
    Version,
    #[error(
        "this is a Swagger 2.0 document, and `openapi` must be of version 3.0 or 3.1; convert it first, for example with `npx swagger2openapi FILE` or at https://converter.swagger.io"
    )]
    Swagger,
    #[error(
        "the OpenAPI document has more than 128 operations; select those that the agent needs with `allow`"
    )]
    TooMany,
    #[error("the OpenAPI document has no supported operation{}", list_reasons(.0))]
    Nothing(Vec<LeftOut>),
    /// `allow` names an operation that does not exist. The second text is about paths that
    /// could not be read.
    #[error("the OpenAPI document has no operation `{0}`; `allow` expects an `operationId`{1}")]
    Unknown(String, String),
    /// `allow` names an operation that is not supported.
    #[error("the operation `{name}` of the OpenAPI document cannot be imported: {why}")]
    Operation { name: String, why: OperationError },
}

/// Why an operation cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A reference to nothing, or in a cycle.
    #[error("its reference `{0}` does not lead to a part of this document")]
    Reference(String),
    #[error(
        "it has an external reference, `{0}`; put all parts into one file first, for example with `npx @redocly/cli bundle`"
    )]
    ExternalReference(String),
    #[error("it requires a body of the type {0}; supported are JSON, forms and text/plain")]
    Body(String),
    #[error("it requires a cookie")]
    Cookie,
    #[error(
        "it requires the credential `{0}` in the query, where the model would have to write it"
    )]
    QueryCredential(String),
    #[error("it requires authentication by {0}, which is not supported")]
    Security(&'static str),
    #[error(
        "its server is {0}, not that of this tool; import it as another tool with `allow` and this base URL"
    )]
    Server(String),
    #[error("its server `{0}` has no absolute http or https URL")]
    ServerUrl(String),
    #[error("the style `{style}` of its parameter `{name}` is not supported there")]
    Style { name: String, style: String },
    #[error("its form has fields with an `encoding` and is not a plain object")]
    Encoding,
    #[error("its method is not supported")]
    Method,
    #[error("the schemas of its arguments have more than 4000 values or 256 KiB of text")]
    TooLarge,
    /// Violates the specification.
    #[error("its {0} is malformed")]
    Malformed(&'static str),
    /// Imported, but not valid as an operation of a tool.
    #[error("{0}")]
    Refused(String),
}

fn list_reasons(left_out: &[LeftOut]) -> String {
    let mut text = String::new();
    for LeftOut { operation, why, .. } in left_out.iter().take(MAX_REASONS) {
        let _ = write!(text, "; `{operation}`: {why}");
    }
    if left_out.len() > MAX_REASONS {
        let _ = write!(text, "; and {} more", left_out.len() - MAX_REASONS);
    }
    text
}

/// Imports the operations that `allow` names, or all if it is empty.
pub fn import_openapi(
    document: &Value,
    allow: &[String],
    source: ImportSource<'_>,
) -> Result<ImportedApi, OpenApiError> {
    check_version(document)?;
    let (located, mut left_out) = located_operations(document);
    let names = names::unique_names(&located);
    let mut missing: BTreeSet<&str> = allow.iter().map(String::as_str).collect();
    let mut wanted = Vec::new();
    for (located, name) in located.iter().zip(names) {
        let is_named = missing.remove(located.id()) | missing.remove(name.as_str());
        if is_named || allow.is_empty() {
            wanted.push((located, name));
        }
    }
    if let Some(name) = missing.first() {
        let unread = match left_out.is_empty() {
            true => String::new(),
            false => format!("; some paths could not be read{}", list_reasons(&left_out)),
        };
        return Err(OpenApiError::Unknown(crate::cut(name, 128), unread));
    }
    if !allow.is_empty() {
        left_out.clear();
    }
    let servers = Servers::choose(document, source, wanted.iter().map(|(located, _)| *located));
    let mut imported = ImportedApi {
        base_url: servers.base_url.clone(),
        ..ImportedApi::default()
    };
    for (located, name) in wanted {
        match convert(document, located, &name, &servers) {
            Ok(_) if imported.operations.len() >= MAX_OPERATIONS => {
                return Err(OpenApiError::TooMany);
            }
            Ok((operation, credentials)) => {
                add_credentials(&mut imported.credentials, credentials);
                let sample = sample::sample_arguments(document, located, &operation);
                if !sample.is_empty() {
                    imported.samples.insert(operation.name.clone(), sample);
                }
                imported.operations.push(operation);
            }
            Err(why) if !allow.is_empty() => return Err(OpenApiError::Operation { name, why }),
            Err(why) => left_out.push(located.left_out(why)),
        }
    }
    match imported.operations.is_empty() {
        true => Err(OpenApiError::Nothing(left_out)),
        false => Ok(ImportedApi {
            left_out,
            ..imported
        }),
    }
}

fn check_version(document: &Value) -> Result<(), OpenApiError> {
    let version = document
        .get("openapi")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if version.starts_with("3.0") || version.starts_with("3.1") {
        Ok(())
    } else if document.get("swagger").is_some() {
        Err(OpenApiError::Swagger)
    } else {
        Err(OpenApiError::Version)
    }
}

fn convert(
    document: &Value,
    located: &LocatedOperation<'_>,
    name: &str,
    servers: &Servers,
) -> Result<(Operation, Vec<(String, String)>), OperationError> {
    if located.method.is_none() {
        return Err(OperationError::Method);
    }
    servers.check(located)?;
    let security = security::Security::of(document, located.operation)?;
    let (operation, mut headers) =
        operation::convert_operation(document, located, name.to_owned(), &security)?;
    headers.splice(0..0, security.headers);
    Ok((operation, headers))
}

/// A header has the prefix of its security scheme, which comes before the parameters.
fn add_credentials(all: &mut BTreeSet<(String, String)>, headers: Vec<(String, String)>) {
    for (name, prefix) in headers {
        let is_known = |(other, _): &(String, String)| other.eq_ignore_ascii_case(&name);
        if !prefix.is_empty() || !all.iter().any(is_known) {
            all.insert((name, prefix));
        }
    }
}

/// An operation with its place in the document.
struct LocatedOperation<'d> {
    verb: &'d str,
    /// `None` for a method that tools do not have.
    method: Option<HttpMethod>,
    path: &'d str,
    /// The path item, which all operations of the path share.
    item: &'d Map<String, Value>,
    operation: &'d Map<String, Value>,
}

impl<'d> LocatedOperation<'d> {
    fn id(&self) -> &'d str {
        let id = self.operation.get("operationId").and_then(Value::as_str);
        id.unwrap_or_default()
    }

    fn left_out(&self, why: OperationError) -> LeftOut {
        let place = format!("{} {}", self.verb.to_uppercase(), self.path);
        let operation = match self.id() {
            "" => place.as_str(),
            id => id,
        };
        LeftOut {
            operation: crate::cut(operation, 200),
            path: crate::cut(&place, 200),
            why,
        }
    }
}

/// The operations of the document, and the paths that cannot be read.
fn located_operations(document: &Value) -> (Vec<LocatedOperation<'_>>, Vec<LeftOut>) {
    const METHODS: [(&str, Option<HttpMethod>); 8] = [
        ("get", Some(HttpMethod::Get)),
        ("head", Some(HttpMethod::Head)),
        ("post", Some(HttpMethod::Post)),
        ("put", Some(HttpMethod::Put)),
        ("patch", Some(HttpMethod::Patch)),
        ("delete", Some(HttpMethod::Delete)),
        ("options", None),
        ("trace", None),
    ];
    let paths = document.get("paths").and_then(Value::as_object);
    let (mut located, mut unread) = (Vec::new(), Vec::new());
    for (path, item) in paths.into_iter().flatten() {
        if path.starts_with("x-") {
            continue;
        }
        let item = resolve(document, item).and_then(|item| {
            item.as_object()
                .ok_or(OperationError::Malformed("path item"))
        });
        let item = match item {
            Ok(item) => item,
            Err(why) => {
                let path = crate::cut(path, 200);
                let operation = path.clone();
                unread.push(LeftOut {
                    operation,
                    path,
                    why,
                });
                continue;
            }
        };
        for (verb, method) in METHODS {
            let Some(operation) = item.get(verb).filter(|operation| !operation.is_null()) else {
                continue;
            };
            let operation = resolve(document, operation).and_then(|operation| {
                operation
                    .as_object()
                    .ok_or(OperationError::Malformed("operation"))
            });
            match operation {
                Ok(operation) => located.push(LocatedOperation {
                    verb,
                    method,
                    path,
                    item,
                    operation,
                }),
                Err(why) => unread.push(LeftOut {
                    operation: format!("{verb} {}", crate::cut(path, 200)),
                    path: crate::cut(path, 200),
                    why,
                }),
            }
        }
    }
    (located, unread)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ExactValue;

    fn import(document: &Value, allow: &[String]) -> Result<ImportedApi, OpenApiError> {
        import_openapi(document, allow, ImportSource::default())
    }

    fn exact(value: &Value) -> ExactValue {
        value.into()
    }

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
        import(document, &[name.to_owned()])
            .unwrap()
            .operations
            .remove(0)
    }

    #[test]
    fn supported_operations_are_imported_and_others_are_skipped() {
        let imported = import(&shop(), &[]).unwrap();
        let left_out: Vec<String> = imported
            .left_out
            .iter()
            .map(|left_out| format!("{} {}: {}", left_out.operation, left_out.path, left_out.why))
            .collect();
        assert_eq!(
            left_out,
            [
                "logged in DELETE /orders/{order id}: it requires a cookie",
                "upload POST /pictures: it requires a body of the type image/png; supported are JSON, forms and text/plain",
            ]
        );
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
            (&json!("array"), &json!("integer"))
        );
        assert_eq!(get.parameters["required"], json!(["order_id"]));
        let arguments =
            json!({ "order_id": 7, "filter_state_": "open", "fields": ["a", "b"], "X-Trace": "t" });
        let request = get
            .checked()
            .unwrap()
            .request("https://h", exact(&arguments))
            .unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://h/orders/7?filter%5Bstate%5D=open&fields=a,b"
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
            .request("https://h", exact(&arguments))
            .unwrap();
        assert_eq!(
            request.body.map(|body| body.text).as_deref(),
            Some(r#"{"lines":[{"parent":{"any":1}}]}"#)
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
                "`upload` of the OpenAPI document cannot be imported: it requires a body of the type image/png",
            ),
            (&shop(), "logged in", "it requires a cookie"),
            (&shop(), "nowhere", "no operation `nowhere`"),
            (
                &broken,
                "get_ping",
                "external reference, `other.yaml#/a`; put all parts into one file",
            ),
            (
                &circle,
                "replaceOrder",
                "does not lead to a part of this document",
            ),
            (&undeclared, "orders/get", "must be among its `parameters`"),
            (&json!({ "swagger": "2.0" }), "", "npx swagger2openapi"),
            (&json!({ "openapi": "3.2.0" }), "", "version 3.0 or 3.1"),
            (&json!({ "openapi": "3.1.0" }), "a", "no operation `a`"),
        ] {
            let message = import(document, &[name.to_owned()])
                .unwrap_err()
                .to_string();
            assert!(message.contains(says), "{message}");
        }
        let empty = json!({ "openapi": "3.1.0", "paths": {} });
        assert_eq!(import(&empty, &[]), Err(OpenApiError::Nothing(Vec::new())));
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
        let refused = import(&bomb, &["replaceOrder".to_owned()]);
        let why = OperationError::TooLarge;
        assert_eq!(
            refused,
            Err(OpenApiError::Operation {
                name: "replaceOrder".into(),
                why
            })
        );
    }

    /// A document with these operations of the path `/a`, by method.
    fn api(item: Value, more: Value) -> Value {
        let mut api = json!({
            "openapi": "3.1.0", "servers": [{ "url": "https://h/v1" }], "paths": { "/a": item },
        });
        api.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        api
    }

    fn names_of(imported: &ImportedApi) -> Vec<&str> {
        let names = imported
            .operations
            .iter()
            .map(|operation| operation.name.as_str());
        names.collect()
    }

    fn reasons_of(imported: &ImportedApi) -> Vec<String> {
        imported
            .left_out
            .iter()
            .map(|left_out| left_out.why.to_string())
            .collect()
    }

    #[test]
    fn the_nearest_server_wins() {
        let own = |url: &str| json!({ "operationId": "own", "servers": [{ "url": url }] });
        let two = |url: &str| {
            api(
                json!({ "get": own(url), "post": { "operationId": "post" } }),
                json!({}),
            )
        };
        // Only the tool's own server gets the tool's headers.
        let imported = import(&two("https://regional.example/v2/"), &[]).unwrap();
        assert_eq!(
            (names_of(&imported), imported.base_url.as_deref()),
            (vec!["post"], Some("https://h/v1"))
        );
        assert!(reasons_of(&imported)[0].contains("its server is https://regional.example/v2"));
        for (document, allow, expected) in [
            (
                two("https://regional.example/v2"),
                "own",
                "https://regional.example/v2",
            ),
            (two("/v2"), "own", "https://h/v2"),
            (two("https://h/v1"), "own", "https://h/v1"),
            (
                api(
                    json!({ "servers": [{ "url": "https://p/" }], "get": { "operationId": "own" } }),
                    json!({}),
                ),
                "own",
                "https://p",
            ),
            (
                api(
                    json!({ "servers": [{ "url": "https://p" }], "get": own("https://{x}.o") }),
                    json!({ "servers": [] }),
                ),
                "get_a",
                "",
            ),
        ] {
            let imported = import(&document, &[allow.to_owned()]);
            let base_url = imported.ok().and_then(|imported| imported.base_url);
            assert_eq!(base_url.unwrap_or_default(), expected);
        }
        let named = import(&two("https://other"), &["own".into(), "post".into()]).unwrap_err();
        assert!(
            named.to_string().contains("import it as another tool"),
            "{named}"
        );
    }

    #[test]
    fn a_given_base_url_replaces_the_placeholder_that_all_operations_have() {
        let own =
            |name: &str, url: &str| json!({ "operationId": name, "servers": [{ "url": url }] });
        let document = |second: &str| {
            let operations =
                json!({ "get": own("a", "https://placeholder"), "post": own("b", second) });
            api(
                operations,
                json!({ "servers": [{ "url": "//placeholder" }] }),
            )
        };
        let source = ImportSource {
            base_url: Some("https://mine"),
            document_url: None,
        };
        let same = import_openapi(&document("https://placeholder/"), &[], source).unwrap();
        assert_eq!(
            (names_of(&same), same.base_url.as_deref()),
            (vec!["a", "b"], Some("https://mine"))
        );
        // Two servers are not one placeholder.
        assert!(import_openapi(&document("https://other"), &[], source).is_err());
    }

    #[test]
    fn an_optional_form_of_a_delete_is_not_sent() {
        let form = json!({ "encoding": { "expand": { "style": "deepObject" } }, "schema": { "type": "object" } });
        let body = json!({ "content": { "application/x-www-form-urlencoded": form } });
        let delete = json!({ "delete": { "operationId": "d", "requestBody": body } });
        let imported = import(&api(delete, json!({})), &[]).unwrap();
        assert_eq!(names_of(&imported), ["d"]);
    }

    #[test]
    fn servers_are_resolved_against_the_given_urls() {
        let with = |url: Value| api(json!({ "get": {} }), json!({ "servers": url }));
        let (given, at) = (|url| (Some(url), None), |url| (None, Some(url)));
        for (servers, (base_url, document_url), expected) in [
            (
                json!([{ "url": "/v1" }]),
                given("https://b"),
                Some("https://b/v1"),
            ),
            (
                json!([{ "url": "/v1" }]),
                given("https://b/v1"),
                Some("https://b/v1"),
            ),
            (
                json!([{ "url": "/v1" }]),
                given("https://b/gateway/v1/"),
                Some("https://b/gateway/v1"),
            ),
            (
                json!([{ "url": "https://h" }]),
                given("https://b/x"),
                Some("https://b/x"),
            ),
            (
                json!([{ "url": "v1" }]),
                at("https://d/docs/openapi.json"),
                Some("https://d/docs/v1"),
            ),
            (
                json!([{ "url": "/v1/" }]),
                at("https://d/docs/openapi.json"),
                Some("https://d/v1"),
            ),
            (
                json!([]),
                at("https://d/docs/openapi.json"),
                Some("https://d"),
            ),
            (
                json!([{ "url": "ws://h" }, { "url": "https://h" }]),
                (None, None),
                Some("https://h"),
            ),
            (
                json!([{ "url": "https://h:{port}/{x}", "variables": { "port": { "default": 8443 }, "x": { "enum": ["y"] } } }]),
                (None, None),
                Some("https://h:8443/y"),
            ),
            (json!([{ "url": "https://{x}" }]), (None, None), None),
            (json!([{ "url": "/v1" }]), (None, None), None),
        ] {
            let source = ImportSource {
                base_url,
                document_url,
            };
            let imported = import_openapi(&with(servers.clone()), &[], source);
            assert_eq!(imported.unwrap().base_url.as_deref(), expected, "{servers}");
        }
    }

    #[test]
    fn the_styles_of_parameters_are_carried_over() {
        let list = json!({ "type": "array", "items": { "type": "string" } });
        let nullable = json!({ "type": ["array", "null"] });
        let (string, object) = (json!({ "type": "string" }), json!({ "type": "object" }));
        let content = json!({ "application/json": { "schema": object } });
        let cases = json!([
            ["query", { "schema": list }, ["x", "y z"], "/a?p=x&p=y+z", ""],
            ["query", { "schema": list, "explode": false }, ["x", "y z"], "/a?p=x,y%20z", ""],
            ["query", { "schema": nullable, "style": "pipeDelimited" }, ["x", "y"], "/a?p=x%7Cy", ""],
            ["query", { "schema": list, "style": "spaceDelimited" }, ["x", "y"], "/a?p=x%20y", ""],
            ["query", { "schema": object, "style": "deepObject" }, { "c": "r" }, "/a?p%5Bc%5D=r", ""],
            ["query", { "schema": object }, { "c": "r", "d": 1 }, "/a?c=r&d=1", ""],
            ["query", { "schema": object, "explode": false }, { "c": "r" }, "/a?p=c,r", ""],
            ["query", { "content": content }, { "c": 1 }, "/a?p=%7B%22c%22%3A1%7D", ""],
            ["query", { "schema": string, "allowReserved": true }, "a/b", "/a?p=a/b", ""],
            ["path", { "schema": list }, ["x", "y"], "/a/x,y", ""],
            ["path", { "schema": object, "explode": true }, { "c": 1 }, "/a/c=1", ""],
            ["path", { "schema": list, "style": "label", "explode": true }, ["x", "y"], "/a/.x.y", ""],
            ["path", { "schema": list, "style": "matrix" }, ["x", "y"], "/a/;p=x,y", ""],
            ["header", { "schema": list }, ["x", "y"], "/a", "x,y"],
        ]);
        for case in cases.as_array().unwrap() {
            let [place, fields, argument, url, header] = &case.as_array().unwrap()[..] else {
                panic!("{case}")
            };
            let (url, header) = (url.as_str().unwrap(), header.as_str().unwrap());
            let mut parameter = json!({ "name": "p", "in": place, "required": true });
            parameter
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            let path = if place == "path" { "/a/{p}" } else { "/a" };
            let document = json!({ "openapi": "3.0.0", "paths": { path: { "get": { "parameters": [parameter] } } } });
            let operation = import(&document, &[]).unwrap().operations.remove(0);
            let checked = operation.checked().unwrap();
            let request = checked
                .request("https://h", exact(&json!({ "p": argument })))
                .unwrap();
            assert_eq!(request.url.as_str(), format!("https://h{url}"), "{fields}");
            let sent = request
                .headers
                .first()
                .map_or("", |(_, value)| value.as_str());
            assert_eq!(sent, header);
        }
        let odd =
            json!({ "get": { "parameters": [{ "name": "p", "in": "query", "style": "simple" }] } });
        let refused = import(&api(odd, json!({})), &[]).unwrap_err().to_string();
        assert!(
            refused.contains("the style `simple` of its parameter `p`"),
            "{refused}"
        );
    }

    #[test]
    fn the_model_is_never_asked_for_a_credential() {
        let parameter = |place: &str, name: &str, required: bool| json!({ "name": name, "in": place, "required": required });
        let get = |parameters: Value, security: Value| {
            api(
                json!({ "get": { "operationId": "get", "parameters": parameters, "security": security } }),
                json!({ "components": { "securitySchemes": {
                "q": { "type": "apiKey", "in": "query", "name": "sig" },
                "h": { "type": "apiKey", "in": "header", "name": "X-App" },
                "tls": { "type": "mutualTLS" },
            } } }),
            )
        };
        let parameters = json!([
            parameter("header", "x-token", true),
            parameter("header", "X-App", false),
            parameter("query", "api_key", false),
            parameter("query", "sig", true),
            parameter("query", "pageToken", false),
            parameter("header", "Authorization", true),
        ]);
        let sig = import(
            &get(parameters.clone(), json!([{ "q": [] }, { "h": [] }])),
            &[],
        )
        .unwrap_err();
        assert!(
            sig.to_string()
                .contains("the credential `sig` in the query"),
            "{sig}"
        );
        let mut optional = parameters;
        optional[3]["required"] = json!(false);
        let imported = import(&get(optional, json!([{ "q": [] }, { "h": [] }])), &[]).unwrap();
        let properties = imported.operations[0].parameters["properties"]
            .as_object()
            .unwrap();
        assert_eq!(properties.keys().collect::<Vec<_>>(), ["pageToken"]);
        let headers: Vec<&str> = imported
            .credentials
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(headers, ["Authorization", "X-App", "x-token"]);
        for (security, says) in [
            (json!([{ "q": [] }]), "the credential `sig` in the query"),
            (
                json!([{ "h": [], "q": [] }]),
                "the credential `sig` in the query",
            ),
            (
                json!([{ "tls": [] }]),
                "authentication by a client certificate",
            ),
        ] {
            let refused = import(&get(json!([]), security), &[])
                .unwrap_err()
                .to_string();
            assert!(refused.contains(says), "{refused}");
        }
        assert!(import(&get(json!([]), json!([{ "q": [] }, {}])), &[]).is_ok());
    }

    #[test]
    fn operations_have_distinct_and_stable_names() {
        let long = "a".repeat(70);
        let paths = |ids: &[&str]| {
            let items = ids.iter().enumerate().map(|(number, id)| {
                (
                    format!("/{number}"),
                    json!({ "get": { "operationId": id } }),
                )
            });
            json!({ "openapi": "3.1.0", "paths": Value::Object(items.collect()) })
        };
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        let document = paths(&["issues/list", "issues.list", "issues_list", &one, &other]);
        let imported = import(&document, &[]).unwrap();
        let names: Vec<String> = names_of(&imported)
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        assert_eq!(names[2], "issues_list");
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), 5, "{names:?}");
        assert!(names.iter().all(|name| name.len() <= 64), "{names:?}");
        // A name does not depend on what else is imported.
        for (name, id) in
            names
                .iter()
                .zip(["issues/list", "issues.list", "issues_list", &one, &other])
        {
            assert_eq!(
                names_of(&import(&document, &[id.to_owned()]).unwrap()),
                [name]
            );
        }
    }

    fn body_of(schema: Value) -> Value {
        let body =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        let document = api(
            json!({ "post": { "requestBody": body } }),
            json!({ "components": { "schemas": {
            "Base": { "type": "object", "required": ["id", "n"], "properties": {
                "id": { "type": "integer", "readOnly": true }, "n": { "type": "string" } } },
        } } }),
        );
        import(&document, &[])
            .unwrap()
            .operations
            .remove(0)
            .parameters
    }

    #[test]
    fn read_only_properties_are_not_asked_for() {
        let parameters = body_of(
            json!({ "type": "object", "required": ["id", "lines"], "properties": {
            "id": { "readOnly": true },
            "lines": { "type": "array", "items": { "$ref": "#/components/schemas/Base" } },
            "readOnly": { "type": "boolean" },
        } }),
        );
        assert_eq!(
            parameters,
            json!({ "type": "object", "required": ["lines"], "properties": {
            "lines": { "type": "array", "items": {
                "type": "object", "required": ["n"], "properties": { "n": { "type": "string" } } } },
            "readOnly": { "type": "boolean" },
        } })
        );
        let composed = body_of(json!({
            "allOf": [{ "$ref": "#/components/schemas/Base" }, { "required": ["id"] }], "required": ["id", "n"],
        }));
        let base = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "string" } } });
        assert_eq!(
            composed["properties"]["body"],
            json!({ "allOf": [base, {}], "required": ["n"] })
        );
    }

    #[test]
    fn schemas_keep_their_meaning() {
        let base = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "string" } } });
        for (schema, expected) in [
            (
                json!({ "allOf": [{ "type": "string" }], "nullable": true }),
                json!({ "anyOf": [{ "allOf": [{ "type": "string" }] }, { "type": "null" }] }),
            ),
            (
                json!({ "type": ["string", "integer"], "nullable": true }),
                json!({ "type": ["string", "integer", "null"] }),
            ),
            (
                json!({ "$ref": "#/components/schemas/Base", "required": ["x"] }),
                json!({ "allOf": [base, { "required": ["x"] }] }),
            ),
            (
                json!({ "type": "integer", "minimum": -9_223_372_036_854_776_000.0_f64, "maximum": 126.0, "enum": [1.0] }),
                json!({ "type": "integer", "minimum": -9_223_372_036_854_776_000.0_f64, "maximum": 126, "enum": [1] }),
            ),
        ] {
            let copy = body_of(json!({ "type": "array", "items": schema }));
            assert_eq!(copy["properties"]["body"]["items"], expected);
        }
    }

    #[test]
    fn a_body_keeps_its_media_type() {
        let fields = json!({ "schema": { "type": "object", "properties": { "a": { "type": "string" }, "m": { "type": "object" } } } });
        let mut deep = fields.clone();
        deep["encoding"] = json!({ "m": { "style": "deepObject", "explode": true } });
        for (content, expected) in [
            (
                json!({ "application/json; charset=utf-8": fields }),
                (None, r#"{"a":"x y","m":{"k":1}}"#),
            ),
            (
                json!({ "application/vnd.api+json": fields }),
                (
                    Some("application/vnd.api+json"),
                    r#"{"a":"x y","m":{"k":1}}"#,
                ),
            ),
            (
                json!({ "multipart/form-data": fields, "application/x-www-form-urlencoded": deep }),
                (
                    Some("application/x-www-form-urlencoded"),
                    "a=x+y&m%5Bk%5D=1",
                ),
            ),
        ] {
            let document = api(
                json!({ "post": { "requestBody": { "content": content } } }),
                json!({}),
            );
            let operation = import(&document, &[]).unwrap().operations.remove(0);
            assert_eq!(operation.content_type.as_deref(), expected.0);
            let arguments = exact(&json!({ "a": "x y", "m": { "k": 1 } }));
            let request = operation.checked().unwrap().request("https://h", arguments);
            assert_eq!(request.unwrap().body.unwrap().text, expected.1);
        }
        let upload =
            json!({ "post": { "requestBody": { "content": { "multipart/form-data": fields } } } });
        let refused = import(&api(upload, json!({})), &[])
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("`POST /a`: it requires a body of the type multipart/form-data"),
            "{refused}"
        );
    }

    #[test]
    fn paths_in_other_files_are_reported() {
        let document = json!({ "openapi": "3.1.0", "paths": {
            "/a": { "$ref": "paths/a.yml" }, "/b": { "get": { "operationId": "b" }, "trace": {} },
        } });
        let imported = import(&document, &[]).unwrap();
        let reasons = reasons_of(&imported);
        assert!(
            reasons[0].contains("external reference, `paths/a.yml`"),
            "{reasons:?}"
        );
        assert_eq!(reasons[1], "its method is not supported");
        let unknown = import(&document, &["a".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            unknown.contains("no operation `a`") && unknown.contains("external reference"),
            "{unknown}"
        );
    }
}
