//! The HTTP client below the AWS clients: HTTP/1.1, which is what the services speak,
//! over rustls with `ring` and the system's roots. The SDK's own reads and parses all
//! roots anew for every client that is made, brings HTTP/2 and proxies, and cannot open
//! a connection before there is a request for it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::roots;

/// To a connection that can be used.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// To a connection that has ended its last exchange.
const READY_TIMEOUT: Duration = Duration::from_millis(50);
/// Who answers may close a connection that nobody uses, and its word may get lost.
const KEEP_IDLE: Duration = Duration::from_secs(60);

/// Connections of one process; copies share them.
#[derive(Clone, Default)]
pub(crate) struct Https(Arc<Mutex<HashMap<Origin, Vec<Idle>>>>);

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

struct Idle {
    connection: SendRequest<SdkBody>,
    /// By the clock that goes on while a function is frozen.
    since: SystemTime,
}

/// A connection that was kept is in use: if nothing comes of it, those kept beside it
/// are given up as well, which went the same way for as long.
struct Doubt<'a> {
    all: Option<&'a Https>,
    origin: &'a Origin,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum HttpsError {
    #[error("the address has no host")]
    NoHost,
    #[error("failed to connect within {CONNECT_TIMEOUT:?}")]
    Slow,
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("the TLS is not set up")]
    Tls(#[source] rustls::Error),
    #[error("failed to read the roots")]
    Roots(#[source] JoinError),
    #[error("failed to exchange messages")]
    Exchange(#[source] hyper::Error),
}

impl Https {
    /// Opens a connection, so that the first request finds one. If it cannot be
    /// opened, the first request tries again, and tells its caller.
    pub(crate) async fn open(&self, url: &str) {
        let Ok(uri) = url.parse() else { return };
        if let Ok(origin) = Origin::of(&uri)
            && let Ok(connection) = connect(&origin).await
        {
            self.keep(origin, connection);
        }
    }

    async fn exchange(&self, mut request: Request<SdkBody>) -> Result<Response<SdkBody>, HttpsError> {
        let origin = Origin::of(request.uri())?;
        address(&mut request, &origin);
        loop {
            let (mut connection, doubt) = match self.idle(&origin).await {
                Some(connection) => (connection, Some(Doubt { all: Some(self), origin: &origin })),
                None => (connect(&origin).await?, None),
            };
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let answer = self.read(&origin, connection, response).await?;
                    if let Some(doubt) = doubt {
                        doubt.dispel();
                    }
                    return Ok(answer);
                }
                Err(mut failure) => match (failure.take_message(), doubt) {
                    // It had been closed, as its neighbours need not be, and nothing of
                    // the request has left.
                    (Some(unsent), Some(doubt)) => {
                        doubt.dispel();
                        request = unsent;
                    }
                    _ => return Err(HttpsError::Exchange(failure.into_error())),
                },
            }
        }
    }

    /// Reads an answer whole, after which the connection is free.
    async fn read(
        &self,
        origin: &Origin,
        connection: SendRequest<SdkBody>,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<SdkBody>, HttpsError> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(HttpsError::Exchange)?.to_bytes();
        // A server in trouble may have a neighbour that is not.
        if !parts.status.is_server_error() {
            self.keep(origin.clone(), connection);
        }
        Ok(Response::from_parts(parts, SdkBody::from(body)))
    }

    fn keep(&self, origin: Origin, connection: SendRequest<SdkBody>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.entry(origin).or_default();
        idle.retain(Idle::is_young);
        idle.push(Idle { connection, since: SystemTime::now() });
    }

    /// The connection used last, if it is still open.
    async fn idle(&self, origin: &Origin) -> Option<SendRequest<SdkBody>> {
        loop {
            let mut idle = self.take(origin)?;
            if !idle.is_young() {
                continue;
            }
            // One that was answered before it had sent all is never ready again.
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, idle.connection.ready()).await {
                return Some(idle.connection);
            }
        }
    }

    fn take(&self, origin: &Origin) -> Option<Idle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(origin)?.pop()
    }
}

impl Idle {
    fn is_young(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < KEEP_IDLE)
    }
}

impl Doubt<'_> {
    fn dispel(mut self) {
        self.all = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(all) = self.all {
            all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.origin);
        }
    }
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, HttpsError> {
        let is_tls = uri.scheme_str() != Some("http");
        let host = uri.host().ok_or(HttpsError::NoHost)?.to_owned();
        Ok(Self { is_tls, host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) })
    }
}

/// As a server wants it that is asked directly.
fn address(request: &mut Request<SdkBody>, origin: &Origin) {
    let default_port = if origin.is_tls { 443 } else { 80 };
    let host = match origin.port == default_port {
        true => origin.host.clone(),
        false => format!("{}:{}", origin.host, origin.port),
    };
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
}

async fn connect(origin: &Origin) -> Result<SendRequest<SdkBody>, HttpsError> {
    timeout(CONNECT_TIMEOUT, connect_in_time(origin)).await.unwrap_or(Err(HttpsError::Slow))
}

async fn connect_in_time(origin: &Origin) -> Result<SendRequest<SdkBody>, HttpsError> {
    // An address of IPv6 stands in brackets in a URL, and nowhere else.
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let reached = async {
        let stream = TcpStream::connect((host, origin.port)).await.map_err(HttpsError::Connect)?;
        stream.set_nodelay(true).map_err(HttpsError::Connect)?;
        Ok(stream)
    };
    if !origin.is_tls {
        return talk(reached.await?).await;
    }
    let (stream, config) = tokio::try_join!(reached, tls())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpsError::NoHost)?;
    talk(TlsConnector::from(config).connect(name, stream).await.map_err(HttpsError::Connect)?).await
}

async fn talk<S>(stream: S) -> Result<SendRequest<SdkBody>, HttpsError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(HttpsError::Exchange)?;
    // What goes wrong with it, its requests are told.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

/// What all connections share. The roots are read once, on a thread of their own while
/// the first connection finds its way.
async fn tls() -> Result<Arc<ClientConfig>, HttpsError> {
    static TLS: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let set_up = async || {
        let roots = spawn_blocking(roots::trusted).await.map_err(HttpsError::Roots)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpsError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    TLS.get_or_try_init(set_up).await.cloned()
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

impl HttpClient for Https {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let https = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let response = https.exchange(request).await.map_err(ConnectorError::from)?;
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl From<HttpsError> for ConnectorError {
    /// What another try may mend is `io` or `timeout`.
    fn from(error: HttpsError) -> Self {
        match &error {
            HttpsError::NoHost => Self::user(error.into()),
            HttpsError::Slow => Self::timeout(error.into()),
            HttpsError::Tls(_) | HttpsError::Roots(_) => Self::other(error.into(), None),
            // As rustls names a certificate that it does not trust.
            HttpsError::Connect(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                Self::other(error.into(), None)
            }
            HttpsError::Connect(_) | HttpsError::Exchange(_) => Self::io(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const CLOSED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    const BROKEN: &str = "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno";

    /// A server that always answers the same, and how many connections it was asked for.
    async fn server(answer: &'static str, hangs_up: bool) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.unwrap_or_default() > 0 {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if hangs_up {
                            return;
                        }
                    }
                });
            }
        });
        (url, connections)
    }

    async fn ask(https: &Https, url: &str) -> Result<u16, HttpsError> {
        let request = Request::get(format!("{url}/a?b=c")).body(SdkBody::empty()).unwrap();
        https.exchange(request).await.map(|response| response.status().as_u16())
    }

    async fn until_closed(https: &Https) {
        while https.0.lock().unwrap().values().flatten().any(|idle| !idle.connection.is_closed()) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn requests_share_a_connection_which_may_have_been_opened_before_them() {
        let (url, connections) = server(KEPT, false).await;
        let https = Https::default();
        https.open(&url).await;
        for _ in 0..3 {
            assert_eq!(ask(&https, &url).await.unwrap(), 200);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_meanwhile_is_replaced_unnoticed() {
        for (answer, hangs_up) in [(CLOSED, false), (KEPT, true)] {
            let (url, connections) = server(answer, hangs_up).await;
            let https = Https::default();
            for _ in 0..3 {
                assert_eq!(ask(&https, &url).await.unwrap(), 200);
                until_closed(&https).await;
            }
            assert_eq!(connections.load(Ordering::SeqCst), 3);
        }
    }

    #[tokio::test]
    async fn a_server_in_trouble_is_asked_over_a_new_connection() {
        let (url, connections) = server(BROKEN, false).await;
        let https = Https::default();
        for _ in 0..2 {
            assert_eq!(ask(&https, &url).await.unwrap(), 500);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_worth_another_try_and_no_end_of_the_process() {
        let https = Https::default();
        // The port of a listener that is gone.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        https.open(&format!("http://{gone}")).await;
        let error = ask(&https, &format!("http://{gone}")).await.unwrap_err();
        assert!(ConnectorError::from(error).is_io());
    }

    #[tokio::test]
    async fn a_certificate_that_no_root_vouches_for_is_refused_for_good() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok();
        });
        let error = ask(&Https::default(), &format!("https://localhost:{port}")).await.unwrap_err();
        let error = ConnectorError::from(error);
        assert!(error.is_other() && crate::error_chain(&error).contains("UnknownIssuer"), "{error:?}");
    }

    /// As after a freeze during which the other side has forgotten its connections.
    #[tokio::test]
    async fn connections_kept_beside_one_that_answers_no_more_are_given_up_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, mut heard) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let asked = asked.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    // The first two answer once; whoever comes later is answered always.
                    while stream.read(&mut request).await.unwrap_or_default() > 0 {
                        asked.send(number).unwrap();
                        stream.write_all(KEPT.as_bytes()).await.unwrap();
                        if number < 2 {
                            if stream.read(&mut request).await.unwrap_or_default() > 0 {
                                asked.send(number).unwrap();
                                return std::future::pending().await;
                            }
                            return;
                        }
                    }
                });
            }
        });
        let https = Https::default();
        https.open(&url).await;
        https.open(&url).await;
        let both = [ask(&https, &url), ask(&https, &url)];
        for answer in futures::future::join_all(both).await {
            assert_eq!(answer.unwrap(), 200);
        }
        let mut seen = [heard.recv().await, heard.recv().await];
        seen.sort();
        assert_eq!(seen, [Some(0), Some(1)]);
        // Its caller loses patience once the request is with the other side.
        tokio::select! {
            answer = ask(&https, &url) => panic!("{answer:?}"),
            number = heard.recv() => assert!(number < Some(2)),
        }
        // Its neighbour would not answer either.
        let answer = tokio::time::timeout(Duration::from_secs(5), ask(&https, &url)).await;
        assert_eq!(answer.unwrap().unwrap(), 200);
        assert_eq!(heard.recv().await, Some(2));
    }
}
