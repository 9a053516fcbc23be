//! Requests to authorization servers, and for metadata. Addresses are checked, redirects are not
//! followed, and responses are bounded in size and time.

use std::time::Duration;

use domain::AgentId;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use store::error_chain;
use url::Url;

use super::failure::OAuthFailure;
use crate::egress::{Egress, RefusedAddress, on_connection_threads, refused_in};
use crate::memory::RunMemory;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a response.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// A client for the attempt that it is made in.
pub(super) struct OAuthClient {
    egress: Egress,
    agent: Option<AgentId>,
}

pub(super) struct OAuthResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Empty if it has too many bytes.
    pub(super) body: Vec<u8>,
}

impl OAuthClient {
    pub(super) fn new(egress: &Egress) -> Self {
        Self {
            egress: egress.clone(),
            agent: RunMemory::current().agent(),
        }
    }

    pub(super) async fn get(&self, url: &Url) -> Result<OAuthResponse, OAuthFailure> {
        self.send(url, |client| client.get(url.clone())).await
    }

    /// Sends a form with these headers.
    pub(super) async fn post_form(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        form: String,
    ) -> Result<OAuthResponse, OAuthFailure> {
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        let build = |client: &Client| client.post(url.clone()).headers(headers).body(form);
        self.send(url, build).await
    }

    /// Sends a message to an MCP server without credentials, to learn what it requires.
    pub(super) async fn post_ping(&self, url: &Url) -> Result<OAuthResponse, OAuthFailure> {
        let ping = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        let accept = "application/json, text/event-stream";
        let build = |client: &Client| client.post(url.clone()).header(ACCEPT, accept).json(&ping);
        self.send_for_headers(url, build).await
    }

    async fn send(
        &self,
        url: &Url,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<OAuthResponse, OAuthFailure> {
        let build = |client: &Client| build(client).header(ACCEPT, "application/json");
        let exchange = async {
            let mut response = self.begin(url, build).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            let failed = |error| request_failure(url, error);
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                    body.clear();
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            Ok(OAuthResponse {
                status,
                headers,
                body,
            })
        };
        in_time(url, exchange).await
    }

    /// The body may be without end, and is not read.
    async fn send_for_headers(
        &self,
        url: &Url,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<OAuthResponse, OAuthFailure> {
        let response = in_time(url, self.begin(url, build)).await?;
        Ok(OAuthResponse {
            status: response.status(),
            headers: response.headers().clone(),
            body: Vec::new(),
        })
    }

    async fn begin(
        &self,
        url: &Url,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<reqwest::Response, OAuthFailure> {
        let client = self.egress.client_for(url);
        let client = client.map_err(|refused| address_refused(&refused))?;
        on_connection_threads(self.agent, build(&client).send())
            .await
            .map_err(|error| request_failure(url, error))
    }
}

async fn in_time<T>(
    url: &Url,
    exchange: impl Future<Output = Result<T, OAuthFailure>>,
) -> Result<T, OAuthFailure> {
    match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
        Ok(exchanged) => exchanged,
        Err(_) => Err(OAuthFailure::unavailable(url, "it did not answer in time")),
    }
}

fn address_refused(refused: &RefusedAddress) -> OAuthFailure {
    tracing::error!(%refused, "request for an access token refused");
    OAuthFailure::NotAllowed
}

fn request_failure(url: &Url, error: reqwest::Error) -> OAuthFailure {
    if let Some(refused) = refused_in(&error) {
        return address_refused(refused);
    }
    let is_connect = error.is_connect();
    tracing::warn!(
        server = url.origin().ascii_serialization(),
        error = error_chain(&error.without_url()),
        "request for an access token failed"
    );
    OAuthFailure::unavailable(
        url,
        match is_connect {
            true => "it could not be reached",
            false => "the connection broke",
        },
    )
}
