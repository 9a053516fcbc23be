//! The one door for errors: whatever goes wrong becomes a [`Problem`], and a
//! problem becomes `{"success":false,"message":…,"code":…}`.
//!
//! The caller gets a code and a sentence; for faults of ours also a reference,
//! under which the log has the whole chain of causes.

use std::error::Error;

use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::{StoreError, error_chain};
use utoipa::ToSchema;

/// Seconds after which a caller who met an overload may come again, at most.
const LONGEST_REST: u16 = 5;

/// An answer other than success.
#[derive(Debug)]
pub struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) header: Option<(axum::http::HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong, for a program and for a person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `false`.
    success: bool,
    /// A sentence that says what to change.
    message: &'a str,
    /// For programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'a str,
    /// Of a fault of ours: under this id the log has the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reference: Option<String>,
}

impl Problem {
    /// Whether it is no fault of the caller's.
    pub(crate) const fn is_ours(&self) -> bool {
        self.cause.is_some()
    }

    pub(crate) fn body(&self, reference: Option<String>) -> ProblemBody<'_> {
        ProblemBody { success: false, message: &self.message, code: self.code, reference }
    }

    /// The caller must change something.
    pub(crate) fn caller(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None, cause: None }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::caller(StatusCode::BAD_REQUEST, code, message)
    }

    /// Nothing is there.
    pub fn not_found(code: &'static str, message: &str) -> Self {
        Self::caller(StatusCode::NOT_FOUND, code, message)
    }

    /// With `Allow` (RFC 9110 section 15.5.6); the router adds it where it knows better.
    pub fn method_not_allowed(allow: Option<&'static str>) -> Self {
        let message = "The method is not allowed for the requested URL";
        Self {
            header: allow.map(|methods| (ALLOW, HeaderValue::from_static(methods))),
            ..Self::caller(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        }
    }

    pub(crate) fn with_header(mut self, name: axum::http::HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Our storage or queue cannot take it: asking again is safe with a key.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: "The service cannot take this right now; try again in a moment, with the same Idempotency-Key if you sent one".into(),
            header: Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            cause: Some(Box::new(cause)),
        }
    }

    /// More requests at once than are worked on; this one had no effect. Callers
    /// who were refused together are asked back at different times.
    pub fn overloaded(cause: impl Error + Send + Sync + 'static) -> Self {
        let mut entropy = [0];
        // Without randomness they come back together.
        let _ = getrandom::fill(&mut entropy);
        let seconds = 1 + u16::from(entropy[0]) % LONGEST_REST;
        Self {
            code: "overloaded",
            header: Some((RETRY_AFTER, seconds.into())),
            message: "The service has more requests than it can work on; try again in a moment".into(),
            ..Self::unavailable(cause)
        }
    }

    /// The body did not arrive in time. What is left of it would be taken for
    /// the next request, so the connection ends.
    pub fn body_too_slow() -> Self {
        Self::caller(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request body did not arrive in time",
        )
        .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// RFC 9112 section 3.2. Another server could read the request in another way,
    /// so the connection ends.
    pub fn invalid_host() -> Self {
        Self::bad_request("invalid_host", "The request must have exactly one valid Host header")
            .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// A fault of ours that trying again will not mend.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: "Something went wrong on our side; the reference finds it in the log".into(),
            header: None,
            cause: Some(Box::new(cause)),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Newer { .. } => Self::unavailable(error),
            StoreError::BeingDeleted => Self::caller(
                StatusCode::CONFLICT,
                "secret_being_deleted",
                "A secret of this name is being deleted; try again in a minute. A secret that was deleted in Secrets Manager with a recovery window keeps its name for 7 to 30 days: delete it here to free the name, restore it there, or use another name",
            ),
            StoreError::Damaged { .. } => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let reference = self.is_ours().then(reference);
        if let (Some(cause), Some(reference)) = (&self.cause, &reference) {
            let status = self.status.as_u16();
            tracing::error!(reference, status, error = error_chain(cause.as_ref()), "request failed");
        }
        let mut response = (self.status, Json(self.body(reference))).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        // The server's edge and the gateway answer some requests before any route.
        crate::with_safe_headers(response)
    }
}

/// Links an answer to its line in the log.
fn reference() -> String {
    let mut entropy = [0; 8];
    // Without randomness the reference is useless, not wrong.
    let _ = getrandom::fill(&mut entropy);
    format!("{:016x}", u64::from_be_bytes(entropy))
}
