//! Checks that only this user (and root) can write to the data folder and its files. A
//! user who can write there can replace the admin token, a database or the server's URL.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{DataDirError, io};

const ROOT: u32 = 0;
/// Write permission of the group and of all others.
const OTHERS_WRITE: u32 = 0o022;
/// Permission of the group and of all others to access the files in a folder.
const OTHERS_ENTER: u32 = 0o011;
/// All permissions of the group and of all others.
const OTHERS_ANY: u32 = 0o077;

/// Opens no link and waits for no pipe.
pub(super) fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Why a folder or a file is not used, with the command that fixes it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error(
        "{path} belongs to user {owner}, but this command runs as user {user}. Its owner could read the \
         secrets or replace the admin token. Select another folder with --data-dir, run this command as user \
         {owner}, or become its owner: sudo chown -R {user} '{path}'",
        path = .path.display()
    )]
    Foreign {
        path: PathBuf,
        /// User id of the owner.
        owner: u32,
        /// User id of this process.
        user: u32,
    },
    #[error(
        "Other users can write to {path} (mode {mode:03o}), and could replace the admin token. Check its \
         content, then run: chmod go-w '{path}'. If that changes nothing, the file system does not \
         store permissions: select a folder on another file system with --data-dir",
        path = .path.display()
    )]
    Writable { path: PathBuf, mode: u32 },
    /// A symbolic link or a special file.
    #[error("{} must be a regular file, not a symbolic link; replace it with the file itself", .0.display())]
    NotAFile(PathBuf),
}

/// The users whose files are trusted: this user, root, and the owner of the folder, who
/// could replace any file in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrustedOwners {
    user: u32,
    folder_owner: u32,
}

impl TrustedOwners {
    /// `folder` must have passed one of the checks below.
    pub(super) fn from_folder(folder: &Metadata) -> Self {
        Self {
            user: effective_user(),
            folder_owner: folder.uid(),
        }
    }
}

/// Fails if users other than this user and root can write to the folder. Its content decides
/// where a client command sends secrets.
pub(super) fn check_folder(path: &Path, folder: &Metadata) -> Result<(), TrustError> {
    let owners = TrustedOwners {
        user: effective_user(),
        folder_owner: effective_user(),
    };
    check_owner(path, folder.uid(), folder.mode(), owners)
}

/// Like [`check_folder`], but for the server. Root may serve the folder of any user: in a
/// container, a mounted folder often belongs to a user of the host.
pub(super) fn check_served_folder(path: &Path, folder: &Metadata) -> Result<(), TrustError> {
    if effective_user() != ROOT || folder.uid() == ROOT {
        return check_folder(path, folder);
    }
    check_owner(
        path,
        folder.uid(),
        folder.mode(),
        TrustedOwners::from_folder(folder),
    )?;
    let (path, owner) = (path.display(), folder.uid());
    tracing::warn!(
        %path,
        owner,
        "another user owns the data folder: that user can replace its secrets, and with links make this server \
         change files as root; serve it as that user unless you accept this"
    );
    Ok(())
}

/// Opens a file of the folder for reading, or returns `None` if it does not exist. Fails if
/// another user owns the file or can write to it. Does not follow symbolic links or wait for
/// pipes.
pub(super) fn open_own_file(
    path: &Path,
    owners: TrustedOwners,
) -> Result<Option<File>, DataDirError> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(no_follow())
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(TrustError::NotAFile(path.to_owned()).into());
        }
        Err(error) => return Err(io("open", path)(error)),
    };
    let metadata = file.metadata().map_err(io("get the metadata of", path))?;
    if !metadata.is_file() {
        return Err(TrustError::NotAFile(path.to_owned()).into());
    }
    check_owner(path, metadata.uid(), metadata.mode(), owners)?;
    Ok(Some(file))
}

/// Whether users other than the owner can access the files in a folder.
pub(super) fn is_open_to_others(folder: &Metadata) -> bool {
    folder.mode() & OTHERS_ENTER != 0
}

/// Checks a file of the folder, and removes the permissions of other users. Does not open
/// the file, because closing a database file would release SQLite's locks on it.
pub(super) fn make_own_file_private(
    path: &Path,
    owners: TrustedOwners,
    open_to_others: bool,
) -> Result<(), DataDirError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("get the metadata of", path)(error)),
    };
    if !metadata.is_file() {
        return Err(TrustError::NotAFile(path.to_owned()).into());
    }
    check_owner(path, metadata.uid(), metadata.mode(), owners)?;
    if metadata.mode() & OTHERS_ANY == 0 {
        return Ok(());
    }
    if owners.user != ROOT && metadata.uid() == ROOT {
        // Only root can change its mode, and may have set it on purpose.
        return Ok(());
    }
    if open_to_others {
        tracing::warn!(path = %path.display(), "other users could read this file; its mode is now 600");
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(io("change the mode of", path))
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Trusts root as well, which has access anyway and may have put a file there for this user.
fn check_owner(
    path: &Path,
    owner: u32,
    mode: u32,
    trusted: TrustedOwners,
) -> Result<(), TrustError> {
    let (path, user) = (path.to_owned(), trusted.user);
    if ![user, trusted.folder_owner, ROOT].contains(&owner) {
        return Err(TrustError::Foreign { path, owner, user });
    }
    match mode & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(TrustError::Writable {
            path,
            mode: mode & 0o7777,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: TrustedOwners = TrustedOwners {
        user: 1000,
        folder_owner: 1000,
    };

    #[test]
    fn a_folder_is_trusted_only_if_the_user_owns_it_and_others_cannot_write_to_it() {
        let path = Path::new("data");
        let check = |owner, mode| check_owner(path, owner, mode, OWN);
        for (owner, mode) in [
            (1000, 0o40_700),
            (1000, 0o40_755),
            (ROOT, 0o40_755),
            (1000, 0o100_600),
        ] {
            assert_eq!(check(owner, mode), Ok(()), "{owner} {mode:o}");
        }
        for mode in [0o40_777, 0o40_770, 0o40_702, 0o41_777] {
            assert!(
                matches!(check(1000, mode), Err(TrustError::Writable { .. })),
                "{mode:o}"
            );
        }
        for owner in [1001, 65_534] {
            assert!(
                matches!(check(owner, 0o40_700), Err(TrustError::Foreign { .. })),
                "{owner}"
            );
        }
    }

    #[test]
    fn root_trusts_only_files_of_root_and_of_the_owner_of_the_folder_that_it_serves() {
        let check = |owner, mode| {
            check_owner(
                Path::new("data"),
                owner,
                mode,
                TrustedOwners {
                    user: ROOT,
                    folder_owner: 1000,
                },
            )
        };
        assert_eq!(check(1000, 0o100_644), Ok(()));
        assert!(matches!(
            check(1000, 0o100_666),
            Err(TrustError::Writable { .. })
        ));
        assert!(matches!(
            check(1001, 0o100_600),
            Err(TrustError::Foreign { .. })
        ));
    }

    #[test]
    fn an_error_contains_the_command_that_fixes_it() {
        let path = Path::new("/srv/hooks");
        let message = |owner, mode| check_owner(path, owner, mode, OWN).unwrap_err().to_string();
        assert!(message(1000, 0o40_777).contains("(mode 777)"));
        assert!(message(1000, 0o40_777).contains("chmod go-w '/srv/hooks'"));
        assert!(message(1000, 0o40_777).contains("If that changes nothing"));
        assert!(message(1001, 0o40_700).contains("sudo chown -R 1000 '/srv/hooks'"));
    }
}
