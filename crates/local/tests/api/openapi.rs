//! `openapi.json` has exactly the routes of the API.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::World;

const DOCUMENT: &str = include_str!("../../../../openapi.json");
const ROUTERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/src");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn the_openapi_document_has_exactly_the_routes_of_the_api() {
    let document = document();
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut routes = BTreeSet::new();
    collect_routes(Path::new(ROUTERS), &mut routes);
    assert_eq!(routes, documented);
}

/// The paths that the sources pass to `.route(`, as OpenAPI writes them.
fn collect_routes(folder: &Path, routes: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_routes(&path, routes);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for route in source.split(".route(").skip(1) {
            let route = route
                .trim_start()
                .strip_prefix('"')
                .expect("the path is written out");
            routes.insert(route.split('"').next().unwrap().replace("{*", "{"));
        }
    }
}

#[tokio::test]
async fn every_path_of_the_openapi_document_accepts_exactly_its_methods() {
    let world = World::start().await;
    for (path, operations) in document()["paths"].as_object().unwrap() {
        for method in METHODS {
            let asked = path.replace(['{', '}'], "");
            let method_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = world.manage(method_name, &asked).send().await.unwrap();
            let status = answer.status();
            let documented = operations.get(method).is_some();
            assert_eq!(
                status != StatusCode::METHOD_NOT_ALLOWED,
                documented,
                "{method} {path}: {status}"
            );
            if status.is_client_error() {
                assert!(
                    answer.headers().contains_key("allow") || documented,
                    "{method} {path}"
                );
                let problem: Value = answer.json().await.unwrap();
                assert_ne!(
                    problem["code"], "not_found",
                    "the document has a route that does not exist: {method} {path}"
                );
                check_documented(
                    operations.get(method),
                    status,
                    &problem,
                    &format!("{method} {path}"),
                );
            }
        }
    }
}

/// Asserts that the refusal's code is in one of the document's examples.
fn check_documented(operation: Option<&Value>, status: StatusCode, problem: &Value, asked: &str) {
    let Some(operation) = operation else { return };
    let document = document();
    let response = &operation["responses"][status.as_str()];
    let response = match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let examples = response["content"]["application/json"]["examples"].as_object();
    let mut codes = examples
        .into_iter()
        .flatten()
        .map(|(_, example)| &example["value"]["code"]);
    assert!(
        codes.any(|code| *code == problem["code"]),
        "{asked}: {status} {problem} is not documented"
    );
}

#[tokio::test]
async fn the_openapi_document_is_public_and_cached_until_it_changes() {
    let world = World::start().await;
    let ask = || world.http.get(format!("{}/api/openapi.json", world.url));
    let answer = ask().send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let etag = answer.headers()["etag"].clone();
    assert_eq!(answer.text().await.unwrap(), DOCUMENT);
    let again = ask().header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let packed = ask()
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.unwrap().len() < DOCUMENT.len() / 5);
}
