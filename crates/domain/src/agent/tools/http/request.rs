//! From a call's arguments to a request. An argument cannot leave its place: its
//! segment of the path, its pair of the query, or its header.

use std::borrow::Cow;

use jsonschema::ValidationError;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::arguments::describe_mismatch;
use super::body::{BodyFormat, RequestBody};
use super::style::{encoded_pairs, header_text, path_text};
use super::{ArgumentError, HttpMethod, Operation};
use crate::ExactValue;
use crate::schema::{BoundedValidator, bounded_validator, compilation_cost};

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
    pub body: Option<RequestBody>,
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
        mut arguments: ExactValue,
    ) -> Result<ToolRequest, ArgumentError> {
        let wrong = |error: ValidationError<'_>| ArgumentError::Schema {
            tool: self.operation.name.clone(),
            why: describe_mismatch(&error),
        };
        self.validator
            .validate(&arguments.to_value())
            .map_err(wrong)?;
        arguments.write_integers(&self.operation.parameters);
        match arguments {
            ExactValue::Object(fields) => self.operation.request(base_url, fields),
            _ => self.operation.request(base_url, Vec::new()),
        }
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
        arguments: Vec<(String, ExactValue)>,
    ) -> Result<ToolRequest, ArgumentError> {
        let base_url = base_url.trim_end_matches('/');
        let url = format!("{base_url}{}", self.path_of(&arguments)?);
        let mut url = Url::parse(&url).map_err(|_| ArgumentError::Url(self.name.clone()))?;
        let format = BodyFormat::of(self.content_type.as_deref()).unwrap_or_default();
        let (mut headers, mut body, mut pairs) = (Vec::new(), None, Vec::new());
        let mut fields = self.sends_fields().then(Vec::new);
        let in_path = self.path_arguments();
        for (name, value) in arguments {
            if in_path.contains(&name.as_str()) {
                continue;
            }
            let wire_name = self.wire_names.get(&name).unwrap_or(&name);
            if self.headers.contains(&name) {
                if value != ExactValue::Null {
                    headers.push((wire_name.clone(), self.header_of(&name, &value)?));
                }
            } else if self.body.as_ref() == Some(&name) {
                body = Some(format.whole(&name, value)?);
            } else if let Some(fields) = fields.as_mut().filter(|_| !self.query.contains(&name)) {
                fields.push((name, value));
            } else {
                let style = self.styles.get(&name);
                pairs.extend(encoded_pairs(&name, wire_name, &value, style)?);
            }
        }
        append_to_query(&mut url, &pairs);
        let fields = fields
            .map(|fields| format.fields(self, fields))
            .transpose()?;
        let text = body.or(fields);
        let content_type = self.content_type.as_deref().unwrap_or("application/json");
        Ok(ToolRequest {
            method: self.method,
            url,
            headers,
            body: text.map(|text| RequestBody {
                content_type: content_type.to_owned(),
                text,
            }),
        })
    }

    fn header_of(&self, name: &str, value: &ExactValue) -> Result<String, ArgumentError> {
        header_text(value, self.styles.get(name))
            .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
            .ok_or_else(|| ArgumentError::Header(name.to_owned()))
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

    fn path_of(&self, arguments: &[(String, ExactValue)]) -> Result<String, ArgumentError> {
        let (mut path, mut decoded) = (String::new(), String::new());
        for piece in pieces(&self.path).unwrap_or_default() {
            match piece {
                Piece::Literal(text) => {
                    path.push_str(text);
                    // Arguments are only allowed before any `?`.
                    decoded.push_str(text.split('?').next().unwrap_or_default());
                }
                Piece::Argument(name) => {
                    let wire_name = self.wire_names.get(name).map_or(name, String::as_str);
                    let value = arguments.iter().find(|(argument, _)| argument == name);
                    let text = value
                        .and_then(|(_, value)| path_text(wire_name, value, self.styles.get(name)));
                    let text = text.filter(|(_, text)| stays_in_its_segment(text));
                    let (encoded, text) =
                        text.ok_or_else(|| ArgumentError::Path(name.to_owned()))?;
                    path.push_str(&encoded);
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

fn append_to_query(url: &mut Url, pairs: &[String]) {
    if pairs.is_empty() {
        return;
    }
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&{}", pairs.join("&")),
        _ => pairs.join("&"),
    };
    url.set_query(Some(&query));
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

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

    fn json_of(body: Option<RequestBody>) -> Option<Value> {
        body.map(|body| serde_json::from_str(&body.text).unwrap())
    }

    fn url(operation: &Operation, arguments: Value) -> Result<String, ArgumentError> {
        let request = operation
            .checked()
            .unwrap()
            .request(BASE, (&arguments).into());
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
            .request(BASE, (&arguments).into())
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
            .request(BASE, (&arguments).into())
            .unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://shop.example/api/orders/7?note=a%26b"
        );
        assert_eq!(
            json_of(request.body),
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
            .request(BASE, (&arguments).into())
            .unwrap();
        assert_eq!(request.headers, [("X-Tag".to_owned(), "red".to_owned())]);
        assert_eq!(request.url.query(), Some("filter%5Bname%5D=x"));
        assert_eq!(json_of(request.body), Some(json!([1, 2])));
        let split = json!({ "tag": "red\r\nAuthorization: x", "order": 1 });
        let refused = operation.checked().unwrap().request(BASE, (&split).into());
        assert_eq!(refused, Err(ArgumentError::Header("tag".into())));
    }

    #[test]
    fn a_post_sends_a_body_only_if_it_has_arguments_for_one() {
        let body = |operation: Operation, arguments: Value| {
            let checked = operation.checked().unwrap();
            json_of(checked.request(BASE, (&arguments).into()).unwrap().body)
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

    #[test]
    fn numbers_keep_their_digits_in_every_place() {
        let operation: Operation = serde_json::from_value(json!({
            "name": "op", "method": "POST", "path": "/o/{id}", "query": ["q"], "headers": ["h"],
            "parameters": { "required": ["id"], "properties": {
                "id": { "type": "integer" }, "q": { "type": "integer" }, "h": {}, "n": {},
                "whole": { "type": "integer" },
            } },
        }))
        .unwrap();
        let text = r#"{"id":12345678901234567890123,"q":98765432109876543210987.0,
            "h":0.1000000000000000055,"n":[1.50,12345678901234567890123],"whole":126.0}"#;
        let (_, arguments) = ExactValue::parse_object(text, 100).unwrap();
        let request = operation
            .checked()
            .unwrap()
            .request(BASE, arguments)
            .unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://shop.example/api/o/12345678901234567890123?q=98765432109876543210987"
        );
        assert_eq!(request.headers[0].1, "0.1000000000000000055");
        let body = r#"{"n":[1.50,12345678901234567890123],"whole":126}"#;
        assert_eq!(request.body.unwrap().text, body);
    }

    #[test]
    fn a_body_is_written_in_its_format() {
        let form = "application/x-www-form-urlencoded";
        for (fields, arguments, expected) in [
            (
                json!({ "content_type": form, "styles": { "deep": { "style": "deepObject", "explode": true } } }),
                json!({ "a": "x&y z", "list": [1, 2], "deep": { "k": "v" }, "none": null }),
                "a=x%26y+z&list=1&list=2&deep%5Bk%5D=v",
            ),
            (
                json!({ "content_type": form, "body": "a" }),
                json!({ "a": { "x": 1, "tags": ["u", "v"] } }),
                "x=1&tags=u&tags=v",
            ),
            (
                json!({ "content_type": "text/plain", "body": "a" }),
                json!({ "a": "hello \"you\"" }),
                "hello \"you\"",
            ),
            (
                json!({ "content_type": "application/vnd.api+json", "body": "a" }),
                json!({ "a": "x" }),
                "\"x\"",
            ),
        ] {
            let mut post = json!({
                "name": "op", "method": "POST", "path": "/o",
                "parameters": { "properties": { "a": {}, "list": {}, "deep": {}, "none": {} } },
            });
            let content_type = fields["content_type"].clone();
            post.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            let post: Operation = serde_json::from_value(post).unwrap();
            let request = post.checked().unwrap().request(BASE, (&arguments).into());
            let body = request.unwrap().body.unwrap();
            assert_eq!(
                (json!(body.content_type), body.text.as_str()),
                (content_type, expected)
            );
        }
    }
}
