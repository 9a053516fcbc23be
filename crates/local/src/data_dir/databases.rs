//! The databases in the data folder, and the drafts from which they are created.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{DataDir, DataDirError, io};

/// Files that a server creates only after `tables.sqlite`. Does not include the signing
/// secret, because a first start that is killed may leave only that. Does not include the
/// admin token either, because an operator may put it there before the first start.
const CREATED_AFTER_TABLES: [&str; 4] = [
    "documents.sqlite",
    "secrets.json",
    "tables.sqlite-wal",
    "url",
];

impl DataDir {
    /// Fails if the database is missing in a folder that had one.
    pub(super) fn check_tables(&self) -> Result<(), DataDirError> {
        if self.has_database("tables")? {
            return Ok(());
        }
        match CREATED_AFTER_TABLES
            .into_iter()
            .find(|name| self.0.join(name).exists())
        {
            Some(other) => Err(DataDirError::LostTables {
                tables: self.database_path("tables"),
                other,
            }),
            None => Ok(()),
        }
    }

    /// `name` is `tables` or `documents`.
    pub fn database_path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.sqlite"))
    }

    /// Whether this database exists. Only a complete database has its final name.
    pub fn has_database(&self, name: &str) -> Result<bool, DataDirError> {
        let path = self.database_path(name);
        path.try_exists().map_err(io("look for", &path))
    }

    /// Creates an empty file for the database, with access for its owner only (SQLite would
    /// give others access). Deletes the draft of a start that was killed.
    pub fn create_draft_database(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let path = self.0.join(format!("{name}.draft"));
        for suffix in ["", "-wal", "-shm"] {
            let old = self.0.join(format!("{name}.draft{suffix}"));
            match fs::remove_file(&old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io("remove", &old)(error));
                }
                _ => {}
            }
        }
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        created.map(|_| path.clone()).map_err(io("create", &path))
    }

    /// Renames the complete draft to the database's name. The draft must be closed.
    pub fn publish_draft_database(&self, name: &str, draft: &Path) -> Result<(), DataDirError> {
        let log = self.0.join(format!("{name}.draft-wal"));
        if log.exists() {
            // Its commits would be lost, because SQLite finds a log by its name.
            return Err(io("close", draft)(std::io::ErrorKind::ResourceBusy.into()));
        }
        let database = self.database_path(name);
        fs::rename(draft, &database).map_err(io("create", &database))?;
        // The name must be on disk before a task is accepted.
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(io("write", &self.0))
    }
}
