//! Problems with one status as a response in the OpenAPI document.

use std::collections::BTreeMap;

use axum::http::header::{ALLOW, CONNECTION, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::{
    ContentBuilder, Header, HeaderBuilder, ObjectBuilder, Ref, Response, ResponseBuilder, Type,
};

use crate::Problem;

/// Every problem and its header become examples.
pub(super) fn response(problems: &[Problem]) -> Response {
    let descriptions: Vec<String> = problems
        .iter()
        .map(|problem| format!("- `{}`: {}", problem.code, problem.message))
        .collect();
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples(problems))
        .build();
    let mut response = ResponseBuilder::new()
        .description(descriptions.join("\n"))
        .content("application/json", content);
    // The first header with a name wins. The `Retry-After` of an overload is random, so it must not be used.
    for (name, value) in problems
        .iter()
        .rev()
        .filter_map(|problem| problem.header.as_ref())
    {
        response = response.header(
            canonical_name(name),
            header(name, value.to_str().unwrap_or_default()),
        );
    }
    response.build()
}

/// Examples named by their codes, with a number if two have the same code.
fn examples(problems: &[Problem]) -> BTreeMap<String, Example> {
    let mut examples = BTreeMap::new();
    for problem in problems {
        let reference = problem
            .is_server_error()
            .then(|| "9f86d081884c7d65".to_owned());
        let example = ExampleBuilder::new()
            .summary(&*problem.message)
            .value(Some(json!(problem.body(reference))));
        let name = (1..)
            .map(|number| numbered(problem.code, number))
            .find(|name| !examples.contains_key(name));
        examples.insert(name.unwrap_or_default(), example.build());
    }
    examples
}

fn numbered(code: &str, number: u32) -> String {
    if number == 1 {
        code.to_owned()
    } else {
        format!("{code}_{number}")
    }
}

fn header(name: &HeaderName, value: &str) -> Header {
    let (kind, description) = match *name {
        ALLOW => (Type::String, "The methods that the path supports."),
        RETRY_AFTER => (Type::Integer, "Seconds to wait before the next try."),
        WWW_AUTHENTICATE => (Type::String, "How to authenticate."),
        CONNECTION => (Type::String, "The connection closes after this response."),
        _ => (Type::String, ""),
    };
    let example = value
        .parse()
        .map_or_else(|_| json!(value), |seconds: u32| json!(seconds));
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .example(Some(example))
        .build()
}

/// The name with the capital letters that RFCs use.
fn canonical_name(name: &HeaderName) -> String {
    match *name {
        WWW_AUTHENTICATE => "WWW-Authenticate".to_owned(),
        _ => name
            .as_str()
            .split('-')
            .map(capitalized)
            .collect::<Vec<_>>()
            .join("-"),
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}
