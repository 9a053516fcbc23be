//! An OpenAPI document, and the arguments that a model gives to what is imported
//! from it, on the last line.
#![no_main]

use domain::agent::tools::{ImportSource, Operation, Tool, import_openapi};
use domain::{Agent, Definition, ExactValue};
use fuzz::{AGENT, last_line};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const BASE_URL: &str = "https://api.example/base";

fuzz_target!(|input: &[u8]| {
    let (document, arguments) = last_line(input);
    let Ok(document) = serde_json::from_slice::<Value>(document) else {
        return;
    };
    let Ok(imported) = import_openapi(&document, &[], ImportSource::default()) else {
        return;
    };
    assert!(!imported.operations.is_empty());
    let arguments = serde_json::from_slice::<Value>(arguments).unwrap_or_default();
    for operation in imported.operations {
        call(&operation, &arguments);
        assert!(is_taken(operation));
    }
});

/// Whatever is imported can be given to an agent.
fn is_taken(operation: Operation) -> bool {
    let tool =
        json!({ "type": "http", "name": "api", "base_url": BASE_URL, "operations": [operation] });
    let mut definition = Definition::named("fuzz", Vec::new());
    definition
        .tools
        .push(serde_json::from_value::<Tool>(tool.clone()).unwrap());
    let is_small = tool.to_string().len() <= 60_000;
    Agent::new(AGENT, definition).is_ok() || !is_small
}

/// Whatever it is called with, it goes to its API, and no argument makes a segment
/// of the path.
fn call(operation: &Operation, arguments: &Value) {
    if !arguments.is_object() {
        return;
    }
    let Ok(request) = operation
        .checked()
        .and_then(|it| it.request(BASE_URL, ExactValue::from(arguments)))
    else {
        return;
    };
    assert_eq!(
        request.url.origin().ascii_serialization(),
        "https://api.example"
    );
    assert!(request.url.path().starts_with("/base/"), "{}", request.url);
    let template = operation.path.split(['?', '#']).next().unwrap_or_default();
    let segments = format!("/base{template}").matches('/').count();
    assert_eq!(
        request.url.path().matches('/').count(),
        segments,
        "{}",
        request.url
    );
}
