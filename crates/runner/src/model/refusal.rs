//! What the task and the log say when a provider answers with an error.

use std::time::Duration;

use domain::{ErrorDetail, ErrorType, Failure, Fault};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::Protocol;
use super::codes::{is_loggable_id, loggable_code, loggable_param};
use super::provider_error::{ProviderError, is_transient_status};
use super::retry_after::retry_after;

/// Most bytes of the address that a redirect leads to.
const MAX_TARGET_BYTES: usize = 256;
/// The codes with which servers refuse a key under another status than 401.
const KEY_CODES: [&str; 4] = [
    "API_KEY_INVALID",
    "authentication_error",
    "incorrect_api_key",
    "invalid_api_key",
];

/// An error of a provider.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: ProviderError,
    redirect: Option<Redirect>,
    is_transient: bool,
    retry_after: Option<Duration>,
}

#[derive(Debug)]
struct Redirect {
    /// Without credentials, query and fragment.
    target: Url,
    is_same_host: bool,
}

impl Refusal {
    /// A response with an error status to a request to `url`.
    pub(super) fn of_response(
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let error = ProviderError::of_response(headers, body);
        Self {
            status,
            redirect: status
                .is_redirection()
                .then(|| Redirect::read(url, headers))
                .flatten(),
            is_transient: is_transient_status(status),
            retry_after: retry_after(status, headers).or(error.retry_after),
            error,
        }
    }

    /// A 200 response whose body is an error.
    pub(super) fn in_success(headers: &HeaderMap, mut error: ProviderError) -> Self {
        error.add_headers(headers);
        let status = error.status.unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        Self {
            status: StatusCode::OK,
            redirect: None,
            is_transient: error.is_transient(),
            retry_after: retry_after(status, headers).or(error.retry_after),
            error,
        }
    }

    pub(super) fn into_fault(self, protocol: &Protocol, server: &str) -> Fault {
        let code = self.error.code.as_deref();
        let listed = code.map(loggable_code);
        let param = self.error.param.as_deref().map(loggable_param);
        let status = self.status.as_u16();
        tracing::warn!(
            server,
            status,
            reason = listed,
            param,
            server_request_id = self
                .error
                .request_id
                .as_deref()
                .filter(|id| is_loggable_id(id)),
            "model provider returned an error"
        );
        let shown_target = |redirect: &Redirect| redirect.shown();
        let target = self.redirect.as_ref().map(shown_target);
        let request_id = self.error.request_id.as_deref();
        let message = self.message(
            [code, self.error.param.as_deref(), request_id],
            target.as_deref(),
        );
        let logged_target = self.redirect.as_ref().map(Redirect::loggable);
        let logged = self.message(
            [listed, param, request_id.filter(|id| is_loggable_id(id))],
            logged_target.as_deref(),
        );
        // The status in the body of a 200 response is what the error is about.
        let status = match (self.status, self.error.status) {
            (StatusCode::OK, Some(status)) => status,
            (status, _) => status,
        };
        let advice = (protocol.advice)(status, code.unwrap_or_default());
        let detail = ErrorDetail {
            status: Some(status.as_u16()),
            kind: self.error.kind,
            code: self.error.code,
            parameter: self.error.param,
            request_id: self.error.request_id,
            text: self.error.text,
        };
        if self.is_transient {
            let failure = Failure::transient(ErrorType::ModelError, message).logged_as(logged);
            return Fault::Transient {
                failure: failure.with_detail(detail),
                retry_after: self.retry_after,
            };
        }
        let failure = Failure::permanent(ErrorType::ModelError, message + advice);
        Fault::Permanent(failure.logged_as(logged + advice).with_detail(detail))
    }

    fn message(&self, [code, param, id]: [Option<&str>; 3], target: Option<&str>) -> String {
        let mut details: Vec<String> = code.into_iter().map(str::to_owned).collect();
        details.extend(param.map(|param| format!("parameter {param}")));
        details.extend(id.map(|id| format!("request id {id}")));
        let details = match details.is_empty() {
            true => String::new(),
            false => format!(" ({})", details.join(", ")),
        };
        let status = self.status.as_u16();
        let in_body = match (self.status, self.error.status) {
            (StatusCode::OK, Some(status)) => format!(" with error {}", status.as_u16()),
            (StatusCode::OK, None) => " with an error".to_owned(),
            _ => String::new(),
        };
        let target = target.map_or_else(String::new, |target| format!(", a redirect to {target}"));
        format!("The model provider returned HTTP {status}{in_body}{details}{target}")
    }
}

impl Redirect {
    fn read(url: &Url, headers: &HeaderMap) -> Option<Self> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let mut target = url.join(location).ok()?;
        target.set_query(None);
        target.set_fragment(None);
        // Neither fails for a URL with a host.
        let _ = target.set_username("");
        let _ = target.set_password(None);
        let is_http = matches!(target.scheme(), "http" | "https");
        (is_http && target.has_host()).then(|| Self {
            is_same_host: target.host() == url.host(),
            target,
        })
    }

    fn shown(&self) -> String {
        match self.target.as_str().len() <= MAX_TARGET_BYTES {
            true => self.target.to_string(),
            false => domain::cut(
                &self.target.origin().ascii_serialization(),
                MAX_TARGET_BYTES,
            ),
        }
    }

    /// The server may put anything into the path and the name of another host.
    fn loggable(&self) -> String {
        match self.is_same_host {
            true => self.target.origin().ascii_serialization(),
            false => "another host".to_owned(),
        }
    }
}

/// The advice for a provider that is called at `base_url` with `api_key`.
pub(super) fn advise_on_fields(status: StatusCode, code: &str) -> &'static str {
    match status {
        _ if KEY_CODES.contains(&code) => ": check the agent's model.api_key",
        _ if status.is_redirection() => {
            "; redirects are not followed: set the agent's model.base_url to the final address"
        }
        _ if code == "model_not_found" => ": check the agent's model.name",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check the agent's model.api_key",
        StatusCode::NOT_FOUND => ": check the agent's model.base_url and model.name",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::super::{bedrock, openai};
    use super::*;

    fn fault(protocol: &Protocol, status: u16, headers: &HeaderMap, body: &str) -> Fault {
        let url = Url::parse("https://model.example/v1/chat/completions?key=k").unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::of_response(&url, status, headers, body.as_bytes()).into_fault(protocol, "s")
    }

    fn permanent(protocol: &Protocol, status: u16, body: &str) -> Failure {
        match fault(protocol, status, &HeaderMap::new(), body) {
            Fault::Permanent(failure) => failure,
            Fault::Transient { .. } => panic!("a transient error"),
        }
    }

    #[test]
    fn transient_and_permanent_errors_differ_by_their_status() {
        for status in [408, 424, 429, 500, 502, 503, 529] {
            let fault = fault(&openai::PROTOCOL, status, &HeaderMap::new(), "");
            assert!(matches!(fault, Fault::Transient { .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413, 422] {
            permanent(&openai::PROTOCOL, status, "");
        }
    }

    #[test]
    fn the_advice_on_an_error_fits_the_provider() {
        let body = r#"{"__type":"ValidationException"}"#;
        for status in [400, 401, 403, 404] {
            let advice = permanent(&bedrock::PROTOCOL, status, body).message;
            assert!(
                !advice.contains("api_key") && !advice.contains("base_url"),
                "{advice}"
            );
            assert!(advice.contains(": check"), "{advice}");
        }
        let advice = |status, body| permanent(&openai::PROTOCOL, status, body).message;
        assert!(advice(403, body).contains("api_key"));
        assert!(!advice(400, body).contains(": check"));
        assert!(
            advice(
                400,
                r#"[{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}]"#
            )
            .contains("api_key")
        );
    }

    #[test]
    fn a_failure_has_the_parameter_and_the_request_and_the_log_only_known_words() {
        let body = r#"{"error":{"code":"word","param":"tools[0].word"},"request_id":"req_1"}"#;
        let failure = permanent(&openai::PROTOCOL, 400, body);
        assert_eq!(
            failure.message,
            "The model provider returned HTTP 400 (word, parameter tools[0].word, request id req_1)"
        );
        assert_eq!(
            failure.log_message(),
            "The model provider returned HTTP 400 (unlisted, parameter tools)"
        );
        let body = r#"{"error":{"param":"word"},"request_id":"req_011CS"}"#;
        assert_eq!(
            permanent(&openai::PROTOCOL, 400, body).log_message(),
            "The model provider returned HTTP 400 (parameter unlisted, request id req_011CS)"
        );
    }

    #[test]
    fn a_redirect_names_its_target_without_credentials_and_query() {
        for (location, shown, logged) in [
            (
                "http://u:p@other.example:8080/v1?token=t#f",
                "http://other.example:8080/v1",
                "another host",
            ),
            (
                "/v2/?a=b",
                "https://model.example/v2/",
                "https://model.example",
            ),
            (
                "http://model.example/v1",
                "http://model.example/v1",
                "http://model.example",
            ),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            let Fault::Permanent(failure) = fault(&openai::PROTOCOL, 308, &headers, "") else {
                panic!("a transient error")
            };
            let says = format!("HTTP 308, a redirect to {shown}; redirects");
            assert!(failure.message.contains(&says), "{}", failure.message);
            let says = format!("HTTP 308, a redirect to {logged}; redirects");
            assert!(
                failure.log_message().contains(&says),
                "{}",
                failure.log_message()
            );
        }
        for location in ["", "javascript:alert(1)", "http://"] {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            let Fault::Permanent(failure) = fault(&openai::PROTOCOL, 308, &headers, "") else {
                panic!("a transient error")
            };
            let is_named = failure.message.contains("redirect to");
            assert_eq!(is_named, location.is_empty(), "{}", failure.message);
        }
    }

    #[test]
    fn an_error_in_a_200_response_is_treated_by_its_code() {
        let in_success = |body: &str| {
            let error = ProviderError::of_success(body.as_bytes()).unwrap();
            Refusal::in_success(&HeaderMap::new(), error).into_fault(&openai::PROTOCOL, "s")
        };
        let Fault::Transient { failure, .. } =
            in_success(r#"{"error":{"message":"m","code":429}}"#)
        else {
            panic!("a permanent error")
        };
        assert_eq!(
            failure.message,
            "The model provider returned HTTP 200 with error 429"
        );
        let Fault::Permanent(failure) = in_success(r#"{"error":{"code":401,"type":"auth_error"}}"#)
        else {
            panic!("a transient error")
        };
        assert_eq!(
            failure.message,
            "The model provider returned HTTP 200 with error 401 (auth_error): check the agent's model.api_key"
        );
    }
}
