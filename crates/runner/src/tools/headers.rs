//! The headers that go to a tool's server, and the secrets among them.

use std::collections::BTreeMap;

use domain::agent::HeaderSource;
use domain::{ErrorType, Fault};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{Runner, drive};

/// A shorter secret is no secret, and striking it out would garble what is told.
const SHORTEST_SECRET: usize = 6;

pub(super) struct Headers {
    pub(super) map: HeaderMap,
    secrets: Vec<String>,
}

impl Headers {
    /// As the definition says, the secrets read from their store.
    pub(super) async fn read(
        runner: &Runner,
        sources: &BTreeMap<String, HeaderSource>,
    ) -> Result<Self, Fault> {
        let (mut map, mut secrets) = (HeaderMap::new(), Vec::new());
        for (name, source) in sources {
            let value = match source {
                HeaderSource::Plain(value) => value.clone(),
                HeaderSource::Stored(stored) => {
                    let missing = "A secret of the agent's tools is missing";
                    let secret = drive::stored_secret(runner, &stored.secret, missing).await?;
                    secrets.push(secret.clone());
                    format!("{}{secret}", stored.prefix)
                }
            };
            let (name, value) = header(name, &value).ok_or_else(unsendable)?;
            map.insert(name, value);
        }
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        Ok(Self { map, secrets })
    }

    /// Without the secrets that were sent, should the server have told them back.
    pub(super) fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| match text.contains(secret) {
            true => text.replace(secret, "[secret]"),
            false => text,
        })
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
