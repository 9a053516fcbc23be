//! From a call's arguments to a request. An argument cannot leave its place: its
//! segment of the path, its pair of the query, or its header.

use std::borrow::Cow;

use jsonschema::ValidationError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use super::arguments::describe_mismatch;
use super::{ArgumentError, HttpMethod, Operation};
use crate::schema::{BoundedValidator, bounded_validator, compilation_cost};

/// All but the unreserved characters (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Levels of percent-encoding that are decoded. Text with more levels is refused.
const MAX_DECODINGS: usize = 4;
/// Overlong UTF-8 forms of `.`, `/` and `\`. They are invalid, but some servers accept them
/// (<https://www.unicode.org/reports/tr36/#UTF-8_Exploit>).
const OVERLONG: [&[u8]; 6] = [
    b"\xc0\xae",
    b"\xc0\xaf",
    b"\xc1\x9c",
    b"\xe0\x80\xae",
    b"\xe0\x80\xaf",
    b"\xe0\x81\x9c",
];

/// The HTTP request of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRequest {
    pub method: HttpMethod,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Option<Value>,
}

/// An operation with the validator of its arguments. Building the validator takes longer
/// than checking most arguments.
#[derive(Debug)]
pub struct CheckedOperation {
    operation: Operation,
    validator: BoundedValidator,
}

/// A piece of a path template.
pub(super) enum Piece<'a> {
    Literal(&'a str),
    Argument(&'a str),
}

impl CheckedOperation {
    /// An upper bound for the time to build a request with arguments of this many bytes,
    /// measured as the number of bytes of JSON that take as long to parse.
    pub const fn cost(&self, bytes: usize) -> usize {
        self.validator.cost(bytes)
    }

    /// Validates the arguments and builds the request.
    pub fn request(
        &self,
        base_url: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolRequest, ArgumentError> {
        let wrong = |error: ValidationError<'_>| ArgumentError::Schema {
            tool: self.operation.name.clone(),
            why: describe_mismatch(&error),
        };
        self.validator
            .validate(&Value::Object(arguments.clone()))
            .map_err(wrong)?;
        self.operation.request(base_url, arguments)
    }
}

impl Operation {
    /// An upper bound for the time of [`Self::checked`], measured like
    /// [`CheckedOperation::cost`].
    pub fn compilation_cost(&self) -> usize {
        compilation_cost(&self.parameters)
    }

    /// Builds the validator of the arguments.
    pub fn checked(&self) -> Result<CheckedOperation, ArgumentError> {
        let validator =
            bounded_validator(&self.schema()).map_err(|error| ArgumentError::Schema {
                tool: self.name.clone(),
                why: error.to_string(),
            })?;
        Ok(CheckedOperation {
            operation: self.clone(),
            validator,
        })
    }

    /// Builds the request of a call. The arguments were validated before.
    fn request(
        &self,
        base_url: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolRequest, ArgumentError> {
        let url = format!(
            "{}{}",
            base_url.trim_end_matches('/'),
            self.path_of(arguments)?
        );
        let mut url = Url::parse(&url).map_err(|_| ArgumentError::Url(self.name.clone()))?;
        let (mut headers, mut body) = (Vec::new(), None);
        let mut fields = self.sends_fields().then(Map::new);
        let in_path = self.path_arguments();
        for (name, value) in arguments
            .iter()
            .filter(|(name, _)| !in_path.contains(&name.as_str()))
        {
            let wire_name = self.wire_names.get(name).unwrap_or(name);
            if self.headers.contains(name) {
                headers.push((wire_name.clone(), header_text(name, value)?));
            } else if self.body.as_ref() == Some(name) {
                body = Some(value.clone());
            } else if let Some(fields) = fields.as_mut().filter(|_| !self.query.contains(name)) {
                fields.insert(wire_name.clone(), value.clone());
            } else {
                append_pairs(&mut url, wire_name, value);
            }
        }
        Ok(ToolRequest {
            method: self.method,
            url,
            headers,
            body: body.or(fields.map(Value::Object)),
        })
    }

    /// The names of the arguments in the path.
    pub(super) fn path_arguments(&self) -> Vec<&str> {
        let pieces = pieces(&self.path);
        let name = |piece| match piece {
            Piece::Argument(name) => Some(name),
            Piece::Literal(_) => None,
        };
        pieces.into_iter().flatten().filter_map(name).collect()
    }

    /// Whether the body is an object with arguments as its fields.
    fn sends_fields(&self) -> bool {
        let in_path = self.path_arguments();
        let elsewhere = |name: &String| {
            in_path.contains(&name.as_str())
                || self.query.contains(name)
                || self.headers.contains(name)
        };
        let names = self.parameters.get("properties").and_then(Value::as_object);
        self.method.has_body()
            && self.body.is_none()
            && names.is_some_and(|names| !names.keys().all(elsewhere))
    }

    fn path_of(&self, arguments: &Map<String, Value>) -> Result<String, ArgumentError> {
        let (mut path, mut decoded) = (String::new(), String::new());
        for piece in pieces(&self.path).unwrap_or_default() {
            match piece {
                Piece::Literal(text) => {
                    path.push_str(text);
                    // Arguments are only allowed before any `?`.
                    decoded.push_str(text.split('?').next().unwrap_or_default());
                }
                Piece::Argument(name) => {
                    let text = arguments.get(name).and_then(scalar);
                    let text = text.filter(|text| stays_in_its_segment(text));
                    let text = text.ok_or_else(|| ArgumentError::Path(name.to_owned()))?;
                    path.extend(utf8_percent_encode(&text, RESERVED));
                    decoded.push_str(&text);
                    // Also check it together with the text before it.
                    if !stays_in_its_segment(&decoded) {
                        return Err(ArgumentError::Path(name.to_owned()));
                    }
                }
            }
        }
        match stays_in_its_segment(&decoded) {
            true => Ok(path),
            false => Err(ArgumentError::Url(self.name.clone())),
        }
    }
}

/// Splits a path template. `None` if its braces are not balanced or contain no name.
pub(super) fn pieces(path: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), path);
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if literal.contains('}') || name.is_empty() || name.contains('{') {
            return None;
        }
        pieces.extend([Piece::Literal(literal), Piece::Argument(name)]);
        rest = after;
    }
    pieces.push(Piece::Literal(rest));
    (!rest.contains('}')).then_some(pieces)
}

/// Whether no part of the text is `.` or `..`, however often it is decoded.
///
/// Percent-encoding keeps a slash inside its segment. But some servers decode before they
/// split, some decode twice (`%252e`), some cut `..;x` at the semicolon, and some treat a
/// backslash as a slash.
pub(super) fn stays_in_its_segment(text: &str) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        let is_dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
        if text.is_empty() || text.contains('\\') || text.split('/').any(is_dots) {
            return false;
        }
        let bytes: Vec<u8> = percent_decode_str(&text).collect();
        if OVERLONG
            .iter()
            .any(|form| bytes.windows(form.len()).any(|window| window == *form))
        {
            return false;
        }
        let decoded = String::from_utf8_lossy(&bytes).into_owned();
        if decoded == text {
            return true;
        }
        text = Cow::Owned(decoded);
    }
    false
}

fn header_text(name: &str, value: &Value) -> Result<String, ArgumentError> {
    scalar(value)
        .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        .ok_or_else(|| ArgumentError::Header(name.to_owned()))
}

/// Sends a list as one pair per value (OpenAPI's default style) and an object as JSON. Omits
/// null.
fn append_pairs(url: &mut Url, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Array(values) => {
            for value in values {
                url.query_pairs_mut()
                    .append_pair(name, &scalar(value).unwrap_or_else(|| value.to_string()));
            }
        }
        value => {
            url.query_pairs_mut()
                .append_pair(name, &scalar(value).unwrap_or_else(|| value.to_string()));
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BASE: &str = "https://shop.example/api/";

    fn operation(method: &str, path: &str, names: &[&str]) -> Operation {
        let properties: Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!(true)))
            .collect();
        serde_json::from_value(json!({
            "name": "op", "method": method, "path": path, "parameters": { "properties": properties },
        }))
        .unwrap()
    }

    fn url(operation: &Operation, arguments: Value) -> Result<String, ArgumentError> {
        let request = operation
            .checked()
            .unwrap()
            .request(BASE, arguments.as_object().unwrap());
        request.map(|request| request.url.to_string())
    }

    #[test]
    fn an_argument_never_leaves_its_segment_of_the_path() {
        let order = operation("GET", "/orders/{id}/lines", &["id"]);
        for (id, segment) in [
            ("7", "7"),
            ("a b", "a%20b"),
            ("a/b", "a%2Fb"),
            ("7?all=1", "7%3Fall%3D1"),
            ("7#x", "7%23x"),
            ("100%", "100%25"),
            ("a%2Fb", "a%252Fb"),
            ("..x", "..x"),
            ("a;b=c", "a%3Bb%3Dc"),
            ("caf%E9", "caf%25E9"),
            ("7\r\nHost: x", "7%0D%0AHost%3A%20x"),
            ("...", "..."),
            ("@evil.example", "%40evil.example"),
            ("ä", "%C3%A4"),
        ] {
            let expected = format!("https://shop.example/api/orders/{segment}/lines");
            assert_eq!(url(&order, json!({ "id": id })), Ok(expected));
        }
        for id in [json!(null), json!([1]), json!({ "a": 1 })] {
            assert!(url(&order, json!({ "id": id })).is_err(), "{id}");
        }
    }

    #[test]
    fn an_argument_that_a_server_could_resolve_to_another_path_is_refused() {
        let order = operation("GET", "/orders/{id}/lines", &["id"]);
        for id in [
            "",
            ".",
            "..",
            "../users",
            "a/../../users",
            "..\\users",
            "a\\b",
            "a/./b",
            "..;/users",
            "..;a=b/users",
            ".;",
            "%2e%2e",
            "%2E.",
            "..%2fusers",
            "..%2Fusers",
            "..%5cusers",
            "a%5cb",
            "a%2f..%2f..%2fusers",
            "%252e%252e",
            "..%252fusers",
            "..%3b/users",
            "%25252525252525",
            "%c0%ae%c0%ae/users",
        ] {
            assert_eq!(
                url(&order, json!({ "id": id })),
                Err(ArgumentError::Path("id".into())),
                "{id}"
            );
        }
        let dots = operation("GET", "/{a}{b}/x", &["a", "b"]);
        for (a, b) in [
            (".", "."),
            ("%2", "e"),
            (".", ";"),
            (".%2", "e"),
            ("%", "2e"),
        ] {
            assert!(url(&dots, json!({ "a": a, "b": b })).is_err(), "{a}{b}");
        }
        let after_a_dot = operation("GET", "/.{a}/x", &["a"]);
        for a in [".", ";", "%2e", ".;b"] {
            assert!(url(&after_a_dot, json!({ "a": a })).is_err(), "{a}");
        }
        let before_a_dot = operation("GET", "/{a}./x", &["a"]);
        assert!(url(&before_a_dot, json!({ "a": "%2e" })).is_err());
        assert_eq!(
            url(&dots, json!({ "a": ".x", "b": "y" })),
            Ok("https://shop.example/api/.xy/x".into())
        );
    }

    #[test]
    fn an_argument_changes_neither_the_host_nor_the_base_path() {
        let any = operation("GET", "/{id}", &["id"]);
        for id in ["/evil.example", "//evil.example/x", "@evil.example", ":80"] {
            let url = Url::parse(&url(&any, json!({ "id": id })).unwrap()).unwrap();
            assert_eq!(url.host_str(), Some("shop.example"), "{id}");
            assert!(url.path().starts_with("/api/"), "{id}: {url}");
            assert_eq!(url.path_segments().unwrap().count(), 2, "{id}: {url}");
        }
    }

    #[test]
    fn arguments_outside_the_path_go_to_the_query_or_the_body_depending_on_the_method() {
        let arguments =
            json!({ "id": 7, "note": "a&b", "tags": ["x", "y z"], "at": null, "deep": { "a": 1 } });
        let names = ["id", "note", "tags", "at", "deep"];
        let get = operation("GET", "/orders/{id}?v=2", &names);
        let request = get
            .checked()
            .unwrap()
            .request(BASE, arguments.as_object().unwrap())
            .unwrap();
        let query = "v=2&note=a%26b&tags=x&tags=y+z&deep=%7B%22a%22%3A1%7D";
        assert_eq!(request.url.query(), Some(query));
        assert_eq!(request.body, None);

        let post = Operation {
            query: vec!["note".into()],
            ..operation("POST", "/orders/{id}", &names)
        };
        let request = post
            .checked()
            .unwrap()
            .request(BASE, arguments.as_object().unwrap())
            .unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://shop.example/api/orders/7?note=a%26b"
        );
        assert_eq!(
            request.body,
            Some(json!({ "tags": ["x", "y z"], "at": null, "deep": { "a": 1 } }))
        );
    }

    #[test]
    fn an_argument_goes_to_its_place_under_its_wire_name() {
        let operation: Operation = serde_json::from_value(json!({
            "name": "op", "method": "PUT", "path": "/o",
            "parameters": { "properties": { "tag": {}, "filter": {}, "order": {} } },
            "query": ["filter"], "headers": ["tag"], "body": "order",
            "wire_names": { "tag": "X-Tag", "filter": "filter[name]" },
        }))
        .unwrap();
        let arguments = json!({ "tag": "red", "filter": "x", "order": [1, 2] });
        let request = operation
            .checked()
            .unwrap()
            .request(BASE, arguments.as_object().unwrap())
            .unwrap();
        assert_eq!(request.headers, [("X-Tag".to_owned(), "red".to_owned())]);
        assert_eq!(request.url.query(), Some("filter%5Bname%5D=x"));
        assert_eq!(request.body, Some(json!([1, 2])));
        let split = json!({ "tag": "red\r\nAuthorization: x", "order": 1 });
        let refused = operation
            .checked()
            .unwrap()
            .request(BASE, split.as_object().unwrap());
        assert_eq!(refused, Err(ArgumentError::Header("tag".into())));
    }

    #[test]
    fn a_post_sends_a_body_only_if_it_has_arguments_for_one() {
        let body = |operation: Operation, arguments: Value| {
            operation
                .checked()
                .unwrap()
                .request(BASE, arguments.as_object().unwrap())
                .unwrap()
                .body
        };
        assert_eq!(body(operation("POST", "/ping", &[]), json!({})), None);
        assert_eq!(
            body(operation("POST", "/{id}", &["id"]), json!({ "id": 1 })),
            None
        );
        assert_eq!(
            body(operation("POST", "/{id}", &["id", "x"]), json!({ "id": 1 })),
            Some(json!({}))
        );
    }

    #[test]
    fn arguments_that_the_schema_does_not_name_are_not_sent() {
        let mut get = operation("GET", "/orders", &["state"]);
        let refused = url(&get, json!({ "state": "open", "admin": true }))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("'admin'"), "{refused}");
        get.parameters["additionalProperties"] = json!(true);
        assert!(
            url(&get, json!({ "admin": true }))
                .unwrap()
                .ends_with("?admin=true")
        );
    }

    #[test]
    fn a_mismatch_is_reported_with_its_location() {
        let mut get = operation("GET", "/orders", &[]);
        get.parameters = json!({
            "properties": { "lines": { "items": { "type": "integer" } } }, "required": ["lines"],
        });
        for (arguments, says) in [
            (json!({}), "\"lines\" is a required property"),
            (json!({ "lines": [1, "x"] }), "at /lines/1"),
        ] {
            let message = url(&get, arguments).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
