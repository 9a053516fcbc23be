//! Packs `web/dist` and `openapi.json` into the program: every file compressed, with its name and a
//! hash of its content. `web/README.md` says how to build the folder.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const DIST: &str = "../../web/dist";
/// The tests of `api` check that it is up to date.
const DOCUMENT: &str = "../../openapi.json";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={DIST}");
    println!("cargo:rerun-if-changed={DOCUMENT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut table = String::from("vec![");
    let mut files = files(Path::new(DIST))?;
    files.push(DOCUMENT.into());
    for (number, file) in files.iter().enumerate() {
        let content = fs::read(file)?;
        let packed = out.join(format!("{number}.gz"));
        fs::write(&packed, gzip(&content)?)?;
        let name = file
            .strip_prefix(DIST)
            .or_else(|_| file.strip_prefix("../.."))?;
        let hash = Sha256::digest(&content)
            .iter()
            .take(16)
            .fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        write!(
            table,
            "PackedFile {{ name: {name:?}, gzip: include_bytes!({packed:?}), etag: \"\\\"{hash}\\\"\", plain: OnceLock::new() }},"
        )?;
    }
    table.push(']');
    fs::write(out.join("files.rs"), table)?;
    Ok(())
}

/// Every file in a folder and its subfolders, sorted by name.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}
