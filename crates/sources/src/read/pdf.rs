//! PDF as text, page by page.

use lopdf::{DecompressError, Document, Error, LoadOptions, Object};

use super::{MAX_TEXT_BYTES, ReadError, Reading};

/// Most bytes that any one stream of the file may unpack to.
const MAX_STREAM_BYTES: usize = 16 * 1024 * 1024;

/// Each page under a heading with its number, so that answers can say where.
pub(super) fn read(bytes: &[u8]) -> Result<Reading, ReadError> {
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
        // A page that cannot be read is no reason not to read the others.
        let words = document.extract_text_with_limit(&[page], MAX_STREAM_BYTES).unwrap_or_default();
        if !words.trim().is_empty() {
            text.push_str(&format!("# Page {page}\n\n{}\n\n", words.trim()));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(ReadError::TooMuchText);
        }
    }
    Ok(Reading { title: title(&document), text })
}

/// Pictures are most of many files and say nothing. Of a stream the reader keeps
/// what is left here, and of any other object what is handed back.
fn without_pictures(id: (u32, u16), object: &mut Object) -> Option<((u32, u16), Object)> {
    let Object::Stream(stream) = object else { return Some((id, object.clone())) };
    if stream.dict.get(b"Subtype").is_ok_and(|kind| kind.as_name().is_ok_and(|name| name == b"Image")) {
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
        Error::Decryption(_) | Error::InvalidPassword | Error::AlreadyEncrypted => ReadError::Locked,
        _ => ReadError::NotPdf,
    }
}
