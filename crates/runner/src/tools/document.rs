//! Downloads an OpenAPI document.

use domain::{DownloadedDocument, ErrorType, TrialError};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, LOCATION};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::ToolContext;
use super::call::CallError;
use super::failed::{address_refused, connection_failed};
use crate::egress::on_connection_threads;
use crate::memory::RunMemory;

/// The largest document. A Lambda function can return 6 MB.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Its most bytes as a JSON string, in which quotes and line feeds take two bytes.
const MAX_ESCAPED_BYTES: usize = 5 * 1024 * 1024;
const MAX_REDIRECTS: usize = 5;

impl From<CallError> for TrialError {
    fn from(CallError(message): CallError) -> Self {
        Self::new(ErrorType::ToolError, message)
    }
}

/// Downloads a text. Every address on the way must be allowed.
pub(crate) async fn download_document(
    context: ToolContext<'_>,
    url: &str,
) -> Result<DownloadedDocument, TrialError> {
    let failed = |message: &str| TrialError::new(ErrorType::InvalidAgent, message);
    let mut url = Url::parse(url).map_err(|_| failed("The address is not a URL"))?;
    for _ in 0..=MAX_REDIRECTS {
        let client = context.egress.client_for(&url);
        let response = get(&client.map_err(|refused| address_refused(&refused))?, &url).await?;
        if let Some(target) = redirect_target(&url, &response) {
            url = target;
            continue;
        }
        let status = response.status();
        if !status.is_success() {
            return Err(not_downloaded(status));
        }
        let text = String::from_utf8(read(response).await?)
            .map_err(|_| failed("The document is not UTF-8; save it as UTF-8"))?;
        let escaped = text.len() + text.bytes().filter(|byte| is_escaped(*byte)).count();
        if escaped > MAX_ESCAPED_BYTES {
            return Err(too_large());
        }
        let url = url.to_string();
        return Ok(DownloadedDocument { text, url });
    }
    Err(failed("The address leads to endless redirects"))
}

async fn get(client: &Client, url: &Url) -> Result<Response, CallError> {
    let request = client
        .get(url.clone())
        .header(ACCEPT, "application/json, application/yaml, */*;q=0.5")
        // A compressed response could be many times larger than it seems.
        .header(ACCEPT_ENCODING, "identity");
    on_connection_threads(RunMemory::current().agent(), request.send())
        .await
        .map_err(connection_failed)
}

fn redirect_target(url: &Url, response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location)
        .ok()
        // A redirect from https to http could be changed on the way.
        .filter(|target| target.scheme() == "https" || target.scheme() == url.scheme())
}

fn not_downloaded(status: StatusCode) -> TrialError {
    let message = format!(
        "The server answered {status}; download the document and upload it, or paste its text"
    );
    TrialError::new(ErrorType::ToolError, message)
}

async fn read(mut response: Response) -> Result<Vec<u8>, TrialError> {
    let memory = RunMemory::current();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connection_failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(too_large());
        }
        memory.before_reading_more(bytes.len() + chunk.len()).await;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

const fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn too_large() -> TrialError {
    let message = "The document is larger than 4 MiB; import it with `agent-webhooks agent tool add --openapi`";
    TrialError::new(ErrorType::InvalidAgent, message)
}
