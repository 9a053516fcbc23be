//! Converts documents of all formats to text. For any bytes, the result is a [`DocumentText`] or an
//! error message for the agent's owner.

mod csv;
mod docx;
mod encoding;
mod format;
mod html;
mod json;
mod markup;
mod pdf;
mod sniff;
mod table;

use serde::{Deserialize, Serialize};

use crate::normalize::readable;
use encoding::{declared_charset, decoded};
pub use format::DocumentFormat;
use html::{Syntax, html_to_text};

/// An API on AWS accepts 6 MB per call, and Base64 makes a file a third larger.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// The text of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentText {
    /// The title in the document.
    pub title: Option<String>,
    /// With headings and lists as in Markdown.
    pub text: String,
}

/// Why a document cannot be read. The texts are for the agent's owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReadError {
    #[error(
        "The document is not valid {0}; save it as UTF-8, or specify its charset in Content-Type"
    )]
    Encoding(String),
    #[error(
        "The document is not valid UTF-8, and its encoding cannot be determined; save it as UTF-8, or specify its charset in Content-Type"
    )]
    UnknownEncoding,
    #[error("The document's charset is unknown; save it as UTF-8")]
    UnknownCharset,
    #[error("The document contains binary data instead of text; save it as text in UTF-8")]
    Binary,
    #[error("The document contains no text")]
    Empty,
    #[error(
        "The page contains no text outside of scripts and navigation; save it from a browser after its scripts have run, or send its text"
    )]
    EmptyPage,
    #[error("The PDF contains no text; apply text recognition (OCR) to a scanned document first")]
    NoText,
    #[error(
        "The fonts of the PDF do not say which characters its text has; apply text recognition (OCR), or export it again with Unicode text"
    )]
    NoCharacterCodes,
    /// Not a PDF, or a damaged one.
    #[error("The document is not a readable PDF; open it and save it again, or send its text")]
    NotPdf,
    /// Not a Word document, or a damaged one.
    #[error(
        "The document is not a readable Word document (.docx); open it and save it again, or send its text"
    )]
    NotDocx,
    /// What was expected, and what the file is.
    #[error("The file is not {0}, but {1}")]
    OtherFormat(String, String),
    /// The name of the format, and the parser's message.
    #[error("The document is not valid {0}: {1}")]
    Syntax(String, String),
    #[error("The document is nested too deeply; flatten it, or send its text")]
    TooDeep,
    #[error("The document is protected by a password; save it without a password")]
    Locked,
    /// The decompressed size exceeds the limit.
    #[error("The document is too large when decompressed; split it, or send its text")]
    TooLarge,
    #[error("The document takes too much time or memory to read; simplify it, or send its text")]
    TooComplex,
    #[error("The document contains more than 4194304 bytes of text; split it")]
    TooMuchText,
}

/// Reads a document. Formats other than text can take much memory and time, so they must be read in
/// a subprocess. See docs/decisions/0014-subprocess-for-untrusted-work.md.
pub fn read_document(
    bytes: &[u8],
    format: DocumentFormat,
    charset: Option<&str>,
) -> Result<DocumentText, ReadError> {
    let document = match format {
        DocumentFormat::Pdf => pdf::pdf_to_text(bytes)?,
        DocumentFormat::Docx => docx::docx_to_text(bytes)?,
        DocumentFormat::Html | DocumentFormat::Xhtml => {
            sniff::check_text(bytes)?;
            let page = decoded(bytes, charset, declared_charset(bytes))?;
            let syntax = match format {
                DocumentFormat::Xhtml => Syntax::Xhtml,
                _ => Syntax::of(&page),
            };
            html_to_text(&page, syntax)
        }
        _ => {
            sniff::check_text(bytes)?;
            text_to_text(&decoded(bytes, charset, None)?, format)?
        }
    };
    let document = DocumentText {
        title: document.title.map(|title| readable(&title)),
        text: readable(&document.text),
    };
    if document.text.trim().is_empty() {
        return Err(match format {
            DocumentFormat::Pdf => ReadError::NoText,
            DocumentFormat::Html | DocumentFormat::Xhtml => ReadError::EmptyPage,
            _ => ReadError::Empty,
        });
    }
    if document.text.len() > MAX_TEXT_BYTES {
        return Err(ReadError::TooMuchText);
    }
    Ok(document)
}

fn text_to_text(text: &str, format: DocumentFormat) -> Result<DocumentText, ReadError> {
    match format {
        DocumentFormat::Csv => csv::csv_to_text(text),
        DocumentFormat::Tsv => csv::tsv_to_text(text),
        DocumentFormat::Json => json::json_to_text(text),
        DocumentFormat::Rst => Ok(markup::rst_to_text(text)),
        DocumentFormat::Mdx => Ok(markup::mdx_to_text(text)),
        DocumentFormat::Org => Ok(markup::org_to_text(text)),
        _ => Ok(DocumentText {
            title: markdown_title(text),
            text: text.to_owned(),
        }),
    }
}

/// The first line, if it is a heading.
fn markdown_title(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty());
    let title = first.and_then(|line| line.strip_prefix("# "));
    title
        .map(|title| title.trim().to_owned())
        .filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charset_is_that_of_the_byte_order_mark_the_sender_or_the_page() {
        let text = |bytes: &[u8], format, charset| {
            read_document(bytes, format, charset).map(|document| document.text)
        };
        assert_eq!(
            text("für".as_bytes(), DocumentFormat::Text, None).unwrap(),
            "für"
        );
        assert_eq!(
            text(b"f\xfcr", DocumentFormat::Text, Some("latin1")).unwrap(),
            "für"
        );
        assert_eq!(
            text(b"\x81\x8d", DocumentFormat::Text, None),
            Err(ReadError::UnknownEncoding)
        );
        assert_eq!(
            text(b"f", DocumentFormat::Text, Some("klingon")),
            Err(ReadError::UnknownCharset)
        );
        assert_eq!(
            text(b"\xff\xfef\0", DocumentFormat::Text, None).unwrap(),
            "f"
        );
        let page = b"<meta charset='iso-8859-1'>f\xfcr";
        assert_eq!(text(page, DocumentFormat::Html, None).unwrap(), "für");
    }

    #[test]
    fn a_document_without_text_is_refused() {
        assert_eq!(
            read_document(b" \n", DocumentFormat::Text, None),
            Err(ReadError::Empty)
        );
        let page = b"<title>a</title><script>b</script>";
        assert_eq!(
            read_document(page, DocumentFormat::Html, None),
            Err(ReadError::EmptyPage)
        );
    }

    #[test]
    fn the_title_of_a_text_is_the_heading_at_its_start() {
        let title = |text: &str| {
            read_document(text.as_bytes(), DocumentFormat::Text, None)
                .unwrap()
                .title
        };
        assert_eq!(title("\n# Returns\n\nx").as_deref(), Some("Returns"));
        assert_eq!(title("Returns\n# x"), None);
    }

    #[test]
    fn inputs_of_the_field_are_found() {
        use crate::{Document, IndexedDocument, Library};
        for (bytes, format, query) in [
            (
                &b"R\xfccksendung kostet 5 \x80"[..],
                DocumentFormat::Text,
                "Rücksendung",
            ),
            (
                "Mu\u{308}ller delivers.".as_bytes(),
                DocumentFormat::Text,
                "müller",
            ),
            (
                "gu\u{ad}aran\u{ad}tee".as_bytes(),
                DocumentFormat::Text,
                "GUARANTEE",
            ),
            ("of\u{fb01}ce".as_bytes(), DocumentFormat::Text, "office"),
            (b"R\0e\0f\0u\0n\0d\0", DocumentFormat::Text, "refund"),
            (
                b"<html><head><meta charset=\"utf-16\"></head><p>Refunds",
                DocumentFormat::Html,
                "refund",
            ),
            (
                b"{\"refund\":\"fourteen days\"}",
                DocumentFormat::Json,
                "fourteen",
            ),
        ] {
            let text = read_document(bytes, format, None).unwrap().text;
            let document = std::sync::Arc::new(Document::new("t", &text).unwrap());
            let (title, source) = ("t".to_owned(), "s".to_owned());
            let library = Library::new(vec![IndexedDocument {
                title,
                source,
                document,
            }])
            .unwrap();
            assert_eq!(library.search(query, 1).unwrap().len(), 1, "{query}");
        }
    }
}
