//! The client as the SDK sees it: one request over a pooled or a new connection.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::SendRequest;

use crate::connect::{Origin, connect};
use crate::error::HttpError;
use crate::pool::{ConnectionPool, EvictOnFailure};

/// Sends the requests of the AWS SDK. Clones share their connections.
#[derive(Clone, Default)]
pub struct AwsHttpClient {
    pool: ConnectionPool,
}

impl AwsHttpClient {
    /// Opens a connection in advance. If that fails, the first request connects again and
    /// returns the error.
    pub async fn open(&self, url: &str) {
        let Ok(uri) = url.parse() else { return };
        if let Ok(origin) = Origin::from_uri(&uri)
            && let Ok(connection) = connect(&origin).await
        {
            self.pool.store_idle(origin, connection);
        }
    }

    async fn exchange(
        &self,
        mut request: Request<SdkBody>,
    ) -> Result<Response<SdkBody>, HttpError> {
        let origin = Origin::from_uri(request.uri())?;
        set_host(&mut request, &origin);
        loop {
            let (mut connection, guard) = match self.pool.reuse_idle(&origin).await {
                Some(connection) => (connection, Some(EvictOnFailure::arm(&self.pool, &origin))),
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
                    _ => return Err(HttpError::Exchange(failure.into_error())),
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
    ) -> Result<Response<SdkBody>, HttpError> {
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(HttpError::Exchange)?
            .to_bytes();
        // After a 5xx, a new connection may reach a healthy host of the service.
        if !parts.status.is_server_error() {
            self.pool.store_idle(origin.clone(), connection);
        }
        Ok(Response::from_parts(parts, SdkBody::from(body)))
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

impl fmt::Debug for AwsHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsHttpClient")
    }
}

impl HttpClient for AwsHttpClient {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for AwsHttpClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = client
                .exchange(request)
                .await
                .map_err(ConnectorError::from)?;
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

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

    async fn get(client: &AwsHttpClient, url: &str) -> Result<u16, HttpError> {
        let request = Request::get(format!("{url}/a?b=c"))
            .body(SdkBody::empty())
            .unwrap();
        client
            .exchange(request)
            .await
            .map(|response| response.status().as_u16())
    }

    async fn until_closed(client: &AwsHttpClient) {
        while !client.pool.all_are_closed() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn requests_share_a_connection_opened_in_advance() {
        let (url, connections) = server(KEEP_ALIVE, false).await;
        let client = AwsHttpClient::default();
        client.open(&url).await;
        for _ in 0..3 {
            assert_eq!(get(&client, &url).await.unwrap(), 200);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_on_a_closed_connection_is_sent_again_on_a_new_one() {
        for (response, hangs_up) in [(CLOSE, false), (KEEP_ALIVE, true)] {
            let (url, connections) = server(response, hangs_up).await;
            let client = AwsHttpClient::default();
            for _ in 0..3 {
                assert_eq!(get(&client, &url).await.unwrap(), 200);
                until_closed(&client).await;
            }
            assert_eq!(connections.load(Ordering::SeqCst), 3);
        }
    }

    #[tokio::test]
    async fn after_a_server_error_the_next_request_uses_a_new_connection() {
        let (url, connections) = server(SERVER_ERROR, false).await;
        let client = AwsHttpClient::default();
        for _ in 0..2 {
            assert_eq!(get(&client, &url).await.unwrap(), 500);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_refused_connection_is_a_retryable_error() {
        let client = AwsHttpClient::default();
        // The port of a closed listener.
        let gone = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        client.open(&format!("http://{gone}")).await;
        let error = get(&client, &format!("http://{gone}")).await.unwrap_err();
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
            TlsAcceptor::from(Arc::new(config))
                .accept(stream)
                .await
                .ok();
        });
        let error = get(
            &AwsHttpClient::default(),
            &format!("https://localhost:{port}"),
        )
        .await
        .unwrap_err();
        let error = ConnectorError::from(error);
        assert!(
            error.is_other() && format!("{error:?}").contains("UnknownIssuer"),
            "{error:?}"
        );
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
        let client = AwsHttpClient::default();
        client.open(&url).await;
        client.open(&url).await;
        let (first, second) = tokio::join!(get(&client, &url), get(&client, &url));
        assert_eq!((first.unwrap(), second.unwrap()), (200, 200));
        let mut seen = [receiver.recv().await, receiver.recv().await];
        seen.sort();
        assert_eq!(seen, [Some(0), Some(1)]);
        // The caller gives up once the server has received the request.
        tokio::select! {
            status = get(&client, &url) => panic!("{status:?}"),
            number = receiver.recv() => assert!(number < Some(2)),
        }
        // The other idle connection would not respond either.
        let status = tokio::time::timeout(Duration::from_secs(5), get(&client, &url)).await;
        assert_eq!(status.unwrap().unwrap(), 200);
        assert_eq!(receiver.recv().await, Some(2));
    }
}
