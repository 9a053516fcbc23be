//! Finds the error code, the status and the parameter in the error of a provider, whatever its
//! form:
//!
//! | form | servers |
//! | --- | --- |
//! | `{"error":{"message","type","code","param"}}` | OpenAI, LiteLLM, Groq, OpenRouter, Anthropic |
//! | `{"object":"error","type","code","param"}` | vLLM, Mistral |
//! | `[{"error":{"code","status","details"}}]` | Gemini |
//! | `{"detail":[{"loc","type"}]}` | FastAPI |
//! | `{"__type"}` and the header `x-amzn-errortype` | AWS |
//! | `{"code","message"}`, `{"error":"text"}`, `{"errors":[…]}` | others |
//!
//! Never the error message, which may quote the prompt or the payload.

use std::time::Duration;

use domain::{MAX_JSON_VALUES, parse_foreign_json, replace_lone_surrogates};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use super::retry_after::parse_duration;

/// Most bytes of a body that are searched.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Most bytes of a code, a parameter or the id of a request.
const MAX_IDENTIFIER_BYTES: usize = 64;
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
/// Codes that say no more than the status. Used if there is no other.
const GENERIC: [&str; 10] = [
    "api_error",
    "invalid_request",
    "invalid_request_error",
    "bad_request",
    "bad_request_error",
    "BadRequest",
    "BadRequestError",
    "INVALID_ARGUMENT",
    "HTTPException",
    "HttpException",
];
/// What servers write for no value, or for any error.
const NOT_CODES: [&str; 7] = [
    "None",
    "none",
    "null",
    "undefined",
    "unknown",
    "error",
    "Error",
];
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
    /// The HTTP status that the body names.
    pub(super) status: Option<StatusCode>,
    pub(super) param: Option<String>,
    pub(super) request_id: Option<String>,
    /// How long the body asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether the message is about an overload. Only for errors without code and status.
    is_overload: bool,
}

impl ProviderError {
    /// The error of a response whose status says that it is one.
    pub(super) fn of_response(headers: &HeaderMap, body: &[u8]) -> Self {
        let mut error = parse_json(body)
            .map(|json| Self::from_json(&json))
            .unwrap_or_default();
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
        let Some(code) = &self.code else {
            return self.is_overload;
        };
        matches!(code.as_str(), "requests" | "tokens") || is_transient_word(code)
    }

    fn from_json(json: &Value) -> Self {
        let Some(root) = first(json).as_object() else {
            return Self::default();
        };
        let nested = ["error", "errors", "detail", "Error", "Output"]
            .into_iter()
            .find_map(|name| root.get(name).filter(|value| !value.is_null()));
        let inner = nested.map(first).and_then(Value::as_object);
        let objects: Vec<&Map<String, Value>> = inner.into_iter().chain([root]).collect();
        let single = nested.and_then(Value::as_str).filter(|word| word.len() > 2);
        let status = objects.iter().find_map(|object| status_in(object));
        let message = objects
            .iter()
            .find_map(|object| object.get("message")?.as_str())
            .or(nested.and_then(Value::as_str));
        Self {
            code: most_telling(&objects, single),
            status,
            param: objects.iter().find_map(|object| param_in(object)),
            request_id: objects.iter().find_map(|object| {
                let id = object.get("request_id").or(object.get("requestId"))?;
                identifier(id.as_str()?)
            }),
            retry_after: objects.iter().find_map(|object| retry_in(object)),
            is_overload: message.is_some_and(is_transient_word),
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
    is_named
        || is_plain
        || root
            .get("Output")
            .is_some_and(|output| output.get("__type").is_some())
}

/// The error code. The more exact one, if there are several.
fn most_telling(objects: &[&Map<String, Value>], single: Option<&str>) -> Option<String> {
    let mut words = Vec::new();
    let mut numbers = Vec::new();
    for object in objects {
        words.extend(
            details(object).filter_map(|detail| identifier(detail.get("reason")?.as_str()?)),
        );
        for name in [
            "code",
            "type",
            "status",
            "__type",
            "error_code",
            "errorCode",
            "Code",
            "reason",
        ] {
            match object.get(name) {
                Some(Value::String(text)) => words.extend(aws_code(text)),
                Some(Value::Number(number)) => numbers.extend(identifier(&number.to_string())),
                _ => {}
            }
        }
    }
    words.extend(single.and_then(identifier));
    let is_number = |word: &String| word.bytes().all(|byte| !byte.is_ascii_alphabetic());
    let (numeric, words): (Vec<_>, Vec<_>) = words.into_iter().partition(is_number);
    let telling = words.iter().find(|word| !GENERIC.contains(&word.as_str()));
    let is_status = |number: &String| {
        number
            .parse::<f64>()
            .is_ok_and(|n| (100.0..600.0).contains(&n))
    };
    telling.or(words.first()).cloned().or_else(|| {
        let mut numbers = numeric.into_iter().chain(numbers);
        numbers
            .find(|number| !is_status(number) && number.as_str() != "0" && number.as_str() != "-1")
    })
}

/// AWS may wrap the code: `namespace#Code:url`.
fn aws_code(text: &str) -> Option<String> {
    identifier(text.rsplit('#').next()?.split(':').next()?)
}

/// The text, if it cannot be a sentence.
fn identifier(text: &str) -> Option<String> {
    let text = text.trim();
    let is_identifier = (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    (is_identifier && !NOT_CODES.contains(&text)).then(|| text.to_owned())
}

fn status_in(object: &Map<String, Value>) -> Option<StatusCode> {
    let names = [
        "code",
        "status",
        "status_code",
        "statusCode",
        "http_status",
        "http_code",
    ];
    names.into_iter().find_map(|name| {
        let number = match object.get(name)? {
            Value::String(text) => text.trim().parse().ok()?,
            number => number.as_f64()?,
        };
        let is_error = (400.0..600.0).contains(&number) && number.fract() == 0.0;
        // The range is that of the type.
        is_error.then(|| StatusCode::from_u16(number as u16).ok())?
    })
}

fn details(object: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let details = object.get("details").and_then(Value::as_array);
    details.into_iter().flatten().filter_map(Value::as_object)
}

/// The wrong parameter: `param`, FastAPI's `loc`, or the field of Google's `BadRequest`.
fn param_in(object: &Map<String, Value>) -> Option<String> {
    let named = ["param", "parameter", "field"]
        .into_iter()
        .find_map(|name| identifier(object.get(name)?.as_str()?));
    let located = || {
        let parts = object
            .get("loc")?
            .as_array()?
            .iter()
            .filter_map(|part| match part {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
        identifier(
            &parts
                .skip_while(|part| part == "body")
                .collect::<Vec<_>>()
                .join("."),
        )
    };
    let violated = || {
        details(object).find_map(|detail| {
            let violation = detail.get("fieldViolations")?.as_array()?.first()?;
            identifier(violation.get("field")?.as_str()?)
        })
    };
    named.or_else(located).or_else(violated)
}

/// Google's `RetryInfo`.
fn retry_in(object: &Map<String, Value>) -> Option<Duration> {
    details(object).find_map(|detail| parse_duration(detail.get("retryDelay")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(body: &str) -> ProviderError {
        ProviderError::of_response(&HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn the_most_telling_code_of_every_form_is_found() {
        for (body, code) in [
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
        ] {
            assert_eq!(read(body).code.unwrap_or_default(), code, "{body}");
        }
        let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "a".repeat(65));
        assert_eq!(read(&long).code, None);
        let many = format!(
            r#"{{"error":{{"code":"a"}},"x":[{}0]}}"#,
            "0,".repeat(20_000)
        );
        assert_eq!(read(&many), ProviderError::default());
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
