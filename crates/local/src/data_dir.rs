//! The folder that holds everything a local server keeps.

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

/// Every file that a server keeps here.
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
/// Files that a server makes after `tables.sqlite` only. A signing secret is not among
/// them: a first start that is killed leaves one alone. An admin token is not either:
/// an operator may have put it there before the first start.
const MADE_AFTER_TABLES: [&str; 4] = ["documents.sqlite", "secrets.json", "tables.sqlite-wal", "url"];

/// A local server's folder.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process serves it.
    #[error("another server is running in {}; stop it, or choose another folder with --data-dir", .0.display())]
    InUse(PathBuf),
    /// The file of a secret is empty. An empty secret would protect nothing.
    #[error("{} is empty; put its content back, or delete it to have a new one made", .0.display())]
    Empty(PathBuf),
    /// A new one would be another one.
    #[error(
        "{} is gone or empty, and the webhook URLs of this folder's agents are derived from it; put it back. If it \
         is lost, write a new one there (openssl rand -hex 32), and give each agent a new URL with \
         `agent-webhooks agent rotate`",
        .0.display()
    )]
    Lost(PathBuf),
    /// The folder or a file in it is not this user's alone.
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    /// The tasks and agents are gone, and starting without them would hide that.
    #[error(
        "{} is missing, but {other} is there: this folder has held agents and tasks. Put the database back from a \
         backup. To start without agents, choose another folder with --data-dir, or delete this one",
        tables.display()
    )]
    LostTables {
        /// The missing database.
        tables: PathBuf,
        /// A file that is made after it.
        other: &'static str,
    },
    /// The admin token is easily guessed.
    #[error("the admin token in {} is too weak", path.display())]
    Weak {
        /// Its file.
        path: PathBuf,
        /// What it lacks.
        source: WeakAdminToken,
    },
    /// The file system refused.
    #[error("failed to {attempt} {}", path.display())]
    Io {
        /// As a verb.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Held while a server works in the folder; the system lets go of it however the
/// process ends.
///
/// The folder itself is locked, because deleting a file in it must not let a second
/// server in. The file `lock` is locked for servers of version 0.1.0, which know no
/// other lock.
#[derive(Debug)]
pub struct Lock {
    folder: File,
    file: File,
}

impl Drop for Lock {
    /// Closing the files would leave them locked for as long as a process that is being
    /// started at this moment has a copy of them.
    fn drop(&mut self) {
        // What cannot be unlocked is closed all the same.
        let _ = self.file.unlock();
        let _ = self.folder.unlock();
    }
}

/// What the client commands need to know of the server of this folder.
#[derive(Default)]
pub struct ServerNotes {
    /// Where it answers.
    pub url: Option<String>,
    /// Its admin token.
    pub admin_token: Option<String>,
}

/// A secret that is made at the first start and kept.
pub struct KeptSecret {
    /// The secret.
    pub value: String,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl fmt::Debug for ServerNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerNotes").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSecret").field("is_new", &self.is_new).finish_non_exhaustive()
    }
}

impl DataDir {
    /// The folder at this path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, for its owner only, and claims it for this process. Refuses one
    /// that other users can write, or that lacks its database.
    pub fn open(&self) -> Result<Lock, DataDirError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.0).map_err(io("make", &self.0))?;
        let folder = File::open(&self.0).map_err(io("open", &self.0))?;
        let metadata = folder.metadata().map_err(io("look at", &self.0))?;
        trust::check_served_folder(&self.0, &metadata)?;
        self.lock(&folder, &self.0)?;
        let (owners, open_to_others) =
            (TrustedOwners::of_folder(&metadata), trust::is_open_to_others(&metadata));
        for name in FILES {
            trust::make_own_file_private(&self.0.join(name), owners, open_to_others)?;
        }
        let path = self.0.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(io("open", &path))?;
        self.lock(&file, &path)?;
        self.check_tables()?;
        Ok(Lock { folder, file })
    }

    fn lock(&self, file: &File, path: &Path) -> Result<(), DataDirError> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(self.0.clone())),
            Err(TryLockError::Error(error)) => Err(io("lock", path)(error)),
        }
    }

    /// A new database is made in a new folder only.
    fn check_tables(&self) -> Result<(), DataDirError> {
        if self.has_database("tables")? {
            return Ok(());
        }
        match MADE_AFTER_TABLES.into_iter().find(|name| self.0.join(name).exists()) {
            Some(other) => Err(DataDirError::LostTables { tables: self.database("tables"), other }),
            None => Ok(()),
        }
    }

    /// The file of a database, `tables` or `documents`.
    pub fn database(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.sqlite"))
    }

    /// Whether this database was made here: only a whole one has this name.
    pub fn has_database(&self, name: &str) -> Result<bool, DataDirError> {
        let path = self.database(name);
        path.try_exists().map_err(io("look for", &path))
    }

    /// An empty file to make the database in, for its owner only, as SQLite would
    /// not. What a start that was killed had made of it is gone.
    pub fn draft_database(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let path = self.0.join(format!("{name}.draft"));
        for suffix in ["", "-wal", "-shm"] {
            let left = self.0.join(format!("{name}.draft{suffix}"));
            match fs::remove_file(&left) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io("remove", &left)(error));
                }
                _ => {}
            }
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map(|_| path.clone()).map_err(io("make", &path))
    }

    /// Gives the finished draft, which must be closed, the database's name.
    pub fn keep_draft_database(&self, name: &str, draft: &Path) -> Result<(), DataDirError> {
        let log = self.0.join(format!("{name}.draft-wal"));
        if log.exists() {
            // What is in there would be lost with its name.
            return Err(io("close", draft)(std::io::ErrorKind::ResourceBusy.into()));
        }
        let database = self.database(name);
        fs::rename(draft, &database).map_err(io("make", &database))?;
        // The name is to be on the disk before anything is accepted.
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(io("write", &self.0))
    }

    /// The secrets file.
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets.json")
    }

    /// Notes where the server answers, for the client commands.
    pub fn note_url(&self, url: &str) -> Result<(), DataDirError> {
        let path = self.0.join("url");
        write_private_file(&path, url.as_bytes()).map_err(io("write", &path))
    }

    /// What the server of this folder left for the client commands. Refuses the files
    /// of a folder that other users own or can write, also for root: they would decide
    /// where the commands send an API key to, and with which admin token.
    pub fn server_notes(&self) -> Result<ServerNotes, DataDirError> {
        match fs::metadata(&self.0) {
            Ok(folder) => trust::check_folder(&self.0, &folder)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ServerNotes::default()),
            Err(error) => return Err(io("look at", &self.0)(error)),
        }
        let line =
            |path: &Path| Ok::<_, DataDirError>(self.read_own_file(path)?.map(|text| text.trim().to_owned()));
        Ok(ServerNotes { url: line(&self.0.join("url"))?, admin_token: line(&self.admin_token_file())? })
    }

    /// Where the admin token is kept.
    pub fn admin_token_file(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    /// The admin token, made at the first call.
    pub fn keep_admin_token(&self) -> Result<KeptSecret, DataDirError> {
        let token = self.keep("admin-token", false)?;
        match domain::check_admin_token(&token.value) {
            Ok(()) => Ok(token),
            Err(source) => Err(DataDirError::Weak { path: self.admin_token_file(), source }),
        }
    }

    /// The secret that webhook tokens are derived from, made before there can be any.
    pub fn keep_signing_secret(&self) -> Result<KeptSecret, DataDirError> {
        self.keep("signing-secret", self.has_database("tables")?)
    }

    /// 256 random bits in hexadecimal, written whole before anything uses them. No new
    /// ones are made in place of those that are `relied_on`.
    fn keep(&self, name: &str, relied_on: bool) -> Result<KeptSecret, DataDirError> {
        let path = self.0.join(name);
        let text = self.read_own_file(&path)?;
        match text.as_deref().map(str::trim) {
            None | Some("") if relied_on => return Err(DataDirError::Lost(path)),
            Some("") => return Err(DataDirError::Empty(path)),
            Some(value) => return Ok(KeptSecret { value: value.to_owned(), is_new: false }),
            None => {}
        }
        let mut entropy = [0_u8; 32];
        getrandom::fill(&mut entropy)
            .map_err(|error| io("draw random bits for", &path)(std::io::Error::other(error)))?;
        let value: String = entropy.iter().map(|byte| format!("{byte:02x}")).collect();
        write_private_file(&path, value.as_bytes()).map_err(io("write", &path))?;
        Ok(KeptSecret { value, is_new: true })
    }

    fn read_own_file(&self, path: &Path) -> Result<Option<String>, DataDirError> {
        let folder = fs::metadata(&self.0).map_err(io("look at", &self.0))?;
        let Some(mut file) = trust::open_own_file(path, TrustedOwners::of_folder(&folder))? else {
            return Ok(None);
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io("read", path))?;
        Ok(Some(text))
    }
}

fn io<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> DataDirError + use<'a> {
    move |source| DataDirError::Io { attempt, path: path.to_owned(), source }
}
