//! Finds the error code, the status and the parameter in the error of a provider, whatever its
//! form:
//!
//! | form | servers |
//! | --- | --- |
//! | `{"error":{"message","type","code","param"}}` | OpenAI, LiteLLM, Groq, OpenRouter, Anthropic |
//! | `{"object":"error","type","code","param"}` | vLLM, Mistral |
//! | `{"message":{"detail":[{"loc","type"}]}}` | Mistral |
//! | `{"error":{"metadata":{"raw":"{…}"}}}` | OpenRouter |
//! | `{"base_resp":{"status_code","status_msg"}}` | MiniMax |
//! | `[{"error":{"code","status","details"}}]` | Gemini |
//! | `{"detail":[{"loc","type"}]}` | FastAPI |
//! | `{"__type"}` and the header `x-amzn-errortype` | AWS |
//! | `{"code","message"}`, `{"error":"text"}`, `{"errors":[…]}` | others |
//!
//! The error message may quote the prompt or the payload. It is only for the log, in case
//! that the operator wants it there.

mod fields;

use std::time::Duration;

use domain::{MAX_JSON_VALUES, parse_foreign_json, replace_lone_surrogates};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use fields::{aws_code, identifier, kind_in, most_telling, param_in, retry_in, status_in};

/// Most bytes of a body that are searched.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Most bytes of an error message. The log has the first half: a secret at the cut is removed
/// only if it is here as a whole.
const MAX_TEXT_BYTES: usize = 4096;
const REQUEST_ID_HEADERS: [&str; 8] = [
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "x-litellm-call-id",
    "x-goog-request-id",
    "cf-ray",
];
/// Fields that may contain the error, or a list of errors.
const NESTED: [&str; 7] = [
    "error",
    "errors",
    "detail",
    "message",
    "Error",
    "Output",
    "base_resp",
];
/// How deep errors are nested.
const MAX_DEPTH: usize = 4;
/// Parts of the codes of transient errors, in lower case and without separators.
const TRANSIENT: [&str; 17] = [
    "ratelimit",
    "toomanyrequests",
    "throttl",
    "overload",
    "unavailable",
    "timeout",
    "timedout",
    "deadlineexceeded",
    "resourceexhausted",
    "internal",
    "servererror",
    "apierror",
    "slowdown",
    "insufficientsystemresource",
    "notready",
    "modelloading",
    "capacity",
];

/// What is known about an error of a provider. All texts are identifiers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProviderError {
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    /// The HTTP status that the body names.
    pub(super) status: Option<StatusCode>,
    pub(super) param: Option<String>,
    pub(super) request_id: Option<String>,
    /// How long the body asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// The error message, or the beginning of a body that is not JSON.
    pub(super) text: String,
    /// Whether the message is about an overload. Only for errors without code and status.
    is_overload: bool,
}

impl ProviderError {
    /// The error of a response whose status says that it is one.
    pub(super) fn of_response(headers: &HeaderMap, body: &[u8]) -> Self {
        let mut error = match parse_json(body) {
            Some(json) => Self::from_json(&json),
            None => Self {
                text: beginning(&String::from_utf8_lossy(
                    body.get(..MAX_TEXT_BYTES).unwrap_or(body),
                )),
                ..Self::default()
            },
        };
        error.add_headers(headers);
        error
    }

    /// The error in the body of a 200 response. `None` if the body does not say that it is one.
    pub(super) fn of_success(body: &[u8]) -> Option<Self> {
        let json = parse_json(body)?;
        is_error(&json).then(|| Self::from_json(&json))
    }

    pub(super) fn add_headers(&mut self, headers: &HeaderMap) {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        if let Some(code) = header("x-amzn-errortype").and_then(aws_code) {
            self.code = Some(code);
        }
        let mut ids = REQUEST_ID_HEADERS
            .iter()
            .filter_map(|name| identifier(header(name)?));
        self.request_id = ids.next().or(self.request_id.take());
    }

    /// Whether a later call may succeed, for an error in the body of a 200 response.
    pub(super) fn is_transient(&self) -> bool {
        if let Some(status) = self.status {
            return is_transient_status(status);
        }
        let has_letters = |code: &&String| code.bytes().any(|byte| byte.is_ascii_alphabetic());
        let Some(code) = self.code.as_ref().filter(has_letters) else {
            return self.is_overload;
        };
        matches!(code.as_str(), "requests" | "tokens") || is_transient_word(code)
    }

    fn from_json(json: &Value) -> Self {
        let passed_on = passed_on_error(json);
        let mut objects = Vec::new();
        add_objects(json, 0, &mut objects);
        let status = objects.iter().find_map(|object| status_in(object));
        let plain = text_in(&objects, &["error", "errors", "detail", "Error"]);
        let single = plain.filter(|word| word.len() > 2);
        let message = text_in(&objects, &["message", "msg", "status_msg"]).or(plain);
        // The error of the server behind a proxy says more than that of the proxy.
        if let Some(passed_on) = &passed_on {
            let own = std::mem::take(&mut objects);
            add_objects(passed_on, 0, &mut objects);
            objects.extend(own);
        }
        Self {
            code: most_telling(&objects, single),
            status,
            kind: objects.iter().find_map(|object| kind_in(object)),
            param: objects.iter().find_map(|object| param_in(object)),
            request_id: objects.iter().find_map(|object| {
                let id = object.get("request_id").or(object.get("requestId"))?;
                identifier(id.as_str()?)
            }),
            retry_after: objects.iter().find_map(|object| retry_in(object)),
            is_overload: message.is_some_and(is_transient_word),
            text: message.map(beginning).unwrap_or_default(),
        }
    }
}

/// 408, 424 of Bedrock, 429 and 5xx (RFC 9110 section 15; Anthropic returns 529 when it is
/// overloaded).
pub(super) fn is_transient_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::FAILED_DEPENDENCY | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

fn is_transient_word(text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_alphabetic);
    let word: String = letters
        .map(|letter| char::from(letter.to_ascii_lowercase()))
        .collect();
    TRANSIENT.iter().any(|part| word.contains(part))
}

fn parse_json(body: &[u8]) -> Option<Value> {
    let body = body
        .get(..MAX_ERROR_BYTES.min(body.len()))
        .filter(|_| body.len() <= MAX_ERROR_BYTES)?;
    let text = String::from_utf8_lossy(body);
    let text = replace_lone_surrogates(text.trim_start_matches('\u{feff}'));
    parse_foreign_json(&text, MAX_JSON_VALUES).ok()
}

/// The first item of a list.
fn first(json: &Value) -> &Value {
    json.as_array()
        .and_then(|items| items.first())
        .unwrap_or(json)
}

/// The objects of an error, the innermost first.
fn add_objects<'v>(json: &'v Value, depth: usize, objects: &mut Vec<&'v Map<String, Value>>) {
    let Some(object) = first(json).as_object().filter(|_| depth < MAX_DEPTH) else {
        return;
    };
    for nested in NESTED.into_iter().filter_map(|name| object.get(name)) {
        add_objects(nested, depth + 1, objects);
    }
    objects.push(object);
}

/// The first text in one of these fields.
fn text_in<'v>(objects: &[&'v Map<String, Value>], names: &[&str]) -> Option<&'v str> {
    let text = |object: &'v Map<String, Value>| {
        let mut names = names.iter();
        names.find_map(|name| first(object.get(*name)?).as_str())
    };
    objects.iter().find_map(|object| text(object))
}

/// The error of another server that OpenRouter passes on, as text or as JSON.
fn passed_on_error(json: &Value) -> Option<Value> {
    let raw = first(json).get("error")?.get("metadata")?.get("raw")?;
    match raw.as_str() {
        Some(text) => parse_foreign_json(text, MAX_JSON_VALUES).ok(),
        None => Some(raw.clone()),
    }
}

fn is_error(json: &Value) -> bool {
    let Some(root) = first(json).as_object() else {
        return false;
    };
    let has = |name: &str| root.get(name).is_some_and(|value| !value.is_null());
    let is = |name: &str| root.get(name).is_some_and(|value| value == "error");
    let is_named = ["error", "errors", "detail", "__type", "Error"]
        .into_iter()
        .any(has)
        || is("type")
        || is("object")
        || is("status");
    let is_plain = ["message", "msg", "Message"].into_iter().any(has)
        && !["choices", "content", "output"].into_iter().any(has);
    let code = |name: &str, field: &str| root.get(name)?.get(field);
    is_named
        || is_plain
        || code("Output", "__type").is_some()
        || code("base_resp", "status_code").is_some_and(|code| code.as_i64() != Some(0))
}

/// The part of a server's text that is logged if the operator wants it.
fn beginning(text: &str) -> String {
    domain::cut(text.trim(), MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(body: &str) -> ProviderError {
        ProviderError::of_response(&HeaderMap::new(), body.as_bytes())
    }

    fn assert_codes(cases: &[(&str, &str)]) {
        for (body, code) in cases {
            assert_eq!(read(body).code.unwrap_or_default(), *code, "{body}");
        }
    }

    #[test]
    fn the_most_telling_code_of_the_known_forms_is_found() {
        assert_codes(&[
            (
                r#"{"error":{"message":"s","type":"server_error","code":"model_loading"}}"#,
                "model_loading",
            ),
            (
                r#"{"error":{"message":"s","type":"invalid_request_error","code":400}}"#,
                "invalid_request_error",
            ),
            (
                r#"{"error":{"type":"budget_exceeded","code":"422"}}"#,
                "budget_exceeded",
            ),
            (
                r#"{"error":{"code":"invalid_request_error","type":"unsupported"}}"#,
                "unsupported",
            ),
            (
                r#"{"error":{"type":"None","param":"None","code":"429"}}"#,
                "",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"s"}}"#,
                "overloaded_error",
            ),
            (
                r#"{"error":{"code":429,"message":"s","status":"RESOURCE_EXHAUSTED"}}"#,
                "RESOURCE_EXHAUSTED",
            ),
            (
                r#"{"object":"error","message":"s","type":"BadRequestError","code":400}"#,
                "BadRequestError",
            ),
            (
                r#"{"object":"error","message":"s","type":"NotFoundError","param":null,"code":404}"#,
                "NotFoundError",
            ),
            (
                r#"[{"error":{"code":400,"message":"s","status":"INVALID_ARGUMENT"}}]"#,
                "INVALID_ARGUMENT",
            ),
            (
                r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"@type":"t","reason":"API_KEY_INVALID"}]}}]"#,
                "API_KEY_INVALID",
            ),
            (
                r#"{"detail":[{"loc":["body","n"],"msg":"s","type":"missing"}]}"#,
                "missing",
            ),
            (r#"{"detail":"Not a code"}"#, ""),
            (r#"{"error":"invalid_api_key"}"#, "invalid_api_key"),
        ]);
    }

    #[test]
    fn the_most_telling_code_of_any_other_form_is_found() {
        assert_codes(&[
            (r#"{"error":"model 'x' not found"}"#, ""),
            (
                r#"{"code":"InvalidParameter","message":"s"}"#,
                "InvalidParameter",
            ),
            (r#"{"error":{"code":"1113","message":"s"}}"#, "1113"),
            (r#"{"code":1004,"message":"s"}"#, "1004"),
            (
                r#"{"errors":[{"code":7003,"message":"s"}],"success":false}"#,
                "7003",
            ),
            (
                r#"{"__type":"com.amazon.coral#ThrottlingException:http://x/"}"#,
                "ThrottlingException",
            ),
            (
                r#"{"Output":{"__type":"a.b#UnknownOperationException"},"Version":"1.0"}"#,
                "UnknownOperationException",
            ),
            (r#"{"statusCode":401,"message":"s"}"#, ""),
            (r#"{"error":{"code":"your prompt is bad"}}"#, ""),
            (
                "{\"error\":{\"message\":\"\\ud83d\",\"code\":\"slow_down\"}}",
                "slow_down",
            ),
            ("\u{feff}{\"error\":{\"code\":\"slow_down\"}}", "slow_down"),
            (r#"{"error":"x"}"#, ""),
            ("<html>", ""),
            ("", ""),
        ]);
        let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "a".repeat(65));
        assert_eq!(read(&long).code, None);
        let many = format!(
            r#"{{"error":{{"code":"a"}},"x":[{}0]}}"#,
            "0,".repeat(20_000)
        );
        assert_eq!(read(&many).code, None);
    }

    #[test]
    fn the_code_of_a_nested_error_or_of_a_uri_is_found() {
        assert_codes(&[
            (
                r#"{"message":{"detail":[{"type":"extra_forbidden"}]},"type":"invalid_request_error"}"#,
                "extra_forbidden",
            ),
            (
                r#"{"error":{"code":400,"metadata":{"raw":"{\"error\":{\"code\":\"slow_down\"}}"}}}"#,
                "slow_down",
            ),
            (
                r#"{"base_resp":{"status_code":1008,"status_msg":"s"}}"#,
                "1008",
            ),
            (r#"{"error":"s s","error_type":"overloaded"}"#, "overloaded"),
            (r#"{"type":"about:blank","title":"s","status":404}"#, ""),
            (
                r#"{"type":"https://x.example/errors/over_quota","status":402}"#,
                "over_quota",
            ),
        ]);
        let error = read(r#"{"message":{"detail":[{"loc":["body","top_p"],"type":"missing"}]}}"#);
        assert_eq!(error.param.as_deref(), Some("top_p"));
    }

    #[test]
    fn the_parameter_is_found_if_it_is_an_identifier() {
        for (body, param) in [
            (r#"{"error":{"param":"max_tokens"}}"#, Some("max_tokens")),
            (
                r#"{"error":{"param":"tools[0].function"}}"#,
                Some("tools[0].function"),
            ),
            (
                r#"{"object":"error","param":"temperature","code":400}"#,
                Some("temperature"),
            ),
            (
                r#"{"detail":[{"loc":["body","messages",0,"content"],"type":"missing"}]}"#,
                Some("messages.0.content"),
            ),
            (
                r#"{"error":{"details":[{"fieldViolations":[{"field":"contents"}]}]}}"#,
                Some("contents"),
            ),
            (r#"{"error":{"param":"the secret payload"}}"#, None),
            (r#"{"error":{"param":"None"}}"#, None),
            (r#"{"error":{"param":7}}"#, None),
        ] {
            assert_eq!(read(body).param.as_deref(), param, "{body}");
        }
    }

    #[test]
    fn headers_have_the_code_of_aws_and_the_id_of_the_request() {
        let header = |name, value| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let headers = HeaderMap::from_iter([
            header("x-amzn-errortype", "AccessDeniedException:http://internal/"),
            header("x-amzn-requestid", "5f1-2b"),
        ]);
        let error = ProviderError::of_response(&headers, br#"{"message":"no access"}"#);
        assert_eq!(error.code.as_deref(), Some("AccessDeniedException"));
        assert_eq!(error.request_id.as_deref(), Some("5f1-2b"));
        let body = br#"{"type":"error","error":{"type":"x"},"request_id":"req_1"}"#;
        assert_eq!(
            ProviderError::of_response(&HeaderMap::new(), body)
                .request_id
                .as_deref(),
            Some("req_1")
        );
        let spaces = HeaderMap::from_iter([header("x-request-id", "a b")]);
        assert_eq!(ProviderError::of_response(&spaces, b"").request_id, None);
    }

    #[test]
    fn an_error_with_200_is_transient_by_its_status_then_by_its_code() {
        for (body, is_transient) in [
            (
                r#"{"error":{"message":"Rate limit exceeded","code":429}}"#,
                true,
            ),
            (r#"{"error":{"message":"s","code":"502"}}"#, true),
            (
                r#"{"error":{"message":"s","code":400,"type":"rate_limit"}}"#,
                false,
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
                true,
            ),
            (
                r#"{"type":"error","error":{"type":"rate_limit_error"}}"#,
                true,
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
                false,
            ),
            (r#"{"__type":"ThrottlingException"}"#, true),
            (r#"{"__type":"a#ValidationException","message":"s"}"#, false),
            (r#"[{"error":{"status":"UNAVAILABLE"}}]"#, true),
            (r#"{"error":{"code":"insufficient_quota"}}"#, false),
            (r#"{"error":"Rate limit exceeded, try again"}"#, true),
            (r#"{"error":{"message":"no such model"}}"#, false),
            (
                r#"{"object":"error","type":"InternalServerError","code":500}"#,
                true,
            ),
            (r#"{"message":"Too many requests"}"#, true),
            (r#"{"detail":"Not found"}"#, false),
        ] {
            let error =
                ProviderError::of_success(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(error.is_transient(), is_transient, "{body}");
        }
        for body in [
            "{}",
            "[]",
            "7",
            r#"{"choices":[]}"#,
            r#"{"error":null}"#,
            "<html>",
        ] {
            assert_eq!(ProviderError::of_success(body.as_bytes()), None, "{body}");
        }
        let google = r#"{"error":{"code":429,"details":[{"retryDelay":"36s"}]}}"#;
        assert_eq!(read(google).retry_after, Some(Duration::from_secs(36)));
    }
}
