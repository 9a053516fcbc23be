//! Reads the headers for the OpenTelemetry collector.

use std::time::Duration;

use store::env::Env;
use store::{Secrets, error_chain};

/// Short, because a function has 10 s to start, and runs are more important than traces.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Reads the secret that `AGENT_WEBHOOKS_OTLP_HEADERS_SECRET` names. Returns `None` without
/// that variable or without a collector.
pub(crate) async fn read_headers(env: &Env, secrets: &Secrets) -> Result<Option<String>, String> {
    let name = env.optional("AGENT_WEBHOOKS_OTLP_HEADERS_SECRET");
    let Some(name) = name.filter(|_| env.optional("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()) else {
        return Ok(None);
    };
    match tokio::time::timeout(TIMEOUT, secrets.get(&name)).await {
        Ok(Ok(Some(headers))) => Ok(Some(headers)),
        Ok(Ok(None)) => Err(format!("the secret {name} does not exist")),
        Ok(Err(error)) => Err(error_chain(&error)),
        Err(_) => Err(format!(
            "the secret {name} could not be read within {} s",
            TIMEOUT.as_secs()
        )),
    }
}
