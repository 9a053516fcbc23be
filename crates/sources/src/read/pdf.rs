//! Converts PDF to text, page by page.

use lopdf::{DecompressError, Document, Error, LoadOptions, Object};

use super::{DocumentText, MAX_TEXT_BYTES, ReadError};

/// Decompressed bytes of each stream of the file.
const MAX_STREAM_BYTES: usize = 16 * 1024 * 1024;

/// Each page gets a heading with its number, so that answers can cite the page.
pub(super) fn pdf_to_text(bytes: &[u8]) -> Result<DocumentText, ReadError> {
    let options = LoadOptions {
        max_decompressed_size: Some(MAX_STREAM_BYTES),
        filter: Some(without_pictures),
        ..LoadOptions::default()
    };
    let document = Document::load_mem_with_options(bytes, options).map_err(refusal)?;
    if document.is_encrypted() {
        return Err(ReadError::Locked);
    }
    let mut text = String::new();
    for page in document.get_pages().into_keys() {
        // Skip unreadable pages.
        let words = document
            .extract_text_with_limit(&[page], MAX_STREAM_BYTES)
            .unwrap_or_default();
        if !words.trim().is_empty() {
            text.push_str(&format!("# Page {page}\n\n{}\n\n", words.trim()));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(ReadError::TooMuchText);
        }
    }
    Ok(DocumentText {
        title: title(&document),
        text,
    })
}

/// Drops pictures, which are often most of a file and contain no text. The library retains the
/// changed stream, and for other objects the returned one.
fn without_pictures(id: (u32, u16), object: &mut Object) -> Option<((u32, u16), Object)> {
    let Object::Stream(stream) = object else {
        return Some((id, object.clone()));
    };
    if stream
        .dict
        .get(b"Subtype")
        .is_ok_and(|kind| kind.as_name().is_ok_and(|name| name == b"Image"))
    {
        stream.content = Vec::new();
    }
    Some((id, Object::Null))
}

fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let info = document.dereference(info).ok()?.1.as_dict().ok()?;
    let title = lopdf::decode_text_string(info.get(b"Title").ok()?).ok()?;
    Some(title.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|title| !title.is_empty())
}

fn refusal(error: Error) -> ReadError {
    match error {
        Error::Decompress(DecompressError::MemoryLimitExceeded { .. }) => ReadError::TooLarge,
        Error::Decryption(_) | Error::InvalidPassword | Error::AlreadyEncrypted => {
            ReadError::Locked
        }
        _ => ReadError::NotPdf,
    }
}
