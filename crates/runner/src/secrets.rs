//! The secrets that an agent's definition refers to, read from the secret store.

use domain::agent::ApiKey;
use domain::{ErrorType, Fault, ModelConfig};
use store::{Secrets, error_chain};

pub(crate) async fn model_api_key(
    store: &Secrets,
    model: &ModelConfig,
) -> Result<Option<String>, Fault> {
    match &model.api_key {
        None => Ok(None),
        Some(ApiKey::Inline(key)) => Ok(Some(key.clone())),
        Some(ApiKey::Stored(name)) => {
            let missing = "The API key of the agent's model is missing";
            stored_secret(store, &name.secret, missing).await.map(Some)
        }
    }
}

/// The API key that has replaced `refused` in the secret store. A process caches keys for
/// some minutes, and tasks should not fail because their key was replaced in that time.
pub(crate) async fn replaced_key(
    store: &Secrets,
    model: &ModelConfig,
    refused: Option<&str>,
) -> Option<String> {
    let (Some(ApiKey::Stored(name)), Some(refused)) = (&model.api_key, refused) else {
        return None;
    };
    let current = store.get_if_replaced(&name.secret, refused).await;
    let newer = current.unwrap_or_else(|error| {
        tracing::warn!(
            error = error_chain(&error),
            "cannot check whether the refused key was replaced"
        );
        None
    })?;
    tracing::info!(
        secret = name.secret,
        "retrying the model call with the key that replaced the refused one"
    );
    Some(newer)
}

/// Reads a secret. A secret that does not exist is a permanent error with the message `missing`.
pub(crate) async fn stored_secret(
    store: &Secrets,
    name: &str,
    missing: &'static str,
) -> Result<String, Fault> {
    match store.get(name).await {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => {
            tracing::error!(
                secret = name,
                "a secret that the agent refers to does not exist"
            );
            Err(Fault::permanent(ErrorType::InvalidAgent, missing))
        }
        Err(error) => {
            tracing::error!(error = error_chain(&error), "secret store failed");
            Err(Fault::transient(
                ErrorType::Internal,
                "The secret store could not be read",
            ))
        }
    }
}
