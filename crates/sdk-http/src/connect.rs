//! Opens connections: DNS, TCP and TLS with `ring` and the system's CA certificates.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use http::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::ca_certificates::trusted_certificates;
use crate::error::HttpError;

/// For DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, as in the URL of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn from_uri(uri: &Uri) -> Result<Self, HttpError> {
        let is_tls = uri.scheme_str() != Some("http");
        let host = uri.host().ok_or(HttpError::NoHost)?.to_owned();
        Ok(Self {
            is_tls,
            host,
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
        })
    }
}

pub(crate) async fn connect(origin: &Origin) -> Result<SendRequest<SdkBody>, HttpError> {
    timeout(CONNECT_TIMEOUT, connect_without_timeout(origin))
        .await
        .unwrap_or(Err(HttpError::ConnectTimeout(CONNECT_TIMEOUT)))
}

async fn connect_without_timeout(origin: &Origin) -> Result<SendRequest<SdkBody>, HttpError> {
    // Only URLs have brackets around IPv6 addresses.
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let connected = async {
        let stream = TcpStream::connect((host, origin.port))
            .await
            .map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        Ok(stream)
    };
    if !origin.is_tls {
        return handshake(connected.await?).await;
    }
    let (stream, config) = tokio::try_join!(connected, tls_config())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpError::NoHost)?;
    handshake(
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(HttpError::Connect)?,
    )
    .await
}

async fn handshake<S>(stream: S) -> Result<SendRequest<SdkBody>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HttpError::Exchange)?;
    // An error of the connection is also returned to its pending request.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

/// The configuration that all connections share. The CA certificates are read once, on
/// another thread, while the first TCP connection is opened.
async fn tls_config() -> Result<Arc<ClientConfig>, HttpError> {
    static TLS: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let set_up = async || {
        let certificates = spawn_blocking(trusted_certificates)
            .await
            .map_err(HttpError::CaCertificates)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpError::Tls)?
            .with_root_certificates(certificates)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    TLS.get_or_try_init(set_up).await.cloned()
}
