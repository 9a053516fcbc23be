//! The exporter's way to its collector, by the HTTP client that the product has
//! anyway. The operator names the collector, so it may be a private host.

use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect;

#[derive(Debug)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    /// Lambda freezes the process after each export, and a frozen process misses that the
    /// collector has closed the connection: there each export has a connection of its own.
    pub(crate) fn new(patience: Duration, is_lambda: bool) -> Result<Self, reqwest::Error> {
        // Installed once a process; a second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(patience)
            .pool_max_idle_per_host(if is_lambda { 0 } else { usize::MAX })
            .redirect(redirect::Policy::none())
            .no_proxy();
        client.build().map(Self)
    }
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.execute(request.try_into()?).await?;
        // Nothing is made of its body: a collector may say what it likes.
        let status = answer.status();
        Ok(Response::builder().status(status).body(Bytes::new())?)
    }
}
