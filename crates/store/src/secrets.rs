//! The store for secrets that must be read back: providers' API keys and imported webhook
//! tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::operation::create_secret::CreateSecretError;
use aws_sdk_secretsmanager::operation::delete_secret::DeleteSecretError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use tokio::time::sleep;

use crate::StoreError;
use crate::aws::Aws;
use crate::cache::Cache;
use crate::error::StoreAttempt;
use crate::private_file::write_private_file;

/// How long a secret from Secrets Manager is cached.
const CACHE_TTL: Duration = Duration::from_secs(300);
/// How long a name that was not found is requested without pauses.
const ABSENT_TTL: Duration = Duration::from_secs(10);
/// A secret that was just created may not be found for some seconds, because Secrets
/// Manager is eventually consistent
/// (<https://github.com/hashicorp/terraform-provider-aws/issues/18406>). It is requested
/// again after each of these pauses.
const READ_PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];
/// A forced deletion is asynchronous: until it is done, the name cannot be used again
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html>).
/// Creation is retried after each of these pauses, 11 s in all. API Gateway waits 29 s for
/// a function.
const CREATE_PAUSES: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(2000),
    Duration::from_millis(3000),
    Duration::from_millis(3000),
];

#[derive(Debug)]
pub enum Secrets {
    /// AWS Secrets Manager, one secret per name under a prefix.
    SecretsManager(SecretsManager),
    /// A JSON file that only its owner can read (mode 0600).
    File(SecretsFile),
}

pub struct SecretsManager {
    client: aws_sdk_secretsmanager::Client,
    prefix: String,
    cache: Cache<String, String>,
    /// Names that were not found, even after all pauses.
    absent: Cache<String, ()>,
}

/// The result of one request for a secret.
enum Fetched {
    Value(String),
    /// The secret may exist, but not be visible yet.
    NotFound,
    BeingDeleted,
}

impl Fetched {
    fn value(self) -> Option<String> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotFound | Self::BeingDeleted => None,
        }
    }
}

/// Secrets in a file. The lock makes each update atomic within this process.
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
    lock: Mutex<()>,
}

impl Secrets {
    /// `prefix` is added to each name.
    pub fn secrets_manager(aws: &Aws, prefix: impl Into<String>) -> Self {
        Self::SecretsManager(SecretsManager {
            client: aws.secrets_manager(),
            prefix: prefix.into(),
            cache: Cache::new(CACHE_TTL),
            absent: Cache::new(ABSENT_TTL),
        })
    }

    /// The file is created with the first secret.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(SecretsFile {
            path: path.into(),
            lock: Mutex::new(()),
        })
    }

    pub async fn get(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.get(name).await,
            Self::File(file) => Ok(file.read_all()?.remove(name)),
        }
    }

    /// Reads the secret without the cache. Returns its value if it differs from `known`.
    pub async fn get_if_replaced(
        &self,
        name: &str,
        known: &str,
    ) -> Result<Option<String>, StoreError> {
        let current = match self {
            Self::SecretsManager(manager) => manager.fetch(name).await?.value(),
            Self::File(file) => file.read_all()?.remove(name),
        };
        Ok(current.filter(|current| current != known))
    }

    /// Stores a secret. Replaces one of the same name.
    pub async fn put(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.put(name, secret).await,
            Self::File(file) => file.update(|secrets| {
                secrets.insert(name.to_owned(), secret.to_owned());
            }),
        }
    }

    /// Stores a secret that probably exists. Unlike [`Self::put`], a delayed request cannot
    /// create a secret again that was removed in the meantime.
    pub async fn replace(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) if manager.replace(name, secret).await? => Ok(()),
            _ => self.put(name, secret).await,
        }
    }

    /// Deletes a secret. Succeeds if it does not exist.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self {
            Self::SecretsManager(manager) => manager.remove(name).await,
            Self::File(file) => file.update(|secrets| {
                secrets.remove(name);
            }),
        }
    }
}

/// Reads a secret of the deployment by its full name or ARN: the admin token or the signing
/// secret.
pub async fn read_secret(aws: &Aws, id: &str) -> Result<String, StoreError> {
    let found = aws
        .secrets_manager()
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .attempt("read a deployment secret")?;
    found.secret_string.ok_or_else(|| StoreError::Damaged {
        id: id.to_owned(),
        attribute: "SecretString",
    })
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
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
        // A name that was not found before is requested once, without pauses.
        let pauses = if self.absent.get(&name.to_owned()).is_some() {
            &[][..]
        } else {
            &READ_PAUSES
        };
        for pause in pauses {
            match self.fetch(name).await? {
                Fetched::NotFound => sleep(*pause).await,
                fetched => return Ok(fetched.value()),
            }
        }
        let fetched = self.fetch(name).await?;
        if matches!(fetched, Fetched::NotFound) {
            self.absent.put(name.to_owned(), ());
        }
        Ok(fetched.value())
    }

    /// Sends one request.
    async fn fetch(&self, name: &str) -> Result<Fetched, StoreError> {
        match self
            .client
            .get_secret_value()
            .secret_id(self.full_name(name))
            .send()
            .await
        {
            Ok(found) => {
                if let Some(secret) = &found.secret_string {
                    self.cache.put(name.to_owned(), secret.clone());
                }
                Ok(found
                    .secret_string
                    .map_or(Fetched::NotFound, Fetched::Value))
            }
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(Fetched::NotFound),
                Some(GetSecretValueError::InvalidRequestException(_)) => {
                    tracing::warn!(
                        secret = name,
                        "secret is being deleted and is treated as missing"
                    );
                    Ok(Fetched::BeingDeleted)
                }
                _ => Err(error).attempt("read a secret"),
            },
        }
    }

    async fn put(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        for pause in CREATE_PAUSES {
            match self.create(name, secret).await {
                Err(StoreError::BeingDeleted) => sleep(pause).await,
                created => return created,
            }
        }
        self.create(name, secret).await
    }

    async fn create(&self, name: &str, secret: &str) -> Result<(), StoreError> {
        self.cache.clear();
        self.absent.clear();
        match self
            .client
            .create_secret()
            .name(self.full_name(name))
            .secret_string(secret)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(CreateSecretError::ResourceExistsException(_)) => {
                    match self.replace(name, secret).await? {
                        true => Ok(()),
                        false => Err(StoreError::BeingDeleted),
                    }
                }
                Some(CreateSecretError::InvalidRequestException(_)) => {
                    Err(StoreError::BeingDeleted)
                }
                _ => Err(error).attempt("create a secret"),
            },
        }
    }

    /// Returns false if the secret does not exist or is being deleted. The caller then tries
    /// to create it, which fails until its name is free.
    async fn replace(&self, name: &str, secret: &str) -> Result<bool, StoreError> {
        self.cache.clear();
        let put = self
            .client
            .put_secret_value()
            .secret_id(self.full_name(name))
            .secret_string(secret);
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(
                    PutSecretValueError::ResourceNotFoundException(_)
                    | PutSecretValueError::InvalidRequestException(_),
                ) => Ok(false),
                _ => Err(error).attempt("replace a secret"),
            },
        }
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.cache.clear();
        let delete = self.client.delete_secret().secret_id(self.full_name(name));
        // Without recovery, so that the name is free for a new secret at once.
        match delete.force_delete_without_recovery(true).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // `InvalidRequest`: the secret is being deleted already.
                Some(
                    DeleteSecretError::ResourceNotFoundException(_)
                    | DeleteSecretError::InvalidRequestException(_),
                ) => Ok(()),
                _ => Err(error).attempt("delete a secret"),
            },
        }
    }
}

impl SecretsFile {
    fn read_all(&self) -> Result<BTreeMap<String, String>, StoreError> {
        match fs::read(&self.path) {
            Ok(json) => serde_json::from_slice(&json).attempt("read the secrets file"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).attempt("read the secrets file"),
        }
    }

    fn update(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), StoreError> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = self.read_all()?;
        change(&mut secrets);
        let json = serde_json::to_vec_pretty(&secrets).attempt("write the secrets file")?;
        write_private_file(&self.path, &json).attempt("write the secrets file")
    }
}
