//! The headers that the collector of traces requires.

use std::time::Duration;

use store::env::Env;
use store::{Secrets, error_chain};

/// Runs matter more than their traces, and a function has 10 s to start.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The value of the secret that `AGENT_WEBHOOKS_OTLP_HEADERS_SECRET` names, if there is a
/// collector. An error says why there is none.
pub(crate) async fn headers(env: &Env, secrets: &Secrets) -> Result<Option<String>, String> {
    let name = env.optional("AGENT_WEBHOOKS_OTLP_HEADERS_SECRET");
    let Some(name) = name.filter(|_| env.optional("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()) else {
        return Ok(None);
    };
    match tokio::time::timeout(TIMEOUT, secrets.get(&name)).await {
        Ok(Ok(Some(headers))) => Ok(Some(headers)),
        Ok(Ok(None)) => Err(format!("the secret {name} does not exist")),
        Ok(Err(error)) => Err(error_chain(&error)),
        Err(_) => Err(format!("the secret {name} could not be read within {} s", TIMEOUT.as_secs())),
    }
}
