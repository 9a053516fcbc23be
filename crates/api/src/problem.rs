//! Error responses. Every error becomes a [`Problem`], and a problem becomes
//! `{"success":false,"message":…,"code":…}`.
//!
//! The caller gets an error code and a message. A server error also has a reference, under
//! which the log has the whole chain of causes.

use std::error::Error;

use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::{StoreError, error_chain};
use utoipa::ToSchema;

/// The longest `Retry-After` of an overload, in seconds.
const MAX_RETRY_AFTER_SECONDS: u16 = 5;

#[derive(Debug)]
pub struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) header: Option<(axum::http::HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// An error, for programs and for people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `false`.
    success: bool,
    /// What is wrong and what to change.
    message: &'a str,
    /// The error code, for programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'a str,
    /// Only for server errors: the log has the details under this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reference: Option<String>,
}

impl Problem {
    pub(crate) const fn is_server_error(&self) -> bool {
        self.cause.is_some()
    }

    pub(crate) fn body(&self, reference: Option<String>) -> ProblemBody<'_> {
        ProblemBody {
            success: false,
            message: &self.message,
            code: self.code,
            reference,
        }
    }

    /// An error that the caller can fix.
    pub(crate) fn client_error(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            header: None,
            cause: None,
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::client_error(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found(code: &'static str, message: &str) -> Self {
        Self::client_error(StatusCode::NOT_FOUND, code, message)
    }

    /// A 405 needs an `Allow` header (RFC 9110 section 15.5.6). Without `allow`, the router adds
    /// the methods of the route.
    pub fn method_not_allowed(allow: Option<&'static str>) -> Self {
        let message = "The method is not allowed for the requested URL";
        Self {
            header: allow.map(|methods| (ALLOW, HeaderValue::from_static(methods))),
            ..Self::client_error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        }
    }

    pub(crate) fn with_header(mut self, name: axum::http::HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Our storage or queue is unavailable. Retrying with an idempotency key is safe.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: "The service is temporarily unavailable; try again, with the same Idempotency-Key if you sent one".into(),
            header: Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            cause: Some(Box::new(cause)),
        }
    }

    /// Too many concurrent requests. This one had no effect. `Retry-After` is random, so that
    /// callers that were refused together return at different times.
    pub fn overloaded(cause: impl Error + Send + Sync + 'static) -> Self {
        let mut entropy = [0];
        // Without randomness they return together.
        let _ = getrandom::fill(&mut entropy);
        let seconds = 1 + u16::from(entropy[0]) % MAX_RETRY_AFTER_SECONDS;
        Self {
            code: "overloaded",
            header: Some((RETRY_AFTER, seconds.into())),
            message: "The service has too many concurrent requests; try again in a few seconds"
                .into(),
            ..Self::unavailable(cause)
        }
    }

    /// The body did not arrive in time. The rest of it would be parsed as the next request,
    /// so the connection closes.
    pub fn body_too_slow() -> Self {
        Self::client_error(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request body did not arrive in time",
        )
        .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// RFC 9112 section 3.2. Another server could parse the request differently, so the
    /// connection closes.
    pub fn invalid_host() -> Self {
        Self::bad_request(
            "invalid_host",
            "The request must have exactly one valid Host header",
        )
        .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// A server error that a retry does not fix.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: "Internal error; the log has the details under this reference".into(),
            header: None,
            cause: Some(Box::new(cause)),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Newer { .. } => Self::unavailable(error),
            StoreError::BeingDeleted => Self::client_error(
                StatusCode::CONFLICT,
                "secret_being_deleted",
                "A secret with this name is being deleted; try again in a minute. If it was deleted in Secrets Manager with a recovery window, its name is blocked for 7 to 30 days: delete the secret here to free the name, restore it in Secrets Manager, or use another name",
            ),
            StoreError::Damaged { .. } => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let reference = self.is_server_error().then(reference);
        if let (Some(cause), Some(reference)) = (&self.cause, &reference) {
            let status = self.status.as_u16();
            tracing::error!(
                reference,
                status,
                error = error_chain(cause.as_ref()),
                "request failed"
            );
        }
        let mut response = (self.status, Json(self.body(reference))).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        // The local server and the gateway respond to some requests without calling a route.
        crate::with_safe_headers(response)
    }
}

/// Links a response to its log line.
fn reference() -> String {
    let mut entropy = [0; 8];
    // Without randomness the reference is not unique, but the response is still valid.
    let _ = getrandom::fill(&mut entropy);
    format!("{:016x}", u64::from_be_bytes(entropy))
}
