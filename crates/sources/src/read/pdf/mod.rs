//! Converts PDF to text, page by page.

mod accents;
mod direction;
mod glyph;
mod layout;
mod superscripts;

use encoding_rs::{UTF_8, UTF_16BE, WINDOWS_1252};
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, Rect};
use hayro_interpret::{Context, InterpreterCache, InterpreterSettings, interpret_page};

use super::{DocumentText, MAX_TEXT_BYTES, ReadError, sniff};
use layout::PageText;

/// Each page gets a heading with its number, so that answers can cite the page.
pub(super) fn pdf_to_text(bytes: &[u8]) -> Result<DocumentText, ReadError> {
    if !sniff::is_pdf(bytes) {
        return Err(sniff::not_pdf(bytes));
    }
    let pdf = Pdf::new(bytes.to_vec()).map_err(refusal)?;
    let (mut text, mut has_unreadable_text) = (String::new(), false);
    let cache = InterpreterCache::new();
    for (index, page) in pdf.pages().iter().enumerate() {
        let mut context = Context::new(
            Affine::IDENTITY,
            Rect::new(0.0, 0.0, 1.0, 1.0),
            &cache,
            pdf.xref(),
            InterpreterSettings::default(),
        );
        let mut words = PageText::default();
        interpret_page(page, &mut context, &mut words);
        if words.is_too_long() {
            return Err(ReadError::TooMuchText);
        }
        has_unreadable_text |= words.has_unreadable_glyphs();
        let words = words.finish();
        if !words.trim().is_empty() {
            text.push_str(&format!("# Page {}\n\n{}\n\n", index + 1, words.trim()));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(ReadError::TooMuchText);
        }
    }
    if text.is_empty() {
        return Err(if has_unreadable_text {
            ReadError::NoCharacterCodes
        } else {
            ReadError::NoText
        });
    }
    Ok(DocumentText {
        title: pdf.metadata().title.as_deref().and_then(title),
        text,
    })
}

/// A text string is UTF-16 or UTF-8 with a byte-order mark, or else PDFDocEncoding, whose letters
/// are those of Windows-1252 (PDF 2.0, section 7.9.2.2).
fn text_string(bytes: &[u8]) -> String {
    let encoding = if bytes.starts_with(&[0xfe, 0xff]) {
        UTF_16BE
    } else if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        UTF_8
    } else {
        WINDOWS_1252
    };
    encoding.decode(bytes).0.into_owned()
}

fn title(bytes: &[u8]) -> Option<String> {
    let title = text_string(bytes).replace(['\0', '\u{fffd}'], "");
    Some(title.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|title| !title.is_empty())
}

fn refusal(error: LoadPdfError) -> ReadError {
    match error {
        LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        ) => ReadError::Locked,
        _ => ReadError::NotPdf,
    }
}

#[cfg(test)]
mod tests;
