//! What a file is, by its first bytes. Names and content types are often wrong.

use super::ReadError;

/// Some programs write bytes before the header of a PDF.
const PDF_SEARCH_BYTES: usize = 1024;
/// Of compound files: the old Office formats, and Office files with a password.
const OLE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

pub(super) fn is_pdf(bytes: &[u8]) -> bool {
    let start = bytes.get(..PDF_SEARCH_BYTES.min(bytes.len()));
    start.is_some_and(|start| start.windows(5).any(|window| window == b"%PDF-"))
}

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Why this is not a PDF.
pub(super) fn not_pdf(bytes: &[u8]) -> ReadError {
    match content_kind(bytes) {
        Some(kind) => ReadError::OtherFormat("a PDF".to_owned(), kind.to_owned()),
        None => ReadError::NotPdf,
    }
}

/// Why this is not a Word document.
pub(super) fn not_docx(bytes: &[u8]) -> ReadError {
    match content_kind(bytes) {
        Some(kind) => ReadError::OtherFormat("a Word document (.docx)".to_owned(), kind.to_owned()),
        None => ReadError::NotDocx,
    }
}

/// Refuses files that are not text.
pub(super) fn check_text(bytes: &[u8]) -> Result<(), ReadError> {
    let has_pdf_header = bytes.trim_ascii_start().starts_with(b"%PDF-");
    match content_kind(bytes) {
        Some(kind) if !kind.starts_with("an HTML") && (kind != PDF || has_pdf_header) => {
            Err(ReadError::OtherFormat("text".to_owned(), kind.to_owned()))
        }
        _ => Ok(()),
    }
}

const PDF: &str = "a PDF; send it as application/pdf (.pdf)";

/// The kind of a file, and how to send it.
fn content_kind(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = text.trim_ascii_start();
    let start = start.get(..15.min(start.len())).unwrap_or_default();
    let start = start.to_ascii_lowercase();
    let is_html = [&b"<!doctype html"[..], b"<html", b"<head", b"<body"]
        .iter()
        .any(|tag| start.starts_with(tag));
    if is_pdf(bytes) {
        Some(PDF)
    } else if is_html {
        Some("an HTML page; send it as text/html (.html)")
    } else if is_zip(bytes) {
        Some("a ZIP archive; send a Word document as .docx, and extract other archives")
    } else if bytes.starts_with(OLE) {
        Some("an old Office file, or one with a password; save it as .docx without a password")
    } else if bytes.starts_with(b"{\\rtf") {
        Some("a rich text file (RTF); save it as .docx or as text")
    } else if bytes.starts_with(b"\x89PNG")
        || bytes.starts_with(b"\xff\xd8\xff")
        || bytes.starts_with(b"GIF8")
    {
        Some("an image; apply text recognition (OCR), and send the text")
    } else if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"7z\xbc\xaf") {
        Some("a compressed file; extract it first")
    } else {
        None
    }
}
