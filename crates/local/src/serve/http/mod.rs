//! The HTTP server, and its limits for each connection and for all of them.
//!
//! | a caller that … | limit | result |
//! | --- | --- | --- |
//! | does not complete its headers, or is idle | [`HttpLimits::header_timeout`] | closed |
//! | sends headers that are too large or ambiguous | [`HttpLimits::max_header_bytes`] | 431 or 400, closed |
//! | sends no `Host`, two, or a malformed one | [`host`] | 400 |
//! | sends a body slowly | [`HttpLimits::idle_timeout`], [`HttpLimits::body_timeout`] | 408 |
//! | does not read the response | [`HttpLimits::idle_timeout`] | closed |
//! | opens very many connections | [`connections`] | for each new one, another of its own is closed |
//! | sends more requests than can be processed | [`admission`] | 503 with `Retry-After` |
//! | is slow, or has many large bodies or responses, while others wait | [`fair_semaphore`] | 408 or closed |
//! | closes its sending side after its request | | answered |
//! | resets its connection while its request waits | | the request is not processed |
//!
//! Limits are shared by route, whatever its spelling, and by network ([`share`]). Behind a
//! proxy all callers are one network. There only the shares by route apply, and idle,
//! stalled and slow connections are closed first.

mod admission;
mod body;
mod caller_socket;
mod connections;
mod fair_semaphore;
mod host;
mod limits;
mod share;
mod transfer;

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use admission::RequestAdmission;
use caller_socket::CallerSocket;
use connections::{Connection, Connections};
use limits::CLOSING_CONNECTIONS;
pub use limits::HttpLimits;

/// Pause after an error of the system that lasts, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Connections that the kernel queues until they are accepted. Further callers get no
/// response, and their system retries after a second. Linux allows 4096 by default.
const BACKLOG: u32 = 4096;

/// Listens on the first address of `address` that is available.
pub(super) async fn bind(address: &str) -> std::io::Result<TcpListener> {
    let mut last_error = Error::from(ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host(address).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // Lets a restarted server reuse its address at once.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Accepts connections and answers requests until `stop`. Returns when all connections are closed.
pub(super) async fn serve_requests(
    listener: TcpListener,
    app: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) {
    let sockets = Arc::new(Semaphore::new(limits.max_connections + CLOSING_CONNECTIONS));
    let connections = Connections::new(&limits);
    let admission = Arc::new(RequestAdmission::new(limits, Arc::clone(&connections)));
    let context = ConnectionContext {
        protocol: http1_builder(&limits),
        app,
        admission,
        idle_timeout: limits.idle_timeout,
        stop,
    };
    let open = TaskTracker::new();
    while let Some((stream, address, socket)) = context
        .stop
        .run_until_cancelled(accept_connection(&listener, &sockets))
        .await
    {
        let tracked = connections.track(address);
        let serving = serve_connection(
            context.clone(),
            stream,
            address,
            Arc::clone(&tracked.connection),
        );
        open.spawn(async move {
            serving.await;
            drop((tracked, socket));
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Shared by all connections.
#[derive(Clone)]
struct ConnectionContext {
    protocol: http1::Builder,
    app: Router,
    admission: Arc<RequestAdmission>,
    idle_timeout: Duration,
    stop: CancellationToken,
}

/// Only HTTP/1, because a second protocol would need a second set of limits.
fn http1_builder(limits: &HttpLimits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        // A caller that has closed its sending side may still read (RFC 9112 section 9.6). A
        // caller that is gone is detected when the response is written, or, if it reset the
        // connection, before its request is processed.
        .half_close(true)
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes);
    protocol
}

/// Accepts the next connection. Waits first while too many connections are being closed.
async fn accept_connection(
    listener: &TcpListener,
    sockets: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let socket = Arc::clone(sockets).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address.ip(), socket),
            Err(error) if is_of_one_caller(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accept failed; retrying in 1 s");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_caller(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// Serves one connection until it is closed.
async fn serve_connection(
    context: ConnectionContext,
    stream: TcpStream,
    address: IpAddr,
    tracked: Arc<Connection>,
) {
    let ConnectionContext {
        protocol,
        app,
        admission,
        idle_timeout,
        stop,
    } = context;
    // Headers and body are two writes. Without TCP_NODELAY the second would wait for an
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    let socket = CallerSocket::new(stream, address);
    let mut stream = TimeoutStream::new(socket.clone());
    stream.set_write_timeout(Some(idle_timeout));
    let io = TokioIo::new(Box::pin(stream));
    let service = service_fn(|request: Request<Incoming>| {
        let (admission, app, tracked) = (Arc::clone(&admission), app.clone(), Arc::clone(&tracked));
        let socket = socket.clone();
        async move {
            let request = request.map(Body::new);
            Ok::<_, Infallible>(
                admission
                    .handle_request(request, app, &tracked, &socket)
                    .await,
            )
        }
    });
    let mut connection = pin!(protocol.serve_connection(io, service));
    // An error affects only this caller.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        () = tracked.closing().cancelled() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
