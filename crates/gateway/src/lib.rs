//! Serves routes as a Lambda function behind an API Gateway HTTP API.
//!
//! `lambda_http` parses the event's `rawPath` as part of a URL, but API Gateway has
//! decoded it: `%23` arrives as `#` and `..%2F` as `../`. Parsed again, such a path would
//! lose its end or lead to another route. The event is therefore encoded again before it
//! is parsed, so that the routes see the path that the caller sent, as they do on the
//! local server. One difference cannot be undone: API Gateway cuts a path at an encoded
//! `?`, so `/a%3Fb` arrives as `/a`.

use std::time::Duration;

use api::Problem;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use lambda_http::lambda_runtime::{self, tower::ServiceBuilder};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Error, LambdaEvent};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest time for one request. API Gateway waits 30 s, including a cold start. The
/// calls of a request, each with its retries, can take longer. The caller then gets our
/// 503 with a reference instead of API Gateway's
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Bytes that a path segment cannot hold as they are: everything but `pchar` (RFC 3986
/// section 3.3) and the slash between segments. `%` is among them: in a decoded path it
/// is a literal percent sign.
const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// Bytes that the `http` crate refuses in a query. `rawQueryString` is still encoded, so
/// `%` stays as it is.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Replaces a path with a `.` or `..` segment. It has no route, so the response is 404.
/// Percent-encoding does not protect these segments, because URL parsers resolve `%2e%2e`
/// as well (WHATWG URL Standard, "double-dot URL path segment").
const NO_ROUTE: &str = "/api/no-such-path";

#[derive(Debug, thiserror::Error)]
#[error("the request took longer than {} s", REQUEST_TIMEOUT.as_secs())]
struct RequestTimedOut;

/// Serves the routes until Lambda ends the process.
pub async fn serve(routes: Router) -> Result<(), Error> {
    let routes = routes.layer(from_fn(with_timeout));
    let handler = ServiceBuilder::new()
        .map_request(with_encoded_path)
        .service(Adapter::from(routes));
    lambda_runtime::run(handler).await
}

async fn with_timeout(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(RequestTimedOut).into_response(),
    }
}

fn with_encoded_path(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
        request.raw_path = request.raw_path.as_deref().map(encode_path);
        request.raw_query_string = request.raw_query_string.as_deref().map(encode_query);
        restore_idempotency_key(&mut request.headers);
    }
    event
}

/// API Gateway replaces bytes that are not UTF-8 by U+FFFD, so two keys could become the same
/// key. Such a key is refused like a key that is not UTF-8. API Gateway also joins repeated
/// headers with commas. Two blank headers become a comma, which is not a key.
fn restore_idempotency_key(headers: &mut HeaderMap) {
    let Some(key) = headers
        .get(IDEMPOTENCY_KEY)
        .map(|value| value.as_bytes().to_vec())
    else {
        return;
    };
    if String::from_utf8_lossy(&key).contains(char::REPLACEMENT_CHARACTER)
        && let Ok(not_utf8) = HeaderValue::from_bytes(b"\xff")
    {
        headers.insert(IDEMPOTENCY_KEY, not_utf8);
    } else if key.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t')) {
        headers.remove(IDEMPOTENCY_KEY);
    }
}

fn encode_path(decoded: &str) -> String {
    let has_dot_segment = decoded
        .split(['/', '\\'])
        .any(|segment| matches!(segment, "." | ".."));
    match has_dot_segment {
        true => NO_ROUTE.to_owned(),
        false => utf8_percent_encode(decoded, NOT_IN_PATH).to_string(),
    }
}

fn encode_query(query: &str) -> String {
    utf8_percent_encode(query, NOT_IN_QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use lambda_http::Context;
    use lambda_http::lambda_runtime::tower::Service as _;
    use serde_json::json;

    use super::*;

    /// The path and query that the routes see for an event of API Gateway.
    fn seen(raw_path: &str, raw_query: &str) -> (String, String) {
        let event = json!({
            "version": "2.0", "routeKey": "$default",
            "rawPath": raw_path, "rawQueryString": raw_query,
            "headers": { "host": "api.example.com", "x-forwarded-proto": "https" },
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "api.example.com", "stage": "$default",
                "requestId": "r", "routeKey": "$default", "time": "t", "timeEpoch": 1,
                "http": { "method": "GET", "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "::1", "userAgent": "" },
            },
            "isBase64Encoded": false,
        });
        let payload: LambdaRequest = serde_json::from_value(event).unwrap();
        let event = with_encoded_path(LambdaEvent::new(payload, Context::default()));
        let request: lambda_http::Request = event.payload.into();
        (
            request.uri().path().to_owned(),
            request.uri().query().unwrap_or_default().to_owned(),
        )
    }

    #[test]
    fn a_decoded_path_reaches_the_routes_as_the_caller_sent_it() {
        for (decoded, sent) in [
            ("/api/webhooks/agents/token", "/api/webhooks/agents/token"),
            (
                "/api/webhooks/agents/token#",
                "/api/webhooks/agents/token%23",
            ),
            (
                "/api/webhooks/agents/token?x=1",
                "/api/webhooks/agents/token%3Fx=1",
            ),
            ("/api/secrets/team/open ai", "/api/secrets/team/open%20ai"),
            ("/api/secrets/50%", "/api/secrets/50%25"),
            ("/api/secrets/%2e%2e", "/api/secrets/%252e%252e"),
            ("/api/agents/a\\b", "/api/agents/a%5Cb"),
            ("/api/agents/a\tb\u{0}", "/api/agents/a%09b%00"),
            ("/api/agents/ü[1]", "/api/agents/%C3%BC%5B1%5D"),
            ("/console/", "/console/"),
            ("/api/agents/...", "/api/agents/..."),
            ("//api//session", "//api//session"),
        ] {
            assert_eq!(
                seen(decoded, "a=b"),
                (sent.to_owned(), "a=b".to_owned()),
                "{decoded:?}"
            );
        }
    }

    #[test]
    fn a_key_that_api_gateway_damaged_is_refused_and_two_blank_keys_are_ignored() {
        let key = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(value).unwrap());
            restore_idempotency_key(&mut headers);
            headers
                .get(IDEMPOTENCY_KEY)
                .map(|value| String::from_utf8(value.as_bytes().to_vec()).ok())
        };
        assert_eq!(key("order-\u{fffd}"), Some(None), "not UTF-8");
        assert_eq!(key(","), None);
        assert_eq!(key("a,b"), Some(Some("a,b".to_owned())));
        assert_eq!(key("ü"), Some(Some("ü".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_gets_503_before_api_gateway_gives_up() {
        let hangs = || async { std::future::pending::<()>().await };
        let mut routes = Router::new()
            .route("/", get(hangs))
            .layer(from_fn(with_timeout));
        let began = tokio::time::Instant::now();
        let response = routes
            .call(Request::<axum::body::Body>::default())
            .await
            .unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        assert!(
            began.elapsed() < Duration::from_secs(29),
            "the function's own timeout"
        );
    }

    #[test]
    fn a_path_with_dot_segments_has_no_route() {
        for decoded in [
            "/api/agents/../session",
            "/api/agents/..",
            "/./api/session",
            "/api/agents/..\\session",
        ] {
            assert_eq!(seen(decoded, "").0, NO_ROUTE, "{decoded:?}");
        }
    }

    #[test]
    fn a_query_keeps_its_encoding_and_never_breaks_the_request() {
        for (raw, seen_query) in [
            ("order=7&tag=a+b&tag=c%26d", "order=7&tag=a+b&tag=c%26d"),
            (r#"q="x"<y>#z"#, "q=%22x%22%3Cy%3E%23z"),
            ("q=ü {|}^`", "q=%C3%BC%20{|}^`"),
        ] {
            assert_eq!(
                seen("/api/webhooks/agents/token", raw).1,
                seen_query,
                "{raw:?}"
            );
        }
    }
}
