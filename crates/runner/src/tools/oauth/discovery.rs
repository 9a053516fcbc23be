//! Finds the token endpoint of an MCP server, as the authorization part of the MCP specification
//! says: the server's challenge, the metadata of the protected resource, and the metadata of its
//! authorization server.

use domain::agent::tools::{OAuth, is_scope};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use url::Url;

use super::challenge::Challenge;
use super::client::OAuthClient;
use super::endpoint::TokenEndpoint;
use super::failure::{OAuthFailure, host_of};
use super::metadata::{
    ResourceMetadata, ServerMetadata, covers, named_url, resource_metadata_urls,
    server_metadata_urls,
};
use crate::tools::failed::{is_transient, status_text};

pub(super) async fn discover(
    client: &OAuthClient,
    server: &Url,
    oauth: &OAuth,
) -> Result<TokenEndpoint, OAuthFailure> {
    let challenge = read_challenge(client, server).await?;
    let resource = find_resource(client, server, &challenge).await?;
    let mut named = resource.authorization_servers.iter();
    // Servers of the first version with authorization are their own authorization servers.
    let issuer = named
        .find_map(|name| Some((name.clone(), named_url(name, server)?)))
        .unwrap_or_else(|| (server.origin().ascii_serialization(), origin_of(server)));
    let metadata = find_server(client, &issuer.0, &issuer.1).await?;
    let url = named_url(&metadata.token_endpoint, &issuer.1);
    let scopes = resource.scopes_supported.join(" ");
    let scope = [oauth.scope.clone(), challenge.scope, Some(scopes)];
    Ok(TokenEndpoint {
        url: url.ok_or_else(|| not_found(&issuer.1, "names no valid token endpoint"))?,
        secret_method: metadata.secret_method(),
        audience: metadata.issuer,
        resource: Some(resource.resource.unwrap_or_else(|| server.to_string())),
        scope: scope.into_iter().flatten().find(|scope| is_scope(scope)),
    })
}

/// The challenge of a request without a token. Empty if the server does not require one for it.
async fn read_challenge(client: &OAuthClient, server: &Url) -> Result<Challenge, OAuthFailure> {
    let response = client.post_ping(server).await?;
    match response.status {
        StatusCode::UNAUTHORIZED => Ok(Challenge::of_response(&response.headers)),
        status if is_transient(status) => Err(unavailable(server, status)),
        _ => Ok(Challenge::default()),
    }
}

/// The metadata that the challenge names, or that is at a well-known URL.
async fn find_resource(
    client: &OAuthClient,
    server: &Url,
    challenge: &Challenge,
) -> Result<ResourceMetadata, OAuthFailure> {
    let named = challenge.resource_metadata.as_deref();
    let urls = match named.and_then(|url| named_url(url, server)) {
        Some(url) => vec![url],
        None => resource_metadata_urls(server),
    };
    let found: Option<ResourceMetadata> = first_metadata(client, urls, |_| true).await?;
    match &found {
        Some(ResourceMetadata {
            resource: Some(resource),
            ..
        }) if !covers(resource, server) => {
            Err(not_found(server, "has the metadata of another resource"))
        }
        _ => Ok(found.unwrap_or_default()),
    }
}

async fn find_server(
    client: &OAuthClient,
    name: &str,
    issuer: &Url,
) -> Result<ServerMetadata, OAuthFailure> {
    let urls = server_metadata_urls(issuer);
    let is_of = |metadata: &ServerMetadata| metadata.is_of(name);
    let found = first_metadata(client, urls, is_of).await?;
    found.ok_or_else(|| not_found(issuer, "has no metadata of an authorization server"))
}

/// The first of these documents that exists and is accepted. If there is none, a transient error
/// of one of them.
async fn first_metadata<T: DeserializeOwned>(
    client: &OAuthClient,
    urls: Vec<Url>,
    is_accepted: impl Fn(&T) -> bool,
) -> Result<Option<T>, OAuthFailure> {
    let mut failed = None;
    for url in urls {
        match client.get(&url).await {
            Ok(response) if response.status.is_success() => {
                match serde_json::from_slice(&response.body) {
                    Ok(metadata) if is_accepted(&metadata) => return Ok(Some(metadata)),
                    _ => {}
                }
            }
            Ok(response) if is_transient(response.status) => {
                failed = Some(unavailable(&url, response.status));
            }
            Ok(_) => {}
            Err(failure) if failure.is_transient() => failed = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    failed.map_or(Ok(None), Err)
}

fn unavailable(url: &Url, status: StatusCode) -> OAuthFailure {
    tracing::warn!(
        server = url.origin().ascii_serialization(),
        status = status.as_u16(),
        "metadata for an access token not available"
    );
    OAuthFailure::Unavailable {
        host: host_of(url),
        why: format!("it answered {}", status_text(status)),
    }
}

fn not_found(url: &Url, why: &str) -> OAuthFailure {
    OAuthFailure::NotFound(format!("{} {why}", host_of(url)))
}

fn origin_of(url: &Url) -> Url {
    url.join("/").unwrap_or_else(|_| url.clone())
}
