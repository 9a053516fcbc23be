//! The headers that go to a tool's server, and the secrets among them.

use std::collections::BTreeMap;

use domain::agent::HeaderSource;
use domain::{ErrorType, Fault};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::scrub::RunSecrets;
use crate::{Runner, drive};

/// What one tool's server is sent with every call.
#[derive(Default)]
pub(super) struct Headers {
    pub(super) map: HeaderMap,
    /// Name and value of each stored secret that was sent.
    stored: Vec<(String, String)>,
}

impl Headers {
    /// As the definition says, the secrets read from their store and added to those of
    /// the run.
    pub(super) async fn read(
        runner: &Runner,
        sources: &BTreeMap<String, HeaderSource>,
        secrets: &RunSecrets,
    ) -> Result<Self, Fault> {
        let (mut map, mut stored) = (HeaderMap::new(), Vec::new());
        for (name, source) in sources {
            let value = match source {
                HeaderSource::Plain(value) => value.clone(),
                HeaderSource::Stored(source) => {
                    let missing = "A secret of the agent's tools is missing";
                    let secret = drive::stored_secret(runner, &source.secret, missing).await?;
                    let value = format!("{}{secret}", source.prefix);
                    stored.push((source.secret.clone(), secret));
                    value
                }
            };
            let (name, value) = header(name, &value).ok_or_else(unsendable)?;
            map.insert(name, value);
        }
        secrets.add(stored.iter().map(|(_, secret)| secret.as_str()));
        Ok(Self { map, stored })
    }

    /// The same headers with the secrets that have replaced those that were sent; `None`
    /// if none was replaced. For a request that its server refused: a process remembers
    /// secrets for some minutes.
    pub(super) async fn renewed(
        &self,
        runner: &Runner,
        sources: &BTreeMap<String, HeaderSource>,
        secrets: &RunSecrets,
    ) -> Option<Self> {
        let mut is_replaced = false;
        for (name, sent) in &self.stored {
            is_replaced |= matches!(runner.secrets.replaced(name, sent).await, Ok(Some(_)));
        }
        if is_replaced { Self::read(runner, sources, secrets).await.ok() } else { None }
    }
}

/// A header whose value shows itself in no debug print.
pub(super) fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
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
