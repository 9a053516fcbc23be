//! Admits a limited number of concurrent requests, shared fairly by network and by route,
//! and refuses the others with 503 before they have an effect.
//!
//! A slow caller holds a connection and no permit: before its request waits for a permit, a
//! small body is complete and a large one has begun. Large bodies are read while their
//! request is processed, so they need one of a few extra permits. So do large responses,
//! except for files in memory that all readers share.

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
use super::body::{BufferedBody, ResponseTransfer, buffer_body, is_large, limit_time, split_body};
use super::caller_socket::CallerSocket;
use super::connections::{Activity, Connection, Connections};
use super::fair_semaphore::{FairSemaphore, Holder, Permit, Shares};
use super::host::is_host_valid;
use super::share::ShareKey;
use super::transfer::Transfer;

/// Needs only this process, so it is always admitted.
const HEALTH: &str = "/api/health";

#[derive(Debug)]
pub(super) struct RequestAdmission {
    limits: HttpLimits,
    hasher: RandomState,
    connections: Arc<Connections>,
    requests: Arc<FairSemaphore>,
    large_bodies: Arc<FairSemaphore>,
    large_responses: Arc<FairSemaphore>,
}

struct AdmittedRequest<'a> {
    admission: &'a RequestAdmission,
    connection: &'a Arc<Connection>,
    socket: &'a CallerSocket,
    key: ShareKey,
}

/// No response can reach the caller, which may repeat the request.
#[derive(Debug, thiserror::Error)]
#[error("the caller reset its connection")]
struct ConnectionReset;

impl RequestAdmission {
    pub(super) fn new(limits: HttpLimits, connections: Arc<Connections>) -> Self {
        let HttpLimits {
            max_requests,
            max_large_transfers,
            ..
        } = limits;
        let semaphore = |total, per_route| {
            let waiting_per_route = limits.max_waiting_per_route;
            FairSemaphore::new(Shares {
                total,
                per_route,
                waiting_per_route,
            })
        };
        Self {
            limits,
            hasher: RandomState::new(),
            connections,
            requests: semaphore(max_requests, limits.max_requests_per_route),
            large_bodies: semaphore(max_large_transfers, limits.max_large_bodies_per_route),
            large_responses: semaphore(max_large_transfers, max_large_transfers),
        }
    }

    /// Answers a request of `connection`.
    pub(super) async fn handle_request(
        &self,
        mut request: Request,
        app: Router,
        connection: &Arc<Connection>,
        socket: &CallerSocket,
    ) -> Response {
        let are_scarce = self.connections.are_scarce();
        let response = if !is_host_valid(request.version(), request.headers()) {
            Err(Problem::invalid_host())
        } else if request.uri().path() == HEALTH {
            let response = call_route(app, request).await;
            connection.begin(Activity::Idle);
            Ok(response)
        } else {
            request.extensions_mut().insert(Caller(socket.address));
            let key = ShareKey::new(request.uri().path(), connection.network, &self.hasher);
            AdmittedRequest {
                admission: self,
                connection,
                socket,
                key,
            }
            .process(request, app)
            .await
        };
        let mut response = response.unwrap_or_else(|problem| {
            connection.begin(Activity::Idle);
            problem.into_response()
        });
        if are_scarce {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl AdmittedRequest<'_> {
    async fn process(self, request: Request, app: Router) -> Result<Response, Problem> {
        let limits = &self.admission.limits;
        let is_get = request.method() == Method::GET;
        let (parts, body) = request.into_parts();
        let transfer = Transfer::start(limits.pace(), CancellationToken::new());
        let receiving = Activity::Receiving(Arc::clone(&transfer));
        self.connection.begin(receiving);
        // A body with a large Content-Length is passed to its route at once, which may refuse
        // it before it is sent.
        let declared = body.size_hint().upper();
        let is_declared_large = declared.is_some_and(|bytes| bytes > limits.large_bytes as u64);
        let (idle, total) = (limits.idle_timeout, limits.body_timeout);
        let body = limit_time(body, idle, total, Arc::clone(&transfer));
        let body = match is_declared_large {
            true => BufferedBody::Large(body),
            false => buffer_body(body, limits.large_bytes).await,
        };
        if transfer.is_late() {
            return Err(Problem::body_too_slow());
        }
        self.connection.begin(Activity::Waiting);
        transfer.pause();
        let (body, large_permit) = match body {
            BufferedBody::Small(body) => (body, None),
            BufferedBody::Large(body) => {
                let large_bodies = &self.admission.large_bodies;
                let permit = self.acquire_permit(large_bodies, Some(&transfer)).await?;
                (body, Some(permit))
            }
        };
        let permit = self.acquire_permit(&self.admission.requests, None).await?;
        if self.socket.is_reset() {
            return Err(Problem::overloaded(ConnectionReset));
        }
        transfer.resume();
        let activity = match large_permit {
            Some(_) => Activity::Receiving(Arc::clone(&transfer)),
            None => Activity::Working,
        };
        self.connection
            .begin_work(activity)
            .map_err(Problem::overloaded)?;
        // A separate task, so that the request is completed even if its caller disconnects.
        // Otherwise a task could be stored and never queued.
        let work = tokio::spawn(async move {
            let response = call_route(app, Request::from_parts(parts, body)).await;
            drop((permit, large_permit));
            response
        });
        let response = work.await.map_err(Problem::internal)?;
        if transfer.is_late() {
            return Err(Problem::body_too_slow());
        }
        self.connection.begin(Activity::Idle);
        match is_get {
            true => self.limit_response(response).await,
            // The request had its effect, so the caller must get the response.
            false => Ok(response),
        }
    }

    async fn acquire_permit(
        &self,
        semaphore: &Arc<FairSemaphore>,
        transfer: Option<&Arc<Transfer>>,
    ) -> Result<Permit, Problem> {
        let holder = Holder {
            key: self.key,
            transfer: transfer.cloned(),
        };
        semaphore
            .acquire(holder, self.admission.limits.permit_timeout)
            .await
            .map_err(Problem::overloaded)
    }

    /// Gives a large response a permit until it is passed to the connection, unless all readers
    /// share its memory.
    async fn limit_response(&self, response: Response) -> Result<Response, Problem> {
        if !is_large(response.body(), self.admission.limits.large_bytes) {
            return Ok(response);
        }
        // If other requests wait, the connection of a slow reader is closed.
        let transfer = Transfer::start(
            self.admission.limits.pace(),
            self.connection.closing().clone(),
        );
        let permit = match response.extensions().get::<pages::StaticBody>() {
            Some(_) => None,
            None => {
                self.connection.begin(Activity::Waiting);
                transfer.pause();
                Some(
                    self.acquire_permit(&self.admission.large_responses, Some(&transfer))
                        .await?,
                )
            }
        };
        transfer.resume();
        let length = response.body().size_hint().exact();
        let (mut parts, body) = response.into_parts();
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        let sending = ResponseTransfer {
            _permit: permit,
            transfer,
            _response: self.connection.begin_response(),
        };
        let body = split_body(body, sending).await.map_err(Problem::internal)?;
        Ok(Response::from_parts(parts, body))
    }
}

async fn call_route(app: Router, request: Request<Body>) -> Response {
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

    use super::super::connections::TrackedConnection;
    use super::*;

    const LARGE: usize = 100 * 1024;

    /// Processes one request at a time, until the test ends it.
    struct TestServer {
        admission: Arc<RequestAdmission>,
        connections: Arc<Connections>,
        app: Router,
        processed: Arc<AtomicUsize>,
        end: Arc<Notify>,
        callers: TcpListener,
    }

    impl TestServer {
        async fn new() -> Self {
            let limits = HttpLimits {
                max_connections: 3,
                max_requests: 1,
                max_large_transfers: 1,
                ..HttpLimits::default()
            };
            let connections = Connections::new(&limits);
            let (processed, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let work = {
                let (processed, end) = (Arc::clone(&processed), Arc::clone(&end));
                async move |body: axum::body::Bytes| {
                    processed.fetch_add(1, Ordering::Relaxed);
                    end.notified().await;
                    body.len().to_string()
                }
            };
            let app = Router::new().route("/", post(work));
            let admission = Arc::new(RequestAdmission::new(limits, Arc::clone(&connections)));
            let callers = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self {
                admission,
                connections,
                app,
                processed,
                end,
                callers,
            }
        }

        /// Opens a connection from 192.0.2.`network`.
        fn connect(&self, network: u8) -> TrackedConnection {
            self.connections.track([192, 0, 2, network].into())
        }

        /// Sends a request with a body of so many bytes over this connection.
        async fn send(
            &self,
            tracked: &TrackedConnection,
            network: u8,
            bytes: usize,
        ) -> tokio::task::JoinHandle<StatusCode> {
            let (admission, app) = (Arc::clone(&self.admission), self.app.clone());
            let connection = Arc::clone(&tracked.connection);
            let stream = TcpStream::connect(self.callers.local_addr().unwrap())
                .await
                .unwrap();
            let socket = CallerSocket::new(stream, [192, 0, 2, network].into());
            let request = Request::post("/")
                .header("host", "x")
                .body(Body::from(vec![b'x'; bytes]))
                .unwrap();
            let status = tokio::spawn(async move {
                admission
                    .handle_request(request, app, &connection, &socket)
                    .await
                    .status()
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
            status
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_not_processed_once_its_connection_is_being_closed() {
        let server = TestServer::new().await;
        let (first, second) = (server.connect(1), server.connect(2));
        let working = server.send(&first, 1, 2).await;
        let waiting = server.send(&second, 2, 2).await;
        let _newcomers = (server.connect(3), server.connect(4));
        assert!(second.connection.closing().is_cancelled());
        server.end.notify_one();
        assert_eq!(working.await.unwrap(), StatusCode::OK);
        assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(server.processed.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_is_not_late_while_the_server_makes_it_wait() {
        let server = TestServer::new().await;
        let connections = [1, 2, 3].map(|network| server.connect(network));
        let working = server.send(&connections[0], 1, 2).await;
        let large = server.send(&connections[1], 2, LARGE).await;
        // It waits for the permit of the previous request, whose body it could interrupt.
        let next = server.send(&connections[2], 3, LARGE).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for status in [working, large, next] {
            server.end.notify_one();
            assert_eq!(status.await.unwrap(), StatusCode::OK);
        }
    }
}
