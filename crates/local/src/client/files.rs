//! The files that `agent source add` uploads.

use std::path::{Path, PathBuf};

use sources::DocumentFormat;

use super::ClientError;

/// Levels of folders in folders.
const MAX_DEPTH: usize = 32;

/// A file, and the name under which it is stored.
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    /// Within a folder: the path from the folder, so that names are unique.
    pub(super) name: String,
}

/// The files, and the files in the folders that have a supported extension.
pub(super) fn find_files(paths: &[PathBuf]) -> Vec<Result<FoundFile, ClientError>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            find_in_folder(path, "", 0, &mut found);
            if found.len() == before {
                let extensions = DocumentFormat::supported_extensions();
                found.push(Err(ClientError::Document {
                    file: path.display().to_string(),
                    reason: format!("the folder has no files that end in one of {extensions}"),
                }));
            }
        } else {
            let name = path.file_name().unwrap_or(path.as_os_str());
            found.push(Ok(FoundFile {
                path: path.clone(),
                name: name.to_string_lossy().into_owned(),
            }));
        }
    }
    found
}

/// Skips hidden files, files of other formats, and links to folders, which may form a circle.
fn find_in_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<Result<FoundFile, ClientError>>,
) {
    let failed = |source| ClientError::Read {
        what: folder.display().to_string(),
        source,
    };
    let entries = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => return found.push(Err(failed(error))),
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            if !path.is_symlink() && depth < MAX_DEPTH {
                find_in_folder(&path, &format!("{name}/"), depth + 1, found);
            }
        } else if content_type_of_file(&path).is_some() {
            found.push(Ok(FoundFile { path, name }));
        }
    }
}

pub(super) fn content_type_of_file(file: &Path) -> Option<&'static str> {
    DocumentFormat::content_type_of_extension(file.extension()?.to_str()?)
}
