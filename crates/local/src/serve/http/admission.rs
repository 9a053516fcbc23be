//! Lets in as many requests as can be worked on, in turns by path, and refuses
//! the rest with 503 before they have had any effect.
//!
//! A caller who is slow holds a connection and no place: a small body is here
//! before its request gets one. Large bodies, which are read while at work, and
//! large answers, unless they are of files that all share, need a place of another
//! sort first, of which there are few.

use std::sync::Arc;

use api::Problem;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use super::HttpLimits;
use super::body::{collected, in_pieces, is_large, timed};
use super::places::Places;

/// Answered from nothing but this process, so it is let in always.
const HEALTH: &str = "/api/health";

/// Who may come in.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    limits: HttpLimits,
    connections: Arc<Semaphore>,
    in_work: Arc<Places>,
    large_bodies: Arc<Places>,
    large_answers: Arc<Places>,
}

impl Admission {
    pub(super) fn new(limits: &HttpLimits, connections: Arc<Semaphore>) -> Self {
        let HttpLimits { in_work, in_work_per_path, waiting_per_path: waiting, large, .. } = *limits;
        Self {
            limits: *limits,
            connections,
            in_work: Arc::new(Places::new(in_work, in_work_per_path, waiting)),
            large_bodies: Arc::new(Places::new(large, limits.large_per_path, waiting)),
            large_answers: Arc::new(Places::new(large, large, waiting)),
        }
    }

    /// Connections are scarce: those that have had their answer make room.
    fn is_crowded(&self) -> bool {
        self.connections.available_permits() < self.limits.connections / 4
    }
}

/// Around every route.
pub(super) async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let crowded = admission.is_crowded();
    let mut response = match request.uri().path() {
        HEALTH => next.run(request).await,
        _ => admission.work(request, next).await.unwrap_or_else(Problem::into_response),
    };
    if crowded {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Admission {
    async fn work(self, request: Request, next: Next) -> Result<Response, Problem> {
        let kind = kind(request.uri().path());
        let is_read = request.method() == Method::GET;
        let turn = self.limits.turn;
        let is_large = is_large(request.body(), self.limits.large_from);
        let large = match is_large {
            true => Some(self.large_bodies.take(&kind, turn).await.map_err(Problem::overloaded)?),
            false => None,
        };
        let (parts, body) = request.into_parts();
        let (body, lateness) = timed(body, self.limits.pause, self.limits.body);
        let body = if is_large { body } else { collected(body).await };
        if lateness.is_late() {
            return Err(Problem::body_too_slow());
        }
        let place = self.in_work.take(&kind, turn).await.map_err(Problem::overloaded)?;
        // A task of its own: what has begun ends, also when its caller hangs up,
        // or a task could be stored and never queued.
        let work = tokio::spawn(async move {
            let response = next.run(Request::from_parts(parts, body)).await;
            drop((place, large));
            response
        });
        let response = work.await.map_err(Problem::internal)?;
        if lateness.is_late() {
            return Err(Problem::body_too_slow());
        }
        match is_read {
            true => self.hand_out(response, &kind).await,
            // It has had its effect, and its caller must learn of it.
            false => Ok(response),
        }
    }

    /// A large answer has a place until the connection has taken it, unless its memory is all readers'.
    async fn hand_out(&self, response: Response, kind: &str) -> Result<Response, Problem> {
        if !is_large(response.body(), self.limits.large_from) {
            return Ok(response);
        }
        let place = match response.extensions().get::<pages::Shared>() {
            Some(_) => None,
            None => Some(self.large_answers.take(kind, self.limits.turn).await.map_err(Problem::overloaded)?),
        };
        let length = response.body().size_hint().exact();
        let (mut parts, body) = response.into_parts();
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        let body = in_pieces(body, place).await.map_err(Problem::internal)?;
        Ok(Response::from_parts(parts, body))
    }
}

/// Requests of one path are of one kind. A token has one spelling in lower case
/// and any number of escaped ones, which nobody uses: they are all one kind.
fn kind(path: &str) -> String {
    match path.contains('%') {
        true => "%".to_owned(),
        false => path.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn spelling_a_token_in_another_way_is_no_second_share() {
        assert_eq!(kind("/api/webhooks/agents/AB"), kind("/api/webhooks/agents/ab"));
        assert_eq!(kind("/api/webhooks/agents/%61b"), kind("/api/webhooks/agents/a%62"));
        assert_ne!(kind("/api/webhooks/agents/ab"), kind("/api/webhooks/agents/ac"));
    }
}
