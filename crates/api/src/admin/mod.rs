//! Who may manage: a caller that sends the admin token, or the cookie of a console
//! session that began with it.
//!
//! A browser sends cookies by itself, so a call that changes something must also
//! bear a header that no page of another origin can send (`X-Console`), on top of
//! `SameSite=Strict`.

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
use throttle::{Attempt, LoginThrottle, Omitted};

const X_CONSOLE: HeaderName = HeaderName::from_static("x-console");
/// Which site a request comes from, by the browser
/// (<https://www.w3.org/TR/fetch-metadata/>). Pages cannot set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Cookies of the console's name that are tried. A page on another port of the same host
/// can add one for each beginning of a path, which are far fewer.
const MOST_SESSION_COOKIES: usize = 64;

/// Where a request comes from, put among its extensions by who serves.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub IpAddr);

/// Those who may manage.
#[derive(Clone)]
pub struct Admins {
    token: Arc<str>,
    /// Whether the console is reached over TLS.
    is_https: bool,
    cookie_name: Arc<str>,
    clock: Clock,
    throttle: Arc<LoginThrottle>,
    /// Where the audit log is stored; without it, it is only logged.
    audit: Option<Arc<Agents>>,
}

impl fmt::Debug for Admins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admins")
    }
}

/// Why a call is not an admin's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("Send the admin token as `Authorization: Bearer <token>`, or sign in to the console")]
    NoCredentials,
    #[error("The admin token is wrong")]
    WrongToken,
    #[error("The session is over; sign in again")]
    SessionOver,
    #[error(
        "A change with the console's cookie must come from the console's own pages and needs the header `X-Console: 1`, which other sites cannot send"
    )]
    CrossOrigin,
    #[error("Too many wrong admin tokens came from your address; try again in a minute")]
    TooManyGuesses { seconds: u16 },
}

impl Admins {
    /// Those who have this token, at this address.
    pub fn new(token: impl Into<Arc<str>>, public_url: &str, clock: Clock) -> Self {
        let is_https = public_url.starts_with("https:");
        let cookie_name = cookie_name(public_url, is_https).into();
        Self { token: token.into(), is_https, cookie_name, clock, throttle: Arc::default(), audit: None }
    }

    /// The same, with an audit log that is stored here.
    #[must_use]
    pub(crate) fn audited_in(self, agents: Arc<Agents>) -> Self {
        Self { audit: Some(agents), ..self }
    }

    async fn check(&self, request: &RequestParts<'_>) -> Result<Actor, AuthError> {
        if let Some(token) = bearer(request.headers) {
            self.check_token(token, AuditEvent::TokenRejected, request.caller).await?;
            return Ok(Actor::admin_token(request.caller));
        }
        let session = self.session(request.headers)?.ok_or(AuthError::NoCredentials)?;
        let actor = self.session_actor(session, request.caller);
        if request.is_changing && !is_from_console(request.headers) {
            let noted = self.throttle.note(Attempt::Other, request.caller, self.clock.now());
            let destination = Destination { is_logged: noted.is_logged, is_stored: noted.is_stored };
            self.report_omitted(noted.omitted).await;
            self.report(&actor, AuditEntry::of(AuditEvent::CrossOriginRefused), destination).await;
            return Err(AuthError::CrossOrigin);
        }
        Ok(actor)
    }

    /// The right token is let in however many wrong ones came from its address:
    /// behind a proxy all callers have one, and anybody could shut out the owner.
    async fn check_token(
        &self,
        given: &[u8],
        event: AuditEvent,
        caller: Option<IpAddr>,
    ) -> Result<(), AuthError> {
        if is_secret(given, self.token.as_bytes()) {
            return Ok(());
        }
        let noted = self.throttle.note(Attempt::Guess, caller, self.clock.now());
        let event = if noted.retry_after.is_some() { AuditEvent::AttemptsLimited } else { event };
        let destination = Destination { is_logged: noted.is_logged, is_stored: noted.is_stored };
        self.report_omitted(noted.omitted).await;
        self.report(&Actor::unauthenticated(caller), AuditEntry::of(event), destination).await;
        Err(noted.retry_after.map_or(AuthError::WrongToken, |seconds| AuthError::TooManyGuesses { seconds }))
    }

    /// The first session among the cookies of its name that holds. A page on another
    /// port of this host can add cookies of that name, and a browser sends those for
    /// longer paths first (RFC 6265 section 5.4).
    fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, AuthError> {
        let now = self.clock.now();
        let mut sealed = cookies(headers, &self.cookie_name).take(MOST_SESSION_COOKIES).peekable();
        if sealed.peek().is_none() {
            return Ok(None);
        }
        let session = sealed.find_map(|sealed| {
            let sealed = std::str::from_utf8(sealed).ok()?;
            Session::unsealed(sealed, self.token.as_bytes(), now)
        });
        session.map(Some).ok_or(AuthError::SessionOver)
    }

    fn session_actor(&self, session: Session, caller: Option<IpAddr>) -> Actor {
        Actor::session(session.public_id(self.token.as_bytes()), caller)
    }

    /// Reports the attempts of an earlier minute that were not reported one by one.
    async fn report_omitted(&self, omitted: Option<Omitted>) {
        let Some(omitted) = omitted else { return };
        let of = |attempts| AuditEntry {
            attempts: Some(attempts),
            addresses: Some(omitted.addresses),
            ..AuditEntry::of(AuditEvent::AttemptsOmitted)
        };
        let actor = Actor::unauthenticated(omitted.address);
        if omitted.lines > 0 {
            self.report(&actor, of(omitted.lines), Destination { is_logged: true, is_stored: false }).await;
        }
        if omitted.entries > 0 {
            self.report(&actor, of(omitted.entries), Destination { is_logged: false, is_stored: true }).await;
        }
    }

    async fn report(&self, actor: &Actor, entry: AuditEntry, destination: Destination) {
        audit::record(self.audit.as_deref(), self.clock.now(), actor, entry, destination).await;
    }
}

/// What decides on a request.
struct RequestParts<'a> {
    headers: &'a HeaderMap,
    caller: Option<IpAddr>,
    is_changing: bool,
}

/// With TLS, the prefix makes browsers refuse it without, from another host or for
/// another path (RFC 6265bis section 4.1.3.2). Without, several servers may run on
/// one machine, and the cookies of a host are those of all its ports.
fn cookie_name(public_url: &str, is_https: bool) -> String {
    if is_https {
        return "__Host-agent_webhooks".to_owned();
    }
    let port = public_url.parse::<Uri>().ok().and_then(|url| url.port_u16());
    format!("agent_webhooks_{}", port.unwrap_or(80))
}

/// Around every management route.
///
/// A change runs to its end even if the caller closes the connection: otherwise a caller
/// could leave between a change and its entry in the audit log.
pub(crate) async fn admins_only(
    State(admins): State<Admins>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_changing = ![Method::GET, Method::HEAD].contains(request.method());
    let caller = caller(&request);
    let parts = RequestParts { headers: request.headers(), caller, is_changing };
    let actor = admins.check(&parts).await?;
    admins.report_omitted(admins.throttle.take_omitted(admins.clock.now())).await;
    request.extensions_mut().insert(actor);
    if !is_changing {
        return Ok(next.run(request).await);
    }
    tokio::spawn(next.run(request).in_current_span()).await.map_err(Problem::internal)
}

/// Whether the console's own pages sent a request. The header is one that other origins
/// cannot send. Browsers add the other one, and say there if a page of another site or of
/// another port asks.
fn is_from_console(headers: &HeaderMap) -> bool {
    let mut marks = headers.get_all(X_CONSOLE).into_iter();
    let is_marked = matches!((marks.next(), marks.next()), (Some(mark), None) if mark == "1");
    is_marked
        && headers.get_all(SEC_FETCH_SITE).into_iter().all(|site| site == "same-origin" || site == "none")
}

fn caller(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Caller>().map(|Caller(address)| *address)
}

type CallerExtension = Option<Extension<Caller>>;

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_first_chunk::<7>()?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The values of the cookies of this name, as bytes: another cookie in the same header
/// may hold bytes that are not ASCII.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs =
        headers.get_all(COOKIE).into_iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::NoCredentials | AuthError::WrongToken | AuthError::SessionOver => {
                Self::caller(StatusCode::UNAUTHORIZED, "unauthorized", message)
                    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            AuthError::CrossOrigin => Self::caller(StatusCode::FORBIDDEN, "cross_origin", message),
            AuthError::TooManyGuesses { seconds } => {
                Self::caller(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
                    .with_header(RETRY_AFTER, seconds.into())
            }
        }
    }
}
