//! Files that only their owner can read and write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Replaces a file (mode 0600) atomically: after a crash it has either the old or the new
/// content.
pub fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    // A crash or another user may have left a file with another mode, or a symbolic link.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The new name must survive a power failure too.
    File::open(folder_of(path))?.sync_all()
}

/// The parent of a bare file name is "", which cannot be opened.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_private_file_can_be_in_the_working_directory() {
        let name = format!("private-bare-{}", std::process::id());
        let path = Path::new(&name);
        let written = write_private_file(path, b"secret");
        let read = fs::read(path);
        fs::remove_file(path).unwrap();
        written.unwrap();
        assert_eq!(read.unwrap(), b"secret");
    }

    #[test]
    fn a_private_file_replaces_a_symbolic_link_at_its_temporary_name() {
        let folder = std::env::temp_dir().join(format!("private-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, elsewhere) = (folder.join("secret"), folder.join("elsewhere"));
        for _ in 0..2 {
            fs::write(&elsewhere, "untouched").unwrap();
            symlink(&elsewhere, path.with_extension("new")).unwrap();
            write_private_file(&path, b"secret").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"secret");
            assert_eq!(
                fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777,
                0o600
            );
            assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
