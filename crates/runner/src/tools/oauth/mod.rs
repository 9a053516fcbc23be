//! Access tokens for the servers of tools, by the OAuth 2 grant for client credentials
//! (RFC 6749 section 4.4).
//!
//! A run gets its tokens before it calls the model, so a retry costs no model tokens. A token is
//! shared by all runs of the process ([`AccessTokens`]) and added to the secrets of each run that
//! sends it. The endpoint is in the definition, or found by [`discovery`].

mod assertion;
mod cache;
mod challenge;
mod client;
mod discovery;
mod endpoint;
mod failure;
mod metadata;
mod reply;
mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Fault;
use domain::agent::tools::{OAuth, Tool};
use store::{Clock, Secrets};
use url::Url;

use super::ToolContext;
use crate::scrub::RunSecrets;
use crate::secrets::stored_secret;
pub use cache::AccessTokens;
use cache::TokenKey;
use client::OAuthClient;
use discovery::discover;
use endpoint::{TokenEndpoint, request_token};
pub(super) use failure::OAuthFailure;
pub(super) use token::AccessToken;

/// Time to find a token endpoint and to get a token.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Gets the access tokens of one tool. Clones share their state.
#[derive(Clone)]
pub(super) struct TokenSource(Arc<TokenSourceState>);

struct TokenSourceState {
    key: TokenKey,
    /// The client secret or the private key. Replaced when the endpoint refuses it and it has
    /// been replaced in the store.
    credential: Mutex<Arc<str>>,
    secret_store: Arc<Secrets>,
    run_secrets: RunSecrets,
    tokens: AccessTokens,
    clock: Clock,
    client: OAuthClient,
}

impl TokenSource {
    /// Reads the client's credential. `None` if the tool does not use OAuth.
    pub(super) async fn load(context: ToolContext<'_>, tool: &Tool) -> Result<Option<Self>, Fault> {
        let Some(oauth) = tool.oauth() else {
            return Ok(None);
        };
        let missing = "The secret in the `oauth` of a tool of the agent is missing";
        let credential = stored_secret(context.secret_store, oauth.secret_name(), missing).await?;
        let source = Self(Arc::new(TokenSourceState {
            key: TokenKey::new(oauth, tool.oauth_resource()),
            credential: Mutex::new(credential.as_str().into()),
            secret_store: Arc::clone(context.secret_store),
            run_secrets: context.run_secrets.clone(),
            tokens: context.access_tokens.clone(),
            clock: context.clock.clone(),
            client: OAuthClient::new(context.egress),
        }));
        source.0.add_to_run_secrets(&credential);
        Ok(Some(source))
    }

    /// A token that is valid for some time.
    pub(super) async fn token(&self) -> Result<AccessToken, OAuthFailure> {
        self.0.token_unless(None).await
    }

    /// Another token than this one, which the tool's server refused.
    pub(super) async fn renew(&self, refused: &AccessToken) -> Result<AccessToken, OAuthFailure> {
        self.0.token_unless(Some(refused)).await
    }
}

impl TokenSourceState {
    async fn token_unless(
        &self,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken, OAuthFailure> {
        let now = self.clock.now();
        let fetch = async |endpoint| {
            let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(endpoint)).await;
            fetched.unwrap_or(Err(OAuthFailure::Timeout))
        };
        let token = self.tokens.get(&self.key, now, refused, fetch).await?;
        self.run_secrets.add([token.as_str()]);
        Ok(token)
    }

    async fn fetch(
        &self,
        endpoint: Option<Arc<TokenEndpoint>>,
    ) -> Result<(AccessToken, Arc<TokenEndpoint>), OAuthFailure> {
        let endpoint = match endpoint {
            Some(endpoint) => endpoint,
            None => Arc::new(self.find_endpoint().await?),
        };
        let credential = Arc::clone(
            &self
                .credential
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let mut fetched = self.request(&endpoint, &credential).await;
        // A process caches secrets for some minutes.
        if let Err(OAuthFailure::Refused(refusal)) = &fetched
            && refusal.is_client_refused()
            && let Some(newer) = self.replaced_credential(&credential).await
        {
            fetched = self.request(&endpoint, &newer).await;
        }
        Ok((fetched?, endpoint))
    }

    async fn request(
        &self,
        endpoint: &TokenEndpoint,
        credential: &str,
    ) -> Result<AccessToken, OAuthFailure> {
        let now = self.clock.now();
        request_token(&self.client, endpoint, &self.key.oauth, credential, now).await
    }

    async fn replaced_credential(&self, refused: &str) -> Option<Arc<str>> {
        let name = self.key.oauth.secret_name();
        let newer = self.secret_store.get_if_replaced(name, refused).await;
        let newer: Arc<str> = newer.ok()??.into();
        self.add_to_run_secrets(&newer);
        let mut current = self
            .credential
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::clone(&newer);
        Some(newer)
    }

    async fn find_endpoint(&self) -> Result<TokenEndpoint, OAuthFailure> {
        let TokenKey { oauth, resource } = &self.key;
        match (&oauth.token_url, resource) {
            (Some(url), resource) => TokenEndpoint::configured(url, oauth, resource.clone()),
            (None, Some(resource)) => {
                let server = Url::parse(resource).map_err(|_| OAuthFailure::NotAUrl)?;
                discover(&self.client, &server, oauth).await
            }
            (None, None) => Err(OAuthFailure::NotAUrl),
        }
    }

    /// A private key is not sent, so no server can send it back.
    fn add_to_run_secrets(&self, credential: &str) {
        let OAuth {
            client_id,
            client_assertion,
            ..
        } = &self.key.oauth;
        if client_assertion.is_none() {
            let basic = endpoint::basic_credentials(client_id, credential);
            self.run_secrets.add([credential, basic.as_str()]);
        }
    }
}
