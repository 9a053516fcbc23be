//! The data folder, which contains everything that a local server stores.

mod databases;
mod trust;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use domain::WeakAdminToken;
use store::write_private_file;

pub use trust::TrustError;
use trust::TrustedOwners;

/// Every file that a server stores here.
const FILES: [&str; 11] = [
    "admin-token",
    "documents.sqlite",
    "documents.sqlite-shm",
    "documents.sqlite-wal",
    "lock",
    "secrets.json",
    "signing-secret",
    "tables.sqlite",
    "tables.sqlite-shm",
    "tables.sqlite-wal",
    "url",
];

/// The data folder of a local server.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("another server is running in {}; stop it, or use another folder with --data-dir", .0.display())]
    InUse(PathBuf),
    /// An empty secret would protect nothing.
    #[error("{} is empty; restore its content, or delete it so that a new secret is created", .0.display())]
    EmptySecret(PathBuf),
    /// The signing secret. A new one would change every webhook URL.
    #[error(
        "{} is missing or empty, and the webhook URLs of the agents in this folder are derived from it. \
         Restore the file. If it is lost, write a new secret to it (openssl rand -hex 32), and give each agent \
         a new URL with `agent-webhooks agent rotate`",
        .0.display()
    )]
    LostSecret(PathBuf),
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// The tasks and agents are lost, and a start without them would hide that.
    #[error(
        "{} is missing, but {other} exists: this folder had agents and tasks. Restore the database from a \
         backup. To start without agents, select another folder with --data-dir, or delete this one",
        tables.display()
    )]
    LostTables {
        tables: PathBuf,
        other: &'static str,
    },
    #[error("the admin token in {} is too weak", path.display())]
    WeakAdminToken {
        path: PathBuf,
        source: WeakAdminToken,
    },
    #[error("failed to {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Held while a server uses the folder. The system releases it when the process ends.
///
/// The folder itself is locked, so that a second server cannot start after a file in it
/// was deleted. The file `lock` is locked as well, because servers of version 0.1.0 check
/// only that.
#[derive(Debug)]
pub struct DataDirLock {
    folder: File,
    file: File,
}

impl Drop for DataDirLock {
    /// Closing the files is not enough: a child process that is being started at this
    /// moment may have copies of them, which keep the locks.
    fn drop(&mut self) {
        // If this fails, the files are closed anyway.
        let _ = self.file.unlock();
        let _ = self.folder.unlock();
    }
}

/// What the client commands need to call the server of this folder.
#[derive(Default)]
pub struct ServerNotes {
    pub url: Option<String>,
    pub admin_token: Option<String>,
}

/// A secret that is created at the first start and stored in the folder.
pub struct LocalSecret {
    pub value: String,
    /// Whether this start created it.
    pub is_new: bool,
}

impl fmt::Debug for ServerNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerNotes")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSecret")
            .field("is_new", &self.is_new)
            .finish_non_exhaustive()
    }
}

impl DataDir {
    /// The folder does not have to exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder, with access for its owner only, and locks it for this process.
    /// Fails if other users can write to the folder, or if its database is missing.
    pub fn open(&self) -> Result<DataDirLock, DataDirError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.0).map_err(io("create", &self.0))?;
        let folder = File::open(&self.0).map_err(io("open", &self.0))?;
        let metadata = folder
            .metadata()
            .map_err(io("get the metadata of", &self.0))?;
        trust::check_served_folder(&self.0, &metadata)?;
        self.lock(&folder, &self.0)?;
        let (owners, open_to_others) = (
            TrustedOwners::from_folder(&metadata),
            trust::is_open_to_others(&metadata),
        );
        for name in FILES {
            trust::make_own_file_private(&self.0.join(name), owners, open_to_others)?;
        }
        let path = self.0.join("lock");
        let mut options = OpenOptions::new();
        options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(trust::no_follow());
        let file = options.open(&path).map_err(io("open", &path))?;
        self.lock(&file, &path)?;
        self.check_tables()?;
        Ok(DataDirLock { folder, file })
    }

    fn lock(&self, file: &File, path: &Path) -> Result<(), DataDirError> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(self.0.clone())),
            Err(TryLockError::Error(error)) => Err(io("lock", path)(error)),
        }
    }

    pub fn secrets_path(&self) -> PathBuf {
        self.0.join("secrets.json")
    }

    /// Stores the server's URL for the client commands.
    pub fn store_url(&self, url: &str) -> Result<(), DataDirError> {
        let path = self.0.join("url");
        write_private_file(&path, url.as_bytes()).map_err(io("write", &path))
    }

    /// Reads the URL and the admin token of the folder's server. Fails if other users own
    /// the folder or can write to it, also for root: they could choose the URL to which the
    /// client commands send API keys, and the admin token.
    pub fn read_server_notes(&self) -> Result<ServerNotes, DataDirError> {
        match fs::metadata(&self.0) {
            Ok(folder) => trust::check_folder(&self.0, &folder)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(ServerNotes::default());
            }
            Err(error) => return Err(io("get the metadata of", &self.0)(error)),
        }
        let line = |path: &Path| {
            Ok::<_, DataDirError>(self.read_own_file(path)?.map(|text| text.trim().to_owned()))
        };
        Ok(ServerNotes {
            url: line(&self.0.join("url"))?,
            admin_token: line(&self.admin_token_path())?,
        })
    }

    pub fn admin_token_path(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    /// Reads the admin token, and creates it if it does not exist.
    pub fn load_admin_token(&self) -> Result<LocalSecret, DataDirError> {
        let token = self.load_secret("admin-token", false)?;
        match domain::check_admin_token(&token.value) {
            Ok(()) => Ok(token),
            Err(source) => Err(DataDirError::WeakAdminToken {
                path: self.admin_token_path(),
                source,
            }),
        }
    }

    /// Reads the secret from which webhook tokens are derived. Creates it only before the
    /// first agent can exist.
    pub fn load_signing_secret(&self) -> Result<LocalSecret, DataDirError> {
        self.load_secret("signing-secret", self.has_database("tables")?)
    }

    /// Reads a secret. If it does not exist, creates one of 256 random bits in hexadecimal, and
    /// writes it before anything uses it. Fails if a secret that `is_required` is missing.
    fn load_secret(&self, name: &str, is_required: bool) -> Result<LocalSecret, DataDirError> {
        let path = self.0.join(name);
        let text = self.read_own_file(&path)?;
        match text.as_deref().map(str::trim) {
            None | Some("") if is_required => return Err(DataDirError::LostSecret(path)),
            Some("") => return Err(DataDirError::EmptySecret(path)),
            Some(value) => {
                return Ok(LocalSecret {
                    value: value.to_owned(),
                    is_new: false,
                });
            }
            None => {}
        }
        let mut entropy = [0_u8; 32];
        getrandom::fill(&mut entropy)
            .map_err(|error| io("generate random bits for", &path)(std::io::Error::other(error)))?;
        let value: String = entropy.iter().map(|byte| format!("{byte:02x}")).collect();
        write_private_file(&path, value.as_bytes()).map_err(io("write", &path))?;
        Ok(LocalSecret {
            value,
            is_new: true,
        })
    }

    fn read_own_file(&self, path: &Path) -> Result<Option<String>, DataDirError> {
        let folder = fs::metadata(&self.0).map_err(io("get the metadata of", &self.0))?;
        let Some(mut file) = trust::open_own_file(path, TrustedOwners::from_folder(&folder))?
        else {
            return Ok(None);
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io("read", path))?;
        Ok(Some(text))
    }
}

fn io<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> DataDirError + use<'a> {
    move |source| DataDirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
