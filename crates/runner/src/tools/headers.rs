//! The headers that are sent to a tool's server, and the secrets in them.

use std::collections::BTreeMap;

use domain::agent::tools::HeaderSource;
use domain::{ErrorType, Fault};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::ToolContext;
use super::oauth::AccessToken;
use crate::secrets::stored_secret;

/// The headers of every call to one tool's server.
#[derive(Clone, Default)]
pub(super) struct ToolHeaders {
    pub(super) map: HeaderMap,
    /// Name and value of each stored secret in the headers.
    stored: Vec<(String, String)>,
}

impl ToolHeaders {
    /// Builds the headers of the definition. Reads their secrets from the secret store, and
    /// adds them to the secrets of the run.
    pub(super) async fn load(
        context: ToolContext<'_>,
        sources: &BTreeMap<String, HeaderSource>,
    ) -> Result<Self, Fault> {
        let (mut map, mut stored) = (HeaderMap::new(), Vec::new());
        for (name, source) in sources {
            let value = match source {
                HeaderSource::Plain(value) => value.clone(),
                HeaderSource::Stored(source) => {
                    let missing = "A secret of the agent's tools is missing";
                    let secret =
                        stored_secret(context.secret_store, &source.secret, missing).await?;
                    let value = format!("{}{secret}", source.prefix);
                    stored.push((source.secret.clone(), secret));
                    value
                }
            };
            let (name, value) = sensitive_header(name, &value).ok_or_else(unsendable)?;
            map.insert(name, value);
        }
        context
            .run_secrets
            .add(stored.iter().map(|(_, secret)| secret.as_str()));
        Ok(Self { map, stored })
    }

    /// The same headers with this access token.
    pub(super) fn with_token(&self, token: Option<&AccessToken>) -> Self {
        let mut headers = self.clone();
        if let Some(token) = token {
            headers.map.insert(AUTHORIZATION, token.header().clone());
        }
        headers
    }

    /// The same headers with the secrets that have replaced those that were sent, or `None` if
    /// no secret was replaced. For a request that the server refused, because a process caches
    /// secrets for some minutes.
    pub(super) async fn renewed(
        &self,
        context: ToolContext<'_>,
        sources: &BTreeMap<String, HeaderSource>,
    ) -> Option<Self> {
        let mut is_replaced = false;
        for (name, sent) in &self.stored {
            is_replaced |= matches!(
                context.secret_store.get_if_replaced(name, sent).await,
                Ok(Some(_))
            );
        }
        if is_replaced {
            Self::load(context, sources).await.ok()
        } else {
            None
        }
    }
}

/// A header whose value is hidden in debug output.
pub(super) fn sensitive_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
}

fn unsendable() -> Fault {
    Fault::permanent(
        ErrorType::InvalidAgent,
        "A secret of the agent's tools cannot be sent as a header: it must be printable characters in one line",
    )
}
