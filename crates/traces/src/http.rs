//! The exporter's HTTP client. It uses `reqwest`, which the product already contains. The operator
//! configures the collector, so private hosts are allowed.

use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect;

#[derive(Debug)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    /// On Lambda, each export opens a new connection: Lambda freezes the process after each
    /// export, and a frozen process does not notice that the collector closed the connection.
    pub(crate) fn new(patience: Duration, is_lambda: bool) -> Result<Self, reqwest::Error> {
        // Fails if it is already installed in this process, which is fine.
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
        let response = self.0.execute(request.try_into()?).await?;
        // The body is not used.
        let status = response.status();
        Ok(Response::builder().status(status).body(Bytes::new())?)
    }
}
