//! Whether the data folder and its files are this user's alone. Who can write there
//! can put an admin token, a database or a server's address in place.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{DataDirError, io};

const ROOT: u32 = 0;
/// Write permission of the group and of all others.
const OTHERS_WRITE: u32 = 0o022;
/// Permission of the group and of all others to reach what is in a folder.
const OTHERS_ENTER: u32 = 0o011;
/// Every permission of the group and of all others.
const OTHERS_ANY: u32 = 0o077;

/// Why a folder or a file is not used, with the command that helps.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Another user owns it.
    #[error(
        "{path} belongs to user {owner}, but this command runs as user {user}. Its owner could read the secrets \
         or replace the admin token. Choose another folder with --data-dir, run this command as user {owner}, or \
         take it over: sudo chown -R {user} '{path}'",
        path = .path.display()
    )]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// The id of the user who runs this command.
        user: u32,
    },
    /// Others may write it.
    #[error(
        "Other users can write to {path} (mode {mode:03o}), and could replace the admin token. Check its content, \
         then run: chmod go-w '{path}'. Or choose another folder with --data-dir",
        path = .path.display()
    )]
    Writable {
        /// The folder or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A link, or a special file.
    #[error("{} must be a regular file; a symbolic link is not followed. Put the file itself there", .0.display())]
    NotAFile(PathBuf),
}

/// Refuses a folder that is not this user's alone to write.
pub(super) fn check_folder(path: &Path, folder: &Metadata) -> Result<(), TrustError> {
    check_owner(path, folder.uid(), folder.mode(), user())
}

/// Opens a file of the folder for reading, if there is one, unless another user owns
/// it or can write it. Follows no link and waits for no pipe.
pub(super) fn open_own_file(path: &Path) -> Result<Option<File>, DataDirError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(|error| io("open", path)(io::Error::other(error)))?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(TrustError::NotAFile(path.to_owned()).into());
        }
        Err(error) => return Err(io("open", path)(error)),
    };
    let metadata = file.metadata().map_err(io("look at", path))?;
    if !metadata.is_file() {
        return Err(TrustError::NotAFile(path.to_owned()).into());
    }
    check_owner(path, metadata.uid(), metadata.mode(), user())?;
    Ok(Some(file))
}

/// Whether users other than the owner can reach the files in a folder.
pub(super) fn is_open_to_others(folder: &Metadata) -> bool {
    folder.mode() & OTHERS_ENTER != 0
}

/// Checks a file of the folder, and takes away what other users may do with it. Never
/// opens it: closing a database would take away the locks that SQLite holds on it.
pub(super) fn make_own_file_private(path: &Path, open_to_others: bool) -> Result<(), DataDirError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at", path)(error)),
    };
    if !metadata.is_file() {
        return Err(TrustError::NotAFile(path.to_owned()).into());
    }
    check_owner(path, metadata.uid(), metadata.mode(), user())?;
    if metadata.mode() & OTHERS_ANY != 0 {
        if open_to_others {
            tracing::warn!(path = %path.display(), "other users could read this file; its mode is 600 now");
        }
        std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(io("change the mode of", path))?;
    }
    Ok(())
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Root can do anything anyway, and may have put a file there for this user.
fn check_owner(path: &Path, owner: u32, mode: u32, user: u32) -> Result<(), TrustError> {
    let path = path.to_owned();
    if owner != user && owner != ROOT {
        return Err(TrustError::Foreign { path, owner, user });
    }
    match mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(TrustError::Writable { path, mode: mode & 0o7777 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_users_own_folder_that_others_cannot_write_is_trusted() {
        let path = Path::new("data");
        let check = |owner, mode| check_owner(path, owner, mode, 1000);
        for (owner, mode) in [(1000, 0o40_700), (1000, 0o40_755), (ROOT, 0o40_755), (1000, 0o100_600)] {
            assert_eq!(check(owner, mode), Ok(()), "{owner} {mode:o}");
        }
        for mode in [0o40_777, 0o40_770, 0o40_702, 0o41_777] {
            assert!(matches!(check(1000, mode), Err(TrustError::Writable { .. })), "{mode:o}");
        }
        for owner in [1001, 65_534] {
            assert!(matches!(check(owner, 0o40_700), Err(TrustError::Foreign { .. })), "{owner}");
        }
        assert!(check_owner(path, 1000, 0o40_700, ROOT).is_err(), "not root's");
    }

    #[test]
    fn a_refusal_says_which_command_helps() {
        let path = Path::new("/srv/hooks");
        let message = |owner, mode| check_owner(path, owner, mode, 1000).unwrap_err().to_string();
        assert!(message(1000, 0o40_777).contains("(mode 777)"));
        assert!(message(1000, 0o40_777).contains("chmod go-w '/srv/hooks'"));
        assert!(message(1001, 0o40_700).contains("sudo chown -R 1000 '/srv/hooks'"));
    }
}
