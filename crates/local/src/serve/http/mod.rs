//! The server's edge: what one connection, and all of them together, may take up.
//!
//! | a caller who … | meets |
//! | --- | --- |
//! | never completes a head, or leaves a connection idle | [`HttpLimits::head`]: closed |
//! | sends too long a head, or one that can be read in two ways | 431 or 400, and closed |
//! | sends a body slowly | [`HttpLimits::pause`], [`HttpLimits::body`]: 408 |
//! | does not read the answer | [`HttpLimits::pause`]: closed |
//! | opens very many connections | [`HttpLimits::connections`]: they wait in the kernel |
//! | sends more requests than can be worked on | [`admission`]: 503 with `Retry-After` |

mod admission;
mod body;
mod limits;
mod places;

use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::admin::Caller;
use axum::Router;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use admission::Admission;
pub use limits::HttpLimits;

/// After an error of the system that will not pass at once, such as too many
/// open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Callers who wait in the kernel for a connection; those beyond meet silence
/// and try again a second later. Linux has 4096 at most unless told otherwise.
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
    let connections = Arc::new(Semaphore::new(limits.connections));
    let admission = Admission::new(&limits, Arc::clone(&connections));
    let app = app.layer(from_fn_with_state(admission, admission::admit));
    let protocol = protocol(&limits);
    let open = TaskTracker::new();
    while let Some((stream, place)) = stop.run_until_cancelled(next(&listener, &connections)).await {
        let conversation = converse(protocol.clone(), stream, limits.pause, app.clone(), stop.clone());
        open.spawn(async move {
            conversation.await;
            drop(place);
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// HTTP/1 alone, because a second protocol is a second set of limits.
fn protocol(limits: &HttpLimits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes);
    protocol
}

/// The next connection, once there is a place for it. Those beyond wait in the
/// kernel's backlog.
async fn next(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore.
    let place = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
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
async fn converse(
    protocol: http1::Builder,
    stream: TcpStream,
    pause: Duration,
    app: Router,
    stop: CancellationToken,
) {
    // A head and its body are two writes; the second must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let caller = stream.peer_addr().ok().map(|address| Caller(address.ip()));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(pause));
    let io = TokioIo::new(Box::pin(stream));
    let app = app.map_request(move |request| from_caller(request, caller));
    let mut connection = pin!(protocol.serve_connection(io, TowerToHyperService::new(app)));
    // One that breaks off is its caller's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn from_caller(mut request: Request<Incoming>, caller: Option<Caller>) -> Request<Incoming> {
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    request
}
