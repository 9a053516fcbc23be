//! Authentication of the management API: the admin token, or the cookie of a console
//! session that was opened with it.
//!
//! Browsers send cookies automatically. So a request that changes something needs, in
//! addition to `SameSite=Strict`, a header that pages of other origins cannot send
//! (`X-Console`).

pub(crate) mod session;
mod throttle;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use domain::{AuditEntry, AuditEvent, Session, is_secret};
use store::{Agents, Clock};
use tracing::Instrument as _;

use crate::Problem;
use crate::audit::{self, Actor, Destination};
pub use session::router;
use throttle::{LoginThrottle, OmittedAttempts, RefusedAttempt};

const X_CONSOLE: HeaderName = HeaderName::from_static("x-console");
/// Set by the browser: which site a request comes from
/// (<https://www.w3.org/TR/fetch-metadata/>). Pages cannot set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How many cookies with the console's name are tried. A page on another port of the same
/// host can add one for each prefix of a path, which are far fewer.
const MOST_SESSION_COOKIES: usize = 64;

/// The address that a request comes from. The server adds it to the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub IpAddr);

/// Checks the admin token and console sessions.
#[derive(Clone)]
pub struct Admins {
    token: Arc<str>,
    /// Whether the console is reached over TLS.
    is_https: bool,
    cookie_name: Arc<str>,
    clock: Clock,
    throttle: Arc<LoginThrottle>,
    /// Stores the audit log. Without it, audit entries are only logged.
    audit: Option<Arc<Agents>>,
}

impl fmt::Debug for Admins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admins")
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("Send the admin token as `Authorization: Bearer <token>`, or sign in to the console")]
    NoCredentials,
    #[error("The admin token is wrong")]
    WrongToken,
    #[error("The session has expired or is not valid; sign in again")]
    SessionExpired,
    #[error(
        "A change that is authenticated by the session cookie must come from the console's pages, with the header `X-Console: 1`"
    )]
    CrossOrigin,
    #[error("Too many wrong admin tokens from your address; try again in a minute")]
    TooManyGuesses { seconds: u16 },
}

impl Admins {
    /// `public_url` decides the name of the session cookie, and whether it is `Secure`.
    pub fn new(token: impl Into<Arc<str>>, public_url: &str, clock: Clock) -> Self {
        let is_https = public_url.starts_with("https:");
        let cookie_name = cookie_name(public_url, is_https).into();
        Self {
            token: token.into(),
            is_https,
            cookie_name,
            clock,
            throttle: Arc::default(),
            audit: None,
        }
    }

    #[must_use]
    pub(crate) fn with_audit_log(self, agents: Arc<Agents>) -> Self {
        Self {
            audit: Some(agents),
            ..self
        }
    }

    async fn check(&self, request: &RequestParts<'_>) -> Result<Actor, AuthError> {
        if let Some(token) = bearer(request.headers) {
            self.check_token(token, AuditEvent::TokenRejected, request.caller)
                .await?;
            return Ok(Actor::admin_token(request.caller));
        }
        let session = self
            .session(request.headers)?
            .ok_or(AuthError::NoCredentials)?;
        let actor = self.session_actor(session, request.caller);
        if request.is_changing && !is_from_console(request.headers) {
            let decision =
                self.throttle
                    .record(RefusedAttempt::Other, request.caller, self.clock.now());
            let destination = Destination {
                is_logged: decision.is_logged,
                is_stored: decision.is_stored,
            };
            self.report_omitted(decision.omitted).await;
            self.report(
                &actor,
                AuditEntry::new(AuditEvent::CrossOriginRefused),
                destination,
            )
            .await;
            return Err(AuthError::CrossOrigin);
        }
        Ok(actor)
    }

    /// The right token is accepted no matter how many wrong ones came from its address.
    /// Behind a proxy all callers have one address, so otherwise any caller could lock out
    /// the admin.
    async fn check_token(
        &self,
        given: &[u8],
        event: AuditEvent,
        caller: Option<IpAddr>,
    ) -> Result<(), AuthError> {
        if is_secret(given, self.token.as_bytes()) {
            return Ok(());
        }
        let decision = self
            .throttle
            .record(RefusedAttempt::Guess, caller, self.clock.now());
        let event = if decision.retry_after.is_some() {
            AuditEvent::AttemptsLimited
        } else {
            event
        };
        let destination = Destination {
            is_logged: decision.is_logged,
            is_stored: decision.is_stored,
        };
        self.report_omitted(decision.omitted).await;
        self.report(
            &Actor::unauthenticated(caller),
            AuditEntry::new(event),
            destination,
        )
        .await;
        Err(decision
            .retry_after
            .map_or(AuthError::WrongToken, |seconds| AuthError::TooManyGuesses {
                seconds,
            }))
    }

    /// The first valid session among the cookies with the console's name. A page on another
    /// port of this host can add cookies with that name, and a browser sends those for
    /// longer paths first (RFC 6265 section 5.4).
    fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, AuthError> {
        let now = self.clock.now();
        let mut sealed = cookies(headers, &self.cookie_name)
            .take(MOST_SESSION_COOKIES)
            .peekable();
        if sealed.peek().is_none() {
            return Ok(None);
        }
        let session = sealed.find_map(|sealed| {
            let sealed = std::str::from_utf8(sealed).ok()?;
            Session::unsealed(sealed, self.token.as_bytes(), now)
        });
        session.map(Some).ok_or(AuthError::SessionExpired)
    }

    fn session_actor(&self, session: Session, caller: Option<IpAddr>) -> Actor {
        Actor::session(session.public_id(self.token.as_bytes()), caller)
    }

    /// Reports how many attempts of an earlier minute were not reported individually.
    async fn report_omitted(&self, omitted: Option<OmittedAttempts>) {
        let Some(omitted) = omitted else { return };
        let entry_for = |attempts| AuditEntry {
            attempts: Some(attempts),
            addresses: Some(omitted.addresses),
            ..AuditEntry::new(AuditEvent::AttemptsOmitted)
        };
        let actor = Actor::unauthenticated(omitted.address);
        if omitted.lines > 0 {
            self.report(
                &actor,
                entry_for(omitted.lines),
                Destination {
                    is_logged: true,
                    is_stored: false,
                },
            )
            .await;
        }
        if omitted.entries > 0 {
            self.report(
                &actor,
                entry_for(omitted.entries),
                Destination {
                    is_logged: false,
                    is_stored: true,
                },
            )
            .await;
        }
    }

    async fn report(&self, actor: &Actor, entry: AuditEntry, destination: Destination) {
        audit::record(
            self.audit.as_deref(),
            self.clock.now(),
            actor,
            entry,
            destination,
        )
        .await;
    }
}

/// The parts of a request that authentication depends on.
struct RequestParts<'a> {
    headers: &'a HeaderMap,
    caller: Option<IpAddr>,
    is_changing: bool,
}

/// With TLS, the prefix `__Host-` makes browsers refuse the cookie if it is set without
/// TLS, by another host or for another path (RFC 6265bis section 4.1.3.2). Without TLS,
/// the name has the port: several servers may run on one machine, and all ports of a host
/// share its cookies.
fn cookie_name(public_url: &str, is_https: bool) -> String {
    if is_https {
        return "__Host-agent_webhooks".to_owned();
    }
    let port = public_url
        .parse::<Uri>()
        .ok()
        .and_then(|url| url.port_u16());
    format!("agent_webhooks_{}", port.unwrap_or(80))
}

/// Middleware of every management route.
///
/// A change runs to its end even if the caller closes the connection. Otherwise the
/// connection could close between a change and its entry in the audit log.
pub(crate) async fn require_admin(
    State(admins): State<Admins>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_changing = ![Method::GET, Method::HEAD].contains(request.method());
    let caller = caller(&request);
    let parts = RequestParts {
        headers: request.headers(),
        caller,
        is_changing,
    };
    let actor = admins.check(&parts).await?;
    admins
        .report_omitted(admins.throttle.take_omitted(admins.clock.now()))
        .await;
    request.extensions_mut().insert(actor);
    if !is_changing {
        return Ok(next.run(request).await);
    }
    tokio::spawn(next.run(request).in_current_span())
        .await
        .map_err(Problem::internal)
}

/// Whether the console's pages sent a request. Pages of other origins cannot send
/// `X-Console`. Browsers add `Sec-Fetch-Site`, which shows whether the page belongs to
/// another site or another port.
fn is_from_console(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(X_CONSOLE).into_iter();
    let is_marked = matches!((values.next(), values.next()), (Some(value), None) if value == "1");
    is_marked
        && headers
            .get_all(SEC_FETCH_SITE)
            .into_iter()
            .all(|site| site == "same-origin" || site == "none")
}

fn caller(request: &Request) -> Option<IpAddr> {
    request
        .extensions()
        .get::<Caller>()
        .map(|Caller(address)| *address)
}

type CallerExtension = Option<Extension<Caller>>;

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(AUTHORIZATION)?
        .as_bytes()
        .split_first_chunk::<7>()?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The values of the cookies with this name, as bytes: another cookie in the same header
/// may contain bytes that are not ASCII.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        pair.trim_ascii()
            .strip_prefix(name.as_bytes())?
            .strip_prefix(b"=")
    })
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::NoCredentials | AuthError::WrongToken | AuthError::SessionExpired => {
                Self::client_error(StatusCode::UNAUTHORIZED, "unauthorized", message)
                    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            AuthError::CrossOrigin => {
                Self::client_error(StatusCode::FORBIDDEN, "cross_origin", message)
            }
            AuthError::TooManyGuesses { seconds } => {
                Self::client_error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
                    .with_header(RETRY_AFTER, seconds.into())
            }
        }
    }
}
