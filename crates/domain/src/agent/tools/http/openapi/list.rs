//! Lists the operations of a document, so that a person can choose some of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::servers::Servers;
use super::{
    ImportSource, LeftOut, OpenApiError, add_credentials, check_version, convert,
    located_operations, names,
};
use crate::agent::tools::HttpMethod;

/// Most operations of a list, and most that are left out of it.
const MAX_LISTED: usize = 2000;
/// Bytes of a summary.
const MAX_SUMMARY: usize = 200;

/// What a document offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedApi {
    pub title: String,
    /// The server of the operations, if its URL is known.
    pub base_url: Option<String>,
    pub operations: Vec<ListedOperation>,
    /// Headers for authentication: the header's name, and the prefix of the secret.
    pub credentials: BTreeSet<(String, String)>,
    pub left_out: Vec<LeftOut>,
    /// Whether the document has more than was listed.
    pub is_cut: bool,
}

/// An operation that can be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedOperation {
    /// The name that `allow` accepts, and that the model sees.
    pub name: String,
    pub method: HttpMethod,
    pub path: String,
    /// The first line of its description.
    pub summary: String,
}

/// Lists all operations of a document, and those that cannot be imported.
pub fn list_openapi(document: &Value, source: ImportSource<'_>) -> Result<ListedApi, OpenApiError> {
    check_version(document)?;
    let (located, left_out) = located_operations(document);
    let servers = Servers::choose(document, source, located.iter());
    let title = document.pointer("/info/title").and_then(Value::as_str);
    let mut listed = ListedApi {
        title: crate::cut(title.unwrap_or_default().trim(), MAX_SUMMARY),
        base_url: servers.base_url.clone(),
        left_out,
        ..ListedApi::default()
    };
    for (located, name) in located.iter().zip(names::unique_names(&located)) {
        if listed.operations.len().max(listed.left_out.len()) >= MAX_LISTED {
            listed.is_cut = true;
            break;
        }
        match convert(document, located, &name, &servers) {
            Ok((operation, credentials)) => {
                add_credentials(&mut listed.credentials, credentials);
                let summary = operation.description.lines().next().unwrap_or_default();
                listed.operations.push(ListedOperation {
                    summary: crate::cut(summary, MAX_SUMMARY),
                    name,
                    method: operation.method,
                    path: operation.path,
                });
            }
            Err(why) => listed.left_out.push(located.left_out(why)),
        }
    }
    listed.left_out.truncate(MAX_LISTED);
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_operations_are_listed_with_the_names_that_an_import_accepts() {
        let mut paths = serde_json::Map::new();
        for number in 0..300 {
            let get = json!({ "operationId": format!("get.{number}"), "summary": "First\nSecond" });
            paths.insert(format!("/things/{number}"), json!({ "get": get }));
        }
        let upload = json!({ "required": true, "content": { "image/png": {} } });
        paths.insert(
            "/pictures".to_owned(),
            json!({ "post": { "requestBody": upload } }),
        );
        let document = json!({
            "openapi": "3.1.0", "info": { "title": " Shop " }, "paths": paths,
            "servers": [{ "url": "https://shop.example/v1" }], "security": [{ "token": [] }],
            "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        });
        let listed = list_openapi(&document, ImportSource::default()).unwrap();
        assert_eq!(
            (listed.title.as_str(), listed.operations.len()),
            ("Shop", 300)
        );
        assert_eq!(listed.base_url.as_deref(), Some("https://shop.example/v1"));
        assert!(!listed.is_cut);
        let operation = &listed.operations[7];
        assert_eq!(
            (operation.name.as_str(), operation.summary.as_str()),
            ("get_7", "First")
        );
        let allow = [operation.name.clone()];
        let imported = super::super::import_openapi(&document, &allow, ImportSource::default());
        assert_eq!(imported.unwrap().operations[0].path, "/things/7");
        assert_eq!(listed.left_out[0].path, "POST /pictures");
        let header = ("Authorization".to_owned(), "Bearer ".to_owned());
        assert_eq!(listed.credentials, BTreeSet::from([header]));
    }

    #[test]
    fn a_document_of_which_nothing_can_be_imported_is_listed_and_another_version_is_refused() {
        let document = json!({ "openapi": "3.0.0", "paths": { "/a": { "trace": {} }, "/b": { "options": {} } } });
        let listed = list_openapi(&document, ImportSource::default()).unwrap();
        assert_eq!((listed.operations.len(), listed.left_out.len()), (0, 2));
        let error = list_openapi(&json!({ "swagger": "2.0" }), ImportSource::default());
        assert_eq!(error, Err(OpenApiError::Swagger));
    }
}
