//! The parts of a Word document: a ZIP archive of XML files.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};

use crate::read::{ReadError, encoding, sniff};

/// Bytes of all parts that are read, decompressed.
const MAX_UNPACKED_BYTES: u64 = 48 * 1024 * 1024;
/// Each picture of a document is an entry.
const MAX_ENTRIES: usize = 20_000;

pub(super) struct Package<'a> {
    parts: HashMap<String, (CompressionMethod, &'a [u8])>,
    budget: u64,
}

impl<'a> Package<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, ReadError> {
        if !sniff::is_zip(bytes) {
            return Err(sniff::not_docx(bytes));
        }
        let archive = ZipArchive::from_slice(bytes).map_err(|_| ReadError::NotDocx)?;
        let (mut parts, mut entries) = (HashMap::new(), archive.entries());
        while let Some(entry) = entries.next_entry().map_err(|_| ReadError::NotDocx)? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            if parts.len() > MAX_ENTRIES {
                return Err(ReadError::TooComplex);
            }
            if entry.flags().is_encrypted() {
                return Err(ReadError::Locked);
            }
            if let Ok(local) = archive.get_entry(entry.wayfinder())
                && let Some(data) = slice_of(bytes, local.compressed_data_range())
            {
                let name = name.trim_start_matches('/').to_ascii_lowercase();
                parts.insert(name, (entry.compression_method(), data));
            }
        }
        Ok(Self {
            parts,
            budget: MAX_UNPACKED_BYTES,
        })
    }

    /// A part, if the document has it. Names do not depend on case.
    pub(super) fn xml(&mut self, name: &str) -> Result<Option<String>, ReadError> {
        let Some((method, data)) = self.parts.get(&name.to_ascii_lowercase()).copied() else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        if method == CompressionMethod::STORE {
            bytes.extend_from_slice(data);
        } else if method == CompressionMethod::DEFLATE {
            DeflateDecoder::new(data)
                .take(self.budget + 1)
                .read_to_end(&mut bytes)
                .map_err(|_| ReadError::NotDocx)?;
        } else {
            return Err(ReadError::NotDocx);
        }
        self.budget = self
            .budget
            .checked_sub(bytes.len() as u64)
            .ok_or(ReadError::TooLarge)?;
        let declared = encoding::declared_charset(&bytes);
        encoding::decoded(&bytes, None, declared).map(Some)
    }
}

fn slice_of(bytes: &[u8], (start, end): (u64, u64)) -> Option<&[u8]> {
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}
