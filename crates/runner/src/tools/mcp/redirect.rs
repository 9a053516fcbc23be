//! Redirects of a server. Only those on the same origin are followed, because requests contain the
//! agent's credentials and the arguments of calls.

use std::sync::OnceLock;

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};
use url::Url;

use super::error::McpServerError;

/// Most redirects of one request.
pub(super) const MAX_REDIRECTS: usize = 3;

/// Where the endpoint is, if the configured URL redirects. Later requests go there at once.
#[derive(Default)]
pub(super) struct FollowedRedirect(OnceLock<Url>);

impl FollowedRedirect {
    /// The URL to send a request to, instead of this one.
    pub(super) fn current(&self, uri: &str) -> Result<Url, McpServerError> {
        match self.0.get() {
            Some(url) => Ok(url.clone()),
            None => Url::parse(uri).map_err(|_| McpServerError::Unreachable),
        }
    }

    /// Remembers the URL that answered first.
    pub(super) fn follow(&self, url: Url) {
        let _ = self.0.set(url);
    }
}

/// The URL to repeat the request at, with the same method and body. `None` if the response is not
/// such a redirect.
pub(super) fn redirect_target(
    url: &Url,
    response: &Response,
) -> Result<Option<Url>, McpServerError> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| url.join(location).ok());
    // A server behind a proxy that ends TLS does not know that it is reached over https.
    let target = target.map(|mut target| {
        if url.scheme() == "https" && target.scheme() == "http" && target.host() == url.host() {
            let _ = target.set_scheme("https");
            let _ = target.set_port(url.port());
        }
        target
    });
    match target {
        Some(target) if is_redirect && target.origin() == url.origin() => Ok(Some(target)),
        Some(target) if is_redirect => Err(McpServerError::redirect(&target)),
        _ => Ok(None),
    }
}
