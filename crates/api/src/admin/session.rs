//! `/api/session`: signs in to the console, and out.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use domain::{AuditEntry, AuditEvent, Session};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admins, AuthError, Caller, CallerExtension};
use crate::Problem;
use crate::audit::Destination;

const MAX_BODY_BYTES: usize = 16 * 1024;

/// Credentials for a console session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The admin token.
    #[schema(format = "password")]
    admin_token: String,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignIn")
    }
}

/// An active console session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// When the session expires.
    #[schema(format = "date-time")]
    expires_at: String,
}

/// Routes without authentication.
pub fn router(admins: Admins) -> Router {
    Router::new()
        .route("/api/session", get(show).post(sign_in).delete(sign_out))
        .method_not_allowed_fallback(async || Problem::method_not_allowed(None))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(admins)
}

/// Signs in to the console.
#[utoipa::path(post, path = "/api/session", tag = "Console sessions", operation_id = "sign_in",
    request_body(content = SignIn, description = "The admin token."),
    responses((status = 204, description = "Signed in, for 12 hours.", headers(("Set-Cookie" = String, description = "The session cookie.")))),
    security(()))]
pub(crate) async fn sign_in(
    State(admins): State<Admins>,
    caller: CallerExtension,
    body: Result<Json<SignIn>, JsonRejection>,
) -> Result<Response, Problem> {
    let Ok(Json(SignIn { admin_token })) = body else {
        return Err(sign_in_body_error());
    };
    let caller = caller.map(|Extension(Caller(address))| address);
    admins
        .check_token(
            admin_token.trim().as_bytes(),
            AuditEvent::SignInFailed,
            caller,
        )
        .await?;
    let session = Session::new(admins.clock.now());
    let lasts = session.expires_at().since(admins.clock.now()).as_secs();
    let actor = admins.session_actor(session, caller);
    admins
        .report(
            &actor,
            AuditEntry::new(AuditEvent::SignedIn),
            Destination::BOTH,
        )
        .await;
    Ok(admins.cookie(&session.sealed(admins.token.as_bytes()), lasts))
}

/// Returns when the console session expires.
#[utoipa::path(get, path = "/api/session", tag = "Console sessions", operation_id = "get_session",
    responses((status = 200, description = "The session.", body = SessionView)),
    security(("session" = [])))]
pub(crate) async fn show(
    State(admins): State<Admins>,
    headers: HeaderMap,
) -> Result<Json<SessionView>, Problem> {
    let session = admins.session(&headers)?.ok_or(AuthError::NoCredentials)?;
    Ok(Json(SessionView {
        expires_at: session.expires_at().rfc3339(),
    }))
}

/// Signs out of the console.
///
/// The response makes the browser delete its cookie. The server stores no sessions.
#[utoipa::path(delete, path = "/api/session", tag = "Console sessions", operation_id = "sign_out",
    responses((status = 204, description = "Signed out.", headers(("Set-Cookie" = String, description = "An empty cookie that expires at once.")))),
    security(()))]
pub(crate) async fn sign_out(
    State(admins): State<Admins>,
    caller: CallerExtension,
    headers: HeaderMap,
) -> Response {
    // Only a valid session gets an audit entry: this call needs no authentication.
    if let Ok(Some(session)) = admins.session(&headers) {
        let actor = admins.session_actor(session, caller.map(|Extension(Caller(address))| address));
        admins
            .report(
                &actor,
                AuditEntry::new(AuditEvent::SignedOut),
                Destination::BOTH,
            )
            .await;
    }
    admins.cookie("", 0)
}

pub(crate) fn sign_in_body_error() -> Problem {
    let message = "Send a JSON object with `admin_token` and nothing else, as application/json";
    Problem::bad_request("invalid_request", message)
}

impl Admins {
    fn cookie(&self, value: &str, max_age: u64) -> Response {
        let secure = if self.is_https { "; Secure" } else { "" };
        let name = &self.cookie_name;
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
        let mut response = StatusCode::NO_CONTENT.into_response();
        // A cookie has digits, a dot and hexadecimal digits, so this cannot fail.
        if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
            cookie.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }
}
