//! The server's edge: what one connection, and all of them together, may take up.
//!
//! | a caller who … | meets |
//! | --- | --- |
//! | never completes its headers, or leaves a connection idle | [`HttpLimits::head`]: closed |
//! | sends too long headers, or some that can be read in two ways | 431 or 400, and closed |
//! | sends no `Host`, two, or a malformed one | [`host`]: 400 |
//! | sends a body slowly | [`HttpLimits::pause`], [`HttpLimits::body`]: 408 |
//! | does not read the answer | [`HttpLimits::pause`]: closed |
//! | opens very many connections | [`connections`]: for each new one, another of its own is closed |
//! | sends more requests than can be worked on | [`admission`]: 503 with `Retry-After` |
//! | takes many of the permits for large bodies or answers, or moves them slowly, while others wait | [`fair_semaphore`]: 408, or closed |
//! | has sent its request and closes its side | is answered |
//! | resets its connection while its request waits | the request is not worked on |
//!
//! Shares are by route, in all its spellings, and by network ([`share`]). Behind a
//! proxy all callers are one network, so there only the shares by route hold, and
//! idle, stalled and slow connections are closed first.

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

use admission::Admission;
use caller_socket::CallerSocket;
use connections::{Connection, Connections};
use limits::CLOSING_CONNECTIONS;
pub use limits::HttpLimits;

/// After an error of the system that will not pass at once, such as too many
/// open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Connections that the kernel holds until they are accepted; callers beyond get
/// no response and try again a second later. Linux has 4096 at most by default.
const BACKLOG: u32 = 4096;

/// Listens on the first address that `address` stands for and that can be had.
pub(super) async fn bind(address: &str) -> std::io::Result<TcpListener> {
    let mut failed = Error::from(ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restarted server may have its old address at once.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Answers requests until `stop`, and ends with the last connection.
pub(super) async fn answer(listener: TcpListener, app: Router, limits: HttpLimits, stop: CancellationToken) {
    let sockets = Arc::new(Semaphore::new(limits.connections + CLOSING_CONNECTIONS));
    let connections = Connections::new(&limits);
    let admission = Arc::new(Admission::new(limits, Arc::clone(&connections)));
    let site = Site { protocol: protocol(&limits), app, admission, pause: limits.pause, stop };
    let open = TaskTracker::new();
    while let Some((stream, address, socket)) = site.stop.run_until_cancelled(next(&listener, &sockets)).await
    {
        let listed = connections.list(address);
        let conversation = converse(site.clone(), stream, address, Arc::clone(&listed.connection));
        open.spawn(async move {
            conversation.await;
            drop((listed, socket));
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// What every connection needs.
#[derive(Clone)]
struct Site {
    protocol: http1::Builder,
    app: Router,
    admission: Arc<Admission>,
    pause: Duration,
    stop: CancellationToken,
}

/// HTTP/1 alone, because a second protocol is a second set of limits.
fn protocol(limits: &HttpLimits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        // A caller that has closed its side may still read (RFC 9112 section 9.6). One
        // that is gone is noticed when its answer is written, or before its request is
        // worked on if it reset the connection.
        .half_close(true)
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes);
    protocol
}

/// The next connection and its caller, once enough of those being closed are gone.
async fn next(
    listener: &TcpListener,
    sockets: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let socket = Arc::clone(sockets).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address.ip(), socket),
            Err(error) if concerns_one_caller(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connections can be taken for a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_caller(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// One connection, from its first request to its end.
async fn converse(site: Site, stream: TcpStream, address: IpAddr, listed: Arc<Connection>) {
    let Site { protocol, app, admission, pause, stop } = site;
    // Headers and body are two writes; the second must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let socket = CallerSocket::new(stream, address);
    let mut stream = TimeoutStream::new(socket.clone());
    stream.set_write_timeout(Some(pause));
    let io = TokioIo::new(Box::pin(stream));
    let service = service_fn(|request: Request<Incoming>| {
        let (admission, app, listed) = (Arc::clone(&admission), app.clone(), Arc::clone(&listed));
        let socket = socket.clone();
        async move { Ok::<_, Infallible>(admission.answer(request.map(Body::new), app, &listed, &socket).await) }
    });
    let mut connection = pin!(protocol.serve_connection(io, service));
    // An error concerns only this caller.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        () = listed.closing().cancelled() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
