//! The HTTP client of the AWS clients: HTTP/1.1, which is all that the services support,
//! over rustls with `ring` and the system's CA certificates. The SDK's own client parses
//! all CA certificates again for each service, includes HTTP/2 and proxies, and cannot
//! connect before the first request.

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

use crate::ca_certificates::trusted_certificates;

/// For DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an idle connection may take to finish its previous request.
const READY_TIMEOUT: Duration = Duration::from_millis(50);
/// Servers close idle connections, and we may miss the FIN.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection pool. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Https(Arc<Mutex<HashMap<Origin, Vec<IdleConnection>>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

struct IdleConnection {
    connection: SendRequest<SdkBody>,
    /// The wall clock, which continues while Lambda freezes the process.
    since: SystemTime,
}

/// Guard for a request on a pooled connection. If the request fails, the other idle
/// connections to this origin are evicted too, because they have been idle as long.
struct EvictOnFailure<'a> {
    pool: Option<&'a Https>,
    origin: &'a Origin,
}

#[derive(Debug, thiserror::Error)]
enum HttpsError {
    #[error("the URL has no host")]
    NoHost,
    #[error("failed to connect within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("failed to read the CA certificates")]
    CaCertificates(#[source] JoinError),
    #[error("failed to send the request or read the response")]
    Exchange(#[source] hyper::Error),
}

impl Https {
    /// Opens a connection in advance. If that fails, the first request connects again and
    /// returns the error.
    pub(crate) async fn open(&self, url: &str) {
        let Ok(uri) = url.parse() else { return };
        if let Ok(origin) = Origin::from_uri(&uri)
            && let Ok(connection) = connect(&origin).await
        {
            self.store_idle(origin, connection);
        }
    }

    async fn exchange(&self, mut request: Request<SdkBody>) -> Result<Response<SdkBody>, HttpsError> {
        let origin = Origin::from_uri(request.uri())?;
        set_host(&mut request, &origin);
        loop {
            let (mut connection, guard) = match self.reuse_idle(&origin).await {
                Some(connection) => (connection, Some(EvictOnFailure { pool: Some(self), origin: &origin })),
                None => (connect(&origin).await?, None),
            };
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let response = self.read_response(&origin, connection, response).await?;
                    if let Some(guard) = guard {
                        guard.disarm();
                    }
                    return Ok(response);
                }
                Err(mut failure) => match (failure.take_message(), guard) {
                    // The connection was closed before any of the request was sent. The
                    // other idle connections may still be open.
                    (Some(unsent), Some(guard)) => {
                        guard.disarm();
                        request = unsent;
                    }
                    _ => return Err(HttpsError::Exchange(failure.into_error())),
                },
            }
        }
    }

    /// Reads the whole body and returns the connection to the pool.
    async fn read_response(
        &self,
        origin: &Origin,
        connection: SendRequest<SdkBody>,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<SdkBody>, HttpsError> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(HttpsError::Exchange)?.to_bytes();
        // After a 5xx, a new connection may reach a healthy host of the service.
        if !parts.status.is_server_error() {
            self.store_idle(origin.clone(), connection);
        }
        Ok(Response::from_parts(parts, SdkBody::from(body)))
    }

    fn store_idle(&self, origin: Origin, connection: SendRequest<SdkBody>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.entry(origin).or_default();
        idle.retain(IdleConnection::is_fresh);
        idle.push(IdleConnection { connection, since: SystemTime::now() });
    }

    /// Returns the most recently used connection that is still open.
    async fn reuse_idle(&self, origin: &Origin) -> Option<SendRequest<SdkBody>> {
        loop {
            let mut idle = self.take_idle(origin)?;
            if !idle.is_fresh() {
                continue;
            }
            // A connection never becomes ready again if the response came before the whole
            // request was sent.
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, idle.connection.ready()).await {
                return Some(idle.connection);
            }
        }
    }

    fn take_idle(&self, origin: &Origin) -> Option<IdleConnection> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(origin)?.pop()
    }
}

impl IdleConnection {
    fn is_fresh(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < IDLE_TIMEOUT)
    }
}

impl EvictOnFailure<'_> {
    fn disarm(mut self) {
        self.pool = None;
    }
}

impl Drop for EvictOnFailure<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            pool.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.origin);
        }
    }
}

impl Origin {
    fn from_uri(uri: &Uri) -> Result<Self, HttpsError> {
        let is_tls = uri.scheme_str() != Some("http");
        let host = uri.host().ok_or(HttpsError::NoHost)?.to_owned();
        Ok(Self { is_tls, host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) })
    }
}

/// Sets the Host header and leaves only path and query, as servers expect without a proxy.
fn set_host(request: &mut Request<SdkBody>, origin: &Origin) {
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
    timeout(CONNECT_TIMEOUT, connect_without_timeout(origin)).await.unwrap_or(Err(HttpsError::ConnectTimeout))
}

async fn connect_without_timeout(origin: &Origin) -> Result<SendRequest<SdkBody>, HttpsError> {
    // Only URLs have brackets around IPv6 addresses.
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let connected = async {
        let stream = TcpStream::connect((host, origin.port)).await.map_err(HttpsError::Connect)?;
        stream.set_nodelay(true).map_err(HttpsError::Connect)?;
        Ok(stream)
    };
    if !origin.is_tls {
        return handshake(connected.await?).await;
    }
    let (stream, config) = tokio::try_join!(connected, tls_config())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpsError::NoHost)?;
    handshake(TlsConnector::from(config).connect(name, stream).await.map_err(HttpsError::Connect)?).await
}

async fn handshake<S>(stream: S) -> Result<SendRequest<SdkBody>, HttpsError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(HttpsError::Exchange)?;
    // An error of the connection is also returned to its pending request.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

/// The configuration that all connections share. The CA certificates are read once, on
/// another thread, while the first TCP connection is opened.
async fn tls_config() -> Result<Arc<ClientConfig>, HttpsError> {
    static TLS: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let set_up = async || {
        let certificates = spawn_blocking(trusted_certificates).await.map_err(HttpsError::CaCertificates)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpsError::Tls)?
            .with_root_certificates(certificates)
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
    /// The SDK retries only `io` and `timeout` errors.
    fn from(error: HttpsError) -> Self {
        match &error {
            HttpsError::NoHost => Self::user(error.into()),
            HttpsError::ConnectTimeout => Self::timeout(error.into()),
            HttpsError::Tls(_) | HttpsError::CaCertificates(_) => Self::other(error.into(), None),
            // rustls returns `InvalidData` for a certificate that is not trusted.
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

    const KEEP_ALIVE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const CLOSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    const SERVER_ERROR: &str = "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno";

    /// Starts a server that always sends the same response, and counts its connections.
    async fn server(response: &'static str, hangs_up: bool) -> (String, Arc<AtomicUsize>) {
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
                        stream.write_all(response.as_bytes()).await.unwrap();
                        if hangs_up {
                            return;
                        }
                    }
                });
            }
        });
        (url, connections)
    }

    async fn get(https: &Https, url: &str) -> Result<u16, HttpsError> {
        let request = Request::get(format!("{url}/a?b=c")).body(SdkBody::empty()).unwrap();
        https.exchange(request).await.map(|response| response.status().as_u16())
    }

    async fn until_closed(https: &Https) {
        while https.0.lock().unwrap().values().flatten().any(|idle| !idle.connection.is_closed()) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn requests_share_a_connection_opened_in_advance() {
        let (url, connections) = server(KEEP_ALIVE, false).await;
        let https = Https::default();
        https.open(&url).await;
        for _ in 0..3 {
            assert_eq!(get(&https, &url).await.unwrap(), 200);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_on_a_closed_connection_is_sent_again_on_a_new_one() {
        for (response, hangs_up) in [(CLOSE, false), (KEEP_ALIVE, true)] {
            let (url, connections) = server(response, hangs_up).await;
            let https = Https::default();
            for _ in 0..3 {
                assert_eq!(get(&https, &url).await.unwrap(), 200);
                until_closed(&https).await;
            }
            assert_eq!(connections.load(Ordering::SeqCst), 3);
        }
    }

    #[tokio::test]
    async fn after_a_server_error_the_next_request_uses_a_new_connection() {
        let (url, connections) = server(SERVER_ERROR, false).await;
        let https = Https::default();
        for _ in 0..2 {
            assert_eq!(get(&https, &url).await.unwrap(), 500);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_refused_connection_is_a_retryable_error() {
        let https = Https::default();
        // The port of a closed listener.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        https.open(&format!("http://{gone}")).await;
        let error = get(&https, &format!("http://{gone}")).await.unwrap_err();
        assert!(ConnectorError::from(error).is_io());
    }

    #[tokio::test]
    async fn a_certificate_of_an_unknown_issuer_is_a_permanent_error() {
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
        let error = get(&Https::default(), &format!("https://localhost:{port}")).await.unwrap_err();
        let error = ConnectorError::from(error);
        assert!(error.is_other() && crate::error_chain(&error).contains("UnknownIssuer"), "{error:?}");
    }

    /// As after a freeze during which the server dropped its connections.
    #[tokio::test]
    async fn a_request_that_gets_no_response_evicts_the_other_idle_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (received, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let received = received.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    // The first two connections respond once, all later ones always.
                    while stream.read(&mut request).await.unwrap_or_default() > 0 {
                        received.send(number).unwrap();
                        stream.write_all(KEEP_ALIVE.as_bytes()).await.unwrap();
                        if number < 2 {
                            if stream.read(&mut request).await.unwrap_or_default() > 0 {
                                received.send(number).unwrap();
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
        let both = [get(&https, &url), get(&https, &url)];
        for status in futures::future::join_all(both).await {
            assert_eq!(status.unwrap(), 200);
        }
        let mut seen = [receiver.recv().await, receiver.recv().await];
        seen.sort();
        assert_eq!(seen, [Some(0), Some(1)]);
        // The caller gives up once the server has received the request.
        tokio::select! {
            status = get(&https, &url) => panic!("{status:?}"),
            number = receiver.recv() => assert!(number < Some(2)),
        }
        // The other idle connection would not respond either.
        let status = tokio::time::timeout(Duration::from_secs(5), get(&https, &url)).await;
        assert_eq!(status.unwrap().unwrap(), 200);
        assert_eq!(receiver.recv().await, Some(2));
    }
}
