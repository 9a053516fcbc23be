//! The headers that go to a tool's server, and the secrets among them.

use std::collections::BTreeMap;

use domain::agent::HeaderSource;
use domain::{ErrorType, Fault};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{Runner, drive};

/// A shorter secret is no secret, and striking it out would garble what is told.
const SHORTEST_SECRET: usize = 6;
/// A shorter beginning of one tells nothing.
const SHORTEST_PART: usize = 4;

pub(super) struct Headers {
    pub(super) map: HeaderMap,
    /// Name and value of each stored secret that was sent.
    stored: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Headers {
    /// As the definition says, the secrets read from their store.
    pub(super) async fn read(
        runner: &Runner,
        sources: &BTreeMap<String, HeaderSource>,
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
        let mut secrets: Vec<String> = stored.iter().map(|(_, secret)| secret.clone()).collect();
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        let escaped: Vec<String> = secrets
            .iter()
            .flat_map(|secret| [secret.replace('/', "\\/"), secret.replace('"', "\\\"")])
            .filter(|escaped| !secrets.contains(escaped))
            .collect();
        secrets.extend(escaped);
        Ok(Self { map, stored, secrets })
    }

    /// The same headers with the secrets that have replaced those that were sent; `None`
    /// if none was replaced. For a request that its server refused: a process remembers
    /// secrets for some minutes.
    pub(super) async fn renewed(
        &self,
        runner: &Runner,
        sources: &BTreeMap<String, HeaderSource>,
    ) -> Option<Self> {
        let mut is_replaced = false;
        for (name, sent) in &self.stored {
            is_replaced |= matches!(runner.secrets.replaced(name, sent).await, Ok(Some(_)));
        }
        if is_replaced { Self::read(runner, sources).await.ok() } else { None }
    }

    /// Without the secrets that were sent, should the server have told them back, as
    /// they are or as JSON writes them.
    pub(super) fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| match text.contains(secret) {
            true => text.replace(secret, "[secret]"),
            false => text,
        })
    }

    /// The beginning of an answer, without the beginning of a secret at its end.
    pub(super) fn without_half_a_secret<'t>(&self, beginning: &'t str) -> &'t str {
        let half = |secret: &String| {
            let lengths = (SHORTEST_PART..secret.len()).rev();
            lengths
                .filter_map(|length| secret.get(..length))
                .find(|part| beginning.ends_with(part))
                .map(str::len)
        };
        let longest = self.secrets.iter().filter_map(half).max().unwrap_or_default();
        beginning.get(..beginning.len() - longest).unwrap_or_default()
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
