//! Who may manage: whoever sends the admin token, or the cookie of a console
//! session that began with it.
//!
//! A browser sends cookies by itself, so a call that changes something must also
//! bear a header that no page of another origin can send (`X-Console`), on top of
//! `SameSite=Strict`.

mod guesses;
pub(crate) mod session;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use domain::{Session, is_secret};
use store::Clock;

use crate::Problem;
use guesses::Guesses;
pub use session::router;

const X_CONSOLE: HeaderName = HeaderName::from_static("x-console");

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
    guesses: Arc<Guesses>,
}

impl fmt::Debug for Admins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admins")
    }
}

/// Why a call is not an admin's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("Send the admin token as `Authorization: Bearer <token>`, or sign in to the console")]
    Nobody,
    #[error("The admin token is wrong")]
    WrongToken,
    #[error("The session is over; sign in again")]
    SessionOver,
    #[error(
        "A change with the console's cookie needs the header `X-Console: 1`, which other sites cannot send"
    )]
    CrossOrigin,
    #[error("Too many wrong admin tokens came from your address; try again in a minute")]
    Guessing { seconds: u16 },
}

impl Admins {
    /// Those who have this token, at this address.
    pub fn new(token: impl Into<Arc<str>>, public_url: &str, clock: Clock) -> Self {
        let is_https = public_url.starts_with("https:");
        let cookie_name = cookie_name(public_url, is_https).into();
        Self { token: token.into(), is_https, cookie_name, clock, guesses: Arc::default() }
    }

    fn check(&self, request: &Request) -> Result<(), Stranger> {
        if let Some(token) = bearer(request.headers()) {
            return self.check_token(token, caller(request));
        }
        match self.session(request.headers())? {
            None => Err(Stranger::Nobody),
            Some(_) if is_changing(request) && !request.headers().contains_key(X_CONSOLE) => {
                Err(Stranger::CrossOrigin)
            }
            Some(_) => Ok(()),
        }
    }

    /// The right token is let in however many wrong ones came from its address:
    /// behind a proxy all callers have one, and anybody could shut out the owner.
    fn check_token(&self, given: &[u8], caller: Option<IpAddr>) -> Result<(), Stranger> {
        if is_secret(given, self.token.as_bytes()) {
            return Ok(());
        }
        let now = self.clock.now();
        self.guesses.check(caller, now).map_err(|seconds| Stranger::Guessing { seconds })?;
        self.guesses.count(caller, now);
        Err(Stranger::WrongToken)
    }

    fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Stranger> {
        let Some(sealed) = cookie(headers, &self.cookie_name) else { return Ok(None) };
        let session = Session::unsealed(sealed, self.token.as_bytes(), self.clock.now());
        session.map(Some).ok_or(Stranger::SessionOver)
    }
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
pub(crate) async fn admins_only(
    State(admins): State<Admins>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    admins.check(&request)?;
    Ok(next.run(request).await)
}

fn is_changing(request: &Request) -> bool {
    ![Method::GET, Method::HEAD].contains(request.method())
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

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|header| header.to_str().ok());
    pairs
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

impl From<Stranger> for Problem {
    fn from(stranger: Stranger) -> Self {
        let message = stranger.to_string();
        match stranger {
            Stranger::Nobody | Stranger::WrongToken | Stranger::SessionOver => {
                Self::caller(StatusCode::UNAUTHORIZED, "unauthorized", message)
                    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Stranger::CrossOrigin => Self::caller(StatusCode::FORBIDDEN, "cross_origin", message),
            Stranger::Guessing { seconds } => {
                Self::caller(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
                    .with_header(RETRY_AFTER, seconds.into())
            }
        }
    }
}
