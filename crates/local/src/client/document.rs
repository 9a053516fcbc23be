//! Reads an OpenAPI document from a file, a URL or standard input.

use std::io::Read;
use std::time::Duration;

use domain::agent::tools::parse_api_document;
use reqwest::redirect::Policy;
use serde_json::Value;
use url::{Host, Url};

use super::ClientError;

/// The largest public documents have about 40 MB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 5;

/// A document, and the URL that it was read from.
pub(super) struct ApiDocument {
    pub(super) value: Value,
    pub(super) url: Option<String>,
}

/// Reads JSON or YAML. `source` is a file, a URL, or `-` for standard input.
pub(super) async fn read_document(source: &str) -> Result<ApiDocument, ClientError> {
    let (bytes, url) = match Url::parse(source) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {
            let (bytes, url) = download(url).await?;
            (bytes, Some(url.to_string()))
        }
        _ => (read_local(source)?, None),
    };
    let text = String::from_utf8(bytes).map_err(|_| ClientError::Document {
        file: source.to_owned(),
        reason: "is not UTF-8; save it as UTF-8".to_owned(),
    })?;
    let value = parse_api_document(&text).map_err(|error| ClientError::NotYaml {
        what: source.to_owned(),
        source: error,
    })?;
    Ok(ApiDocument { value, url })
}

fn read_local(source: &str) -> Result<Vec<u8>, ClientError> {
    let what = || match source {
        "-" => "standard input".to_owned(),
        file => file.to_owned(),
    };
    let failed = |error| ClientError::Read {
        what: what(),
        source: error,
    };
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    match source {
        "-" => std::io::stdin().take(most).read_to_end(&mut bytes),
        file => {
            let file = std::fs::File::open(file).map_err(failed)?;
            file.take(most).read_to_end(&mut bytes)
        }
    }
    .map_err(failed)?;
    match bytes.len() > MAX_BYTES {
        true => Err(too_large(&what())),
        false => Ok(bytes),
    }
}

fn too_large(what: &str) -> ClientError {
    ClientError::Document {
        file: what.to_owned(),
        reason: "is larger than 64 MiB; keep only the operations that the agent needs".to_owned(),
    }
}

/// Whether a document may be read from this URL. Others could be changed on their way.
fn is_trusted(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

/// Returns the document and the URL after redirects.
async fn download(url: Url) -> Result<(Vec<u8>, Url), ClientError> {
    if !is_trusted(&url) {
        return Err(ClientError::Usage(
            "--openapi with a URL needs https, or http on this machine; download the document first and pass the file",
        ));
    }
    let what = url.to_string();
    let failed = |source: reqwest::Error| ClientError::Download {
        url: what.clone(),
        source: source.without_url(),
    };
    let redirects = Policy::custom(|attempt| {
        match attempt.previous().len() <= MAX_REDIRECTS && is_trusted(attempt.url()) {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirects)
        .build();
    let call = client.map_err(failed)?.get(url);
    let mut response = call.send().await.map_err(failed)?;
    if !response.status().is_success() {
        let status = response.status();
        return Err(ClientError::Document {
            file: what,
            reason: format!(
                "the server answered {status}; download the document and pass the file"
            ),
        });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(too_large(&what));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, response.url().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_from_https_or_this_machine() {
        for (url, expected) in [
            ("https://api.example/openapi.json", true),
            ("http://127.0.0.1:8000/openapi.json", true),
            ("http://localhost/openapi.json", true),
            ("http://[::1]/x", true),
            ("http://api.example/openapi.json", false),
            ("http://127.0.0.1.example/x", false),
        ] {
            assert_eq!(is_trusted(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
