//! The folder that holds everything a local server keeps.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use store::write_private_file;

/// A local server's folder.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process serves it.
    #[error("another server is running in {}; stop it, or choose another folder with --data-dir", .0.display())]
    InUse(PathBuf),
    /// Somebody emptied it: with an empty secret nothing would be one.
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
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file would leave it locked for as long as a process that is being
    /// started at this moment has a copy of it.
    fn drop(&mut self) {
        // What cannot be unlocked is closed all the same.
        let _ = self.file.unlock();
    }
}

/// A secret that is made at the first start and kept.
pub struct KeptSecret {
    /// The secret.
    pub value: String,
    /// Whether it was made just now.
    pub is_new: bool,
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

    /// Makes the folder, for its owner only, and claims it for this process.
    pub fn open(&self) -> Result<Lock, DataDirError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.0).map_err(io("make", &self.0))?;
        let path = self.0.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(self.0.clone())),
            Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
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
        fs::write(&path, url).map_err(io("write", &path))
    }

    /// Where the server of this folder answers, if one has run.
    pub fn url(&self) -> Option<String> {
        let url = fs::read_to_string(self.0.join("url")).ok()?;
        Some(url.trim().to_owned())
    }

    /// The admin token, if a server has run.
    pub fn admin_token(&self) -> Option<String> {
        let token = fs::read_to_string(self.admin_token_file()).ok()?;
        Some(token.trim().to_owned())
    }

    /// Where the admin token is kept.
    pub fn admin_token_file(&self) -> PathBuf {
        self.0.join("admin-token")
    }

    /// The admin token, made at the first call.
    pub fn keep_admin_token(&self) -> Result<KeptSecret, DataDirError> {
        self.keep("admin-token", false)
    }

    /// The secret that webhook tokens are derived from, made before there can be any.
    pub fn keep_signing_secret(&self) -> Result<KeptSecret, DataDirError> {
        self.keep("signing-secret", self.has_database("tables")?)
    }

    /// 256 random bits in hexadecimal, written whole before anything uses them. No new
    /// ones are made in place of those that are `relied_on`.
    fn keep(&self, name: &str, relied_on: bool) -> Result<KeptSecret, DataDirError> {
        let path = self.0.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &path)(error)),
        };
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
}

fn io<'a>(attempt: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> DataDirError + use<'a> {
    move |source| DataDirError::Io { attempt, path: path.to_owned(), source }
}
