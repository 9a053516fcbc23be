//! Lets in as many requests as can be worked on, shared fairly by network and by
//! route, and refuses the rest with 503 before they have had any effect.
//!
//! A slow caller holds a connection and no permit: a small body is complete, and
//! a large one has begun, before its request waits for a permit. Large bodies,
//! which are read while their request is worked on, and large answers, unless they
//! are of files that all share, need one of a few permits of their own.

use std::convert::Infallible;
use std::hash::RandomState;
use std::sync::Arc;

use api::Problem;
use api::admin::Caller;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::HttpLimits;
use super::body::{Beginning, Sending, begin, in_pieces, is_large, timed};
use super::caller_socket::CallerSocket;
use super::connections::{Activity, Connection, Connections};
use super::fair_semaphore::{FairSemaphore, Holder, Permit, Shares};
use super::host::is_host_valid;
use super::share::ShareKey;
use super::transfer::Transfer;

/// Answered from nothing but this process, so it is let in always.
const HEALTH: &str = "/api/health";

/// Who may come in.
#[derive(Debug)]
pub(super) struct Admission {
    limits: HttpLimits,
    hasher: RandomState,
    connections: Arc<Connections>,
    in_work: Arc<FairSemaphore>,
    large_bodies: Arc<FairSemaphore>,
    large_answers: Arc<FairSemaphore>,
}

/// One request on its way to the routes.
struct Visit<'a> {
    admission: &'a Admission,
    connection: &'a Arc<Connection>,
    socket: &'a CallerSocket,
    key: ShareKey,
}

/// Nobody waits for the answer, and the same request may come again.
#[derive(Debug, thiserror::Error)]
#[error("the caller reset its connection")]
struct Reset;

impl Admission {
    pub(super) fn new(limits: HttpLimits, connections: Arc<Connections>) -> Self {
        let HttpLimits { in_work, in_work_per_path, large, large_per_path, .. } = limits;
        let semaphore = |total, per_route| {
            let waiting_per_route = limits.waiting_per_path;
            FairSemaphore::new(Shares { total, per_route, waiting_per_route })
        };
        Self {
            limits,
            hasher: RandomState::new(),
            connections,
            in_work: semaphore(in_work, in_work_per_path),
            large_bodies: semaphore(large, large_per_path),
            large_answers: semaphore(large, large),
        }
    }

    /// Answers a request that came over `connection`.
    pub(super) async fn answer(
        &self,
        mut request: Request,
        app: Router,
        connection: &Arc<Connection>,
        socket: &CallerSocket,
    ) -> Response {
        let are_scarce = self.connections.are_scarce();
        let answered = if !is_host_valid(request.version(), request.headers()) {
            Err(Problem::invalid_host())
        } else if request.uri().path() == HEALTH {
            let response = route(app, request).await;
            connection.begin(Activity::Idle);
            Ok(response)
        } else {
            request.extensions_mut().insert(Caller(socket.address));
            let key = ShareKey::new(request.uri().path(), connection.network, &self.hasher);
            Visit { admission: self, connection, socket, key }.work(request, app).await
        };
        let mut response = answered.unwrap_or_else(|problem| {
            connection.begin(Activity::Idle);
            problem.into_response()
        });
        if are_scarce {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Visit<'_> {
    async fn work(self, request: Request, app: Router) -> Result<Response, Problem> {
        let HttpLimits { pause, body: whole, large_from, .. } = self.admission.limits;
        let is_read = request.method() == Method::GET;
        let (parts, body) = request.into_parts();
        let transfer = Transfer::start(self.admission.limits.pace(), CancellationToken::new());
        self.connection.begin(Activity::Receiving(Arc::clone(&transfer)));
        // A body that says that it is large goes to its route at once, which may refuse it
        // before it is sent.
        let is_declared_large = body.size_hint().upper().is_some_and(|bytes| bytes > large_from as u64);
        let body = timed(body, pause, whole, Arc::clone(&transfer));
        let beginning = match is_declared_large {
            true => Beginning::Large(body),
            false => begin(body, large_from).await,
        };
        if transfer.is_late() {
            return Err(Problem::body_too_slow());
        }
        self.connection.begin(Activity::Waiting);
        transfer.pause();
        let (body, large) = match beginning {
            Beginning::Small(body) => (body, None),
            Beginning::Large(body) => {
                (body, Some(self.permit(&self.admission.large_bodies, Some(&transfer)).await?))
            }
        };
        let permit = self.permit(&self.admission.in_work, None).await?;
        if self.socket.is_reset() {
            return Err(Problem::overloaded(Reset));
        }
        transfer.resume();
        let activity = match large {
            Some(_) => Activity::Receiving(Arc::clone(&transfer)),
            None => Activity::Working,
        };
        self.connection.begin_work(activity).map_err(Problem::overloaded)?;
        // A task of its own: what has begun ends, also when its caller hangs up,
        // or a task could be stored and never queued.
        let work = tokio::spawn(async move {
            let response = route(app, Request::from_parts(parts, body)).await;
            drop((permit, large));
            response
        });
        let response = work.await.map_err(Problem::internal)?;
        if transfer.is_late() {
            return Err(Problem::body_too_slow());
        }
        self.connection.begin(Activity::Idle);
        match is_read {
            true => self.hand_out(response).await,
            // It has had its effect, and its caller must learn of it.
            false => Ok(response),
        }
    }

    async fn permit(
        &self,
        semaphore: &Arc<FairSemaphore>,
        transfer: Option<&Arc<Transfer>>,
    ) -> Result<Permit, Problem> {
        let holder = Holder { key: self.key, transfer: transfer.cloned() };
        semaphore.acquire(holder, self.admission.limits.turn).await.map_err(Problem::overloaded)
    }

    /// A large answer has a permit until the connection has taken it, unless its memory is all readers'.
    async fn hand_out(&self, response: Response) -> Result<Response, Problem> {
        if !is_large(response.body(), self.admission.limits.large_from) {
            return Ok(response);
        }
        // A reader that is too slow for those who wait loses its connection.
        let transfer = Transfer::start(self.admission.limits.pace(), self.connection.closing().clone());
        let permit = match response.extensions().get::<pages::Shared>() {
            Some(_) => None,
            None => {
                self.connection.begin(Activity::Waiting);
                transfer.pause();
                Some(self.permit(&self.admission.large_answers, Some(&transfer)).await?)
            }
        };
        transfer.resume();
        let length = response.body().size_hint().exact();
        let (mut parts, body) = response.into_parts();
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        let sending = Sending { _permit: permit, transfer, _answer: self.connection.begin_answer() };
        let body = in_pieces(body, sending).await.map_err(Problem::internal)?;
        Ok(Response::from_parts(parts, body))
    }
}

async fn route(app: Router, request: Request<Body>) -> Response {
    let response: Result<Response, Infallible> = app.oneshot(request).await;
    response.unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    use super::super::connections::Listed;
    use super::*;

    const LARGE: usize = 100 * 1024;

    /// One request is worked on at a time, until the test lets it end.
    struct Site {
        admission: Arc<Admission>,
        connections: Arc<Connections>,
        app: Router,
        worked_on: Arc<AtomicUsize>,
        end: Arc<Notify>,
        callers: TcpListener,
    }

    impl Site {
        async fn new() -> Self {
            let limits = HttpLimits { connections: 3, in_work: 1, large: 1, ..HttpLimits::default() };
            let connections = Connections::new(&limits);
            let (worked_on, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let work = {
                let (worked_on, end) = (Arc::clone(&worked_on), Arc::clone(&end));
                async move |body: axum::body::Bytes| {
                    worked_on.fetch_add(1, Ordering::Relaxed);
                    end.notified().await;
                    body.len().to_string()
                }
            };
            let app = Router::new().route("/", post(work));
            let admission = Arc::new(Admission::new(limits, Arc::clone(&connections)));
            let callers = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { admission, connections, app, worked_on, end, callers }
        }

        /// From 192.0.2.`network`.
        fn list(&self, network: u8) -> Listed {
            self.connections.list([192, 0, 2, network].into())
        }

        /// Sends a request with a body of so many bytes over this connection.
        async fn send(
            &self,
            listed: &Listed,
            network: u8,
            bytes: usize,
        ) -> tokio::task::JoinHandle<StatusCode> {
            let (admission, app) = (Arc::clone(&self.admission), self.app.clone());
            let connection = Arc::clone(&listed.connection);
            let stream = TcpStream::connect(self.callers.local_addr().unwrap()).await.unwrap();
            let socket = CallerSocket::new(stream, [192, 0, 2, network].into());
            let request = Request::post("/").header("host", "x").body(Body::from(vec![b'x'; bytes])).unwrap();
            let answered =
                tokio::spawn(
                    async move { admission.answer(request, app, &connection, &socket).await.status() },
                );
            tokio::time::sleep(Duration::from_millis(1)).await;
            answered
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_not_worked_on_once_its_connection_is_being_closed() {
        let site = Site::new().await;
        let (first, second) = (site.list(1), site.list(2));
        let working = site.send(&first, 1, 2).await;
        let waiting = site.send(&second, 2, 2).await;
        let _newcomers = (site.list(3), site.list(4));
        assert!(second.connection.closing().is_cancelled());
        site.end.notify_one();
        assert_eq!(working.await.unwrap(), StatusCode::OK);
        assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(site.worked_on.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_is_not_late_while_the_server_makes_it_wait() {
        let site = Site::new().await;
        let listed = [1, 2, 3].map(|network| site.list(network));
        let working = site.send(&listed[0], 1, 2).await;
        let large = site.send(&listed[1], 2, LARGE).await;
        // It waits for the permit of the one before, whose body it could interrupt.
        let next = site.send(&listed[2], 3, LARGE).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for answered in [working, large, next] {
            site.end.notify_one();
            assert_eq!(answered.await.unwrap(), StatusCode::OK);
        }
    }
}
