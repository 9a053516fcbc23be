//! Where secrets that must be read back are kept: providers' API keys and
//! imported webhook tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use crate::StoreError;
use crate::aws::Aws;
use crate::cache::Cache;
use crate::error::Attempt;
use crate::private_file::write_private_file;

/// How long a secret read from Secrets Manager is remembered.
const KEEP_FOR: Duration = Duration::from_secs(300);

/// The deployment's secret store.
#[derive(Debug)]
pub enum Secrets {
    /// AWS Secrets Manager, one secret per name under a prefix.
    SecretsManager(SecretsManager),
    /// One JSON file that only its owner can read (mode 0600).
    File(SecretsFile),
}

/// Secrets under a common prefix.
pub struct SecretsManager {
    client: aws_sdk_secretsmanager::Client,
    prefix: String,
    cache: Cache<String, String>,
}

/// Secrets in a file; the lock keeps read-modify-write whole.
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
    lock: Mutex<()>,
}

impl Secrets {
    /// Secrets Manager; names live under `prefix`.
    pub fn secrets_manager(aws: &Aws, prefix: impl Into<String>) -> Self {
        Self::SecretsManager(SecretsManager {
            client: aws.secrets_manager(),
            prefix: prefix.into(),
            cache: Cache::new(KEEP_FOR),
        })
    }

    /// A file, made at the first secret.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(SecretsFile { path: path.into(), lock: Mutex::new(()) })
    }

    /// The secret of this name.
    pub async fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.get(name).await,
            Self::File(file) => Ok(file.read()?.remove(name)),
        }
    }

    /// Keeps a secret, replacing one of the same name.
    pub async fn put(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.put(name, secret).await,
            Self::File(file) => file.change(|secrets| {
                secrets.insert(name.to_owned(), secret.to_owned());
            }),
        }
    }

    /// The same for a secret that is likely to be there: a late request of it cannot
    /// bring back one that has been removed meanwhile.
    pub async fn replace(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) if manager.replace(name, secret).await? => Ok(()),
            _ => self.put(name, secret).await,
        }
    }

    /// Forgets a secret; one that is not there is forgotten already.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.remove(name).await,
            Self::File(file) => file.change(|secrets| {
                secrets.remove(name);
            }),
        }
    }
}

/// One secret by its full name or ARN: the admin token, the signing secret.
pub async fn read_secret(aws: &Aws, id: &str) -> Result<String, StoreError> {
    let found = aws
        .secrets_manager()
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .attempt("read a deployment secret")?;
    found.secret_string.ok_or_else(|| StoreError::Damaged { id: id.to_owned(), attribute: "SecretString" })
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl SecretsManager {
    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        if let Some(secret) = self.cache.get(&name.to_owned()) {
            return Ok(Some(secret));
        }
        match self.client.get_secret_value().secret_id(self.full_name(name)).send().await {
            Ok(found) => {
                if let Some(secret) = &found.secret_string {
                    self.cache.put(name.to_owned(), secret.clone());
                }
                Ok(found.secret_string)
            }
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), GetSecretValueError::ResourceNotFoundException(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).attempt("read a secret"),
        }
    }

    async fn put(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        self.cache.clear();
        match self.client.create_secret().name(self.full_name(name)).secret_string(secret).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_exists_exception()) =>
            {
                match self.replace(name, secret).await? {
                    true => Ok(()),
                    // It was removed in between.
                    false => Err(error).attempt("create a secret"),
                }
            }
            Err(error) => Err(error).attempt("create a secret"),
        }
    }

    /// Whether there was one to replace.
    async fn replace(&self, name: &str, secret: &str) -> Result<bool, StoreError> {
        self.cache.clear();
        let put = self.client.put_secret_value().secret_id(self.full_name(name)).secret_string(secret);
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error).attempt("replace a secret"),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.cache.clear();
        let delete = self.client.delete_secret().secret_id(self.full_name(name));
        // Without recovery, so that the name is free for a new secret at once.
        match delete.force_delete_without_recovery(true).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(error).attempt("delete a secret"),
        }
    }
}

impl SecretsFile {
    fn read(&self) -> Result<BTreeMap<String, String>, StoreError> {
        match fs::read(&self.path) {
            Ok(json) => serde_json::from_slice(&json).attempt("read the secrets file"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).attempt("read the secrets file"),
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), StoreError> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = self.read()?;
        change(&mut secrets);
        let json = serde_json::to_vec_pretty(&secrets).attempt("write the secrets file")?;
        write_private_file(&self.path, &json).attempt("write the secrets file")
    }
}
