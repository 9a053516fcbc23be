//! The access tokens of a process. They are stored in memory only.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Moment;
use domain::agent::tools::OAuth;

use super::endpoint::TokenEndpoint;
use super::failure::OAuthFailure;
use super::token::AccessToken;

/// A full cache is emptied. With the longest tokens it takes 4 MiB.
const CAPACITY: usize = 256;
/// The tokens of a process, each fetched once for all runs that need it. Clones share them.
#[derive(Clone, Default)]
pub struct AccessTokens(Arc<Mutex<HashMap<TokenKey, Arc<TokenSlot>>>>);

/// Does not show the tokens.
impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokens")
    }
}

/// All that a token depends on. The secret's name is part of it, so that an agent gets no token of
/// another secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) oauth: OAuth,
    /// The URL of the MCP server.
    pub(super) resource: Option<String>,
}

/// The token of one key. Its lock is held while a token is fetched.
#[derive(Default)]
struct TokenSlot {
    state: tokio::sync::Mutex<SlotState>,
    /// The number of fetches that have ended.
    fetches: AtomicU64,
}

#[derive(Default)]
struct SlotState {
    token: Option<AccessToken>,
    /// Of the last fetch.
    failure: Option<OAuthFailure>,
    endpoint: Option<Arc<TokenEndpoint>>,
}

impl TokenKey {
    pub(super) fn new(oauth: &OAuth, resource: Option<&str>) -> Self {
        Self {
            oauth: oauth.clone(),
            resource: resource.map(str::to_owned),
        }
    }
}

impl AccessTokens {
    /// Returns the token of this key. Fetches it if there is none, if it expires soon, or if it is
    /// the one that was refused. Concurrent calls share one fetch and its failure. `fetch` gets
    /// the endpoint that issued the last token, unless that token was refused.
    pub(super) async fn get(
        &self,
        key: &TokenKey,
        now: Moment,
        refused: Option<&AccessToken>,
        fetch: impl AsyncFnOnce(
            Option<Arc<TokenEndpoint>>,
        ) -> Result<(AccessToken, Arc<TokenEndpoint>), OAuthFailure>,
    ) -> Result<AccessToken, OAuthFailure> {
        let slot = self.slot(key);
        let fetches = slot.fetches.load(Ordering::SeqCst);
        let mut state = slot.state.lock().await;
        if let Some(token) = &state.token
            && token.is_usable(now, refused)
        {
            return Ok(token.clone());
        }
        let has_waited = slot.fetches.load(Ordering::SeqCst) != fetches;
        if has_waited && let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let endpoint = state.endpoint.take();
        let fetched = fetch(endpoint.filter(|_| refused.is_none())).await;
        slot.fetches.fetch_add(1, Ordering::SeqCst);
        match fetched {
            Ok((token, endpoint)) => {
                *state = SlotState {
                    token: Some(token.clone()),
                    failure: None,
                    endpoint: Some(endpoint),
                };
                Ok(token)
            }
            Err(failure) => {
                *state = SlotState {
                    failure: Some(failure.clone()),
                    ..SlotState::default()
                };
                Err(failure)
            }
        }
    }

    fn slot(&self, key: &TokenKey) -> Arc<TokenSlot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CAPACITY && !slots.contains_key(key) {
            slots.clear();
        }
        Arc::clone(slots.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::agent::SecretName;
    use domain::agent::tools::OAuthGrant;
    use futures::future::join_all;

    use super::*;

    const NOW: Moment = Moment::from_millis(1_000_000);

    fn key(secret: &str) -> TokenKey {
        let oauth = OAuth {
            grant: OAuthGrant::ClientCredentials,
            client_id: "shop".into(),
            client_secret: Some(SecretName {
                secret: secret.into(),
            }),
            client_assertion: None,
            scope: None,
            token_url: Some("https://auth.example/token".into()),
        };
        TokenKey::new(&oauth, None)
    }

    fn after(seconds: u64) -> Moment {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn fetched(text: &str, seconds: u64) -> (AccessToken, Arc<TokenEndpoint>) {
        let token = AccessToken::new(text, Some(Duration::from_secs(seconds)), NOW).unwrap();
        let key = key("a");
        let url = key.oauth.token_url.as_deref().unwrap();
        (
            token,
            Arc::new(TokenEndpoint::configured(url, &key.oauth, None).unwrap()),
        )
    }

    #[tokio::test]
    async fn concurrent_calls_share_a_fetch_and_its_failure_and_other_secrets_get_other_tokens() {
        let (tokens, count) = (AccessTokens::default(), AtomicU64::new(0));
        let get = async |secret: &str, is_good: bool| {
            let fetch = async |_| {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                match is_good {
                    true => Ok(fetched("t", 3600)),
                    false => Err(OAuthFailure::Timeout),
                }
            };
            tokens.get(&key(secret), NOW, None, fetch).await
        };
        let failed = join_all((0..20).map(|_| get("a", false))).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let got = join_all((0..20).map(|_| get("a", true))).await;
        assert!(got.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::SeqCst), 2);
        get("b", true).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_token_is_replaced_before_it_expires_or_once_it_is_refused() {
        let tokens = AccessTokens::default();
        let get = async |now: Moment, refused: Option<&AccessToken>, next: &str| {
            let fetch = async |_| Ok(fetched(next, 600));
            let token = tokens.get(&key("a"), now, refused, fetch).await;
            token.ok().unwrap()
        };
        let first = get(NOW, None, "first").await;
        assert_eq!(get(after(539), None, "late").await.as_str(), "first");
        let second = get(after(540), None, "second").await;
        assert_eq!(second.as_str(), "second");
        // Another run has already replaced the token that was refused.
        assert_eq!(get(NOW, Some(&first), "late").await.as_str(), "second");
        assert_eq!(get(NOW, Some(&second), "third").await.as_str(), "third");
    }
}
