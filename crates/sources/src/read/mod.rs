//! Converts documents of all formats to text. For any bytes, the result is a [`DocumentText`] or an
//! error message for the agent's owner.

mod html;
mod pdf;

use encoding_rs::{Encoding, UTF_8};
use serde::{Deserialize, Serialize};

/// An API on AWS accepts 6 MB per call, and Base64 makes a file a third larger.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// The encoding is searched in this many bytes of a page (HTML standard, section 13.2.3.2).
const CHARSET_SEARCH_BYTES: usize = 1024;

/// The text of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentText {
    /// The title in the document.
    pub title: Option<String>,
    /// With headings and lists as in Markdown.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DocumentFormat {
    /// Plain text or Markdown.
    Text,
    Html,
    Pdf,
}

/// Why a document cannot be read. The texts are for the agent's owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReadError {
    #[error(
        "The document is not valid {0}; save it as UTF-8, or specify its charset in Content-Type"
    )]
    Encoding(String),
    #[error("The document's charset is unknown; save it as UTF-8")]
    UnknownCharset,
    #[error(
        "The document contains no text; apply text recognition (OCR) to a scanned document first"
    )]
    NoText,
    /// Not a PDF, or a damaged one.
    #[error("The document is not a readable PDF; open it and save it again, or send its text")]
    NotPdf,
    #[error("The PDF is protected by a password; save it without a password")]
    Locked,
    /// The decompressed size exceeds the limit.
    #[error("The PDF is too large when decompressed; split it, or send its text")]
    TooLarge,
    #[error("The page takes too long to read; simplify it, or send its text")]
    TooComplex,
    #[error("The document contains more than 4194304 bytes of text; split it")]
    TooMuchText,
}

impl DocumentFormat {
    /// The format of this content type, and its charset.
    pub fn from_content_type(content_type: &str) -> Option<(Self, Option<&str>)> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let format = match essence.trim().to_ascii_lowercase().as_str() {
            "text/plain" | "text/markdown" | "text/x-markdown" => Self::Text,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/pdf" => Self::Pdf,
            _ => return None,
        };
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"'))
        });
        Some((format, charset))
    }
}

/// Reads a document. An untrusted PDF or page can take much memory and time, so it must be read in a
/// subprocess. See docs/decisions/0014-subprocess-for-untrusted-work.md.
pub fn read_document(
    bytes: &[u8],
    format: DocumentFormat,
    charset: Option<&str>,
) -> Result<DocumentText, ReadError> {
    let document = match format {
        DocumentFormat::Text => plain(&decoded(bytes, charset)?),
        DocumentFormat::Html => html::html_to_text(&decoded(
            bytes,
            charset.or_else(|| declared_charset(bytes)),
        )?),
        DocumentFormat::Pdf => pdf::pdf_to_text(bytes)?,
    };
    if document.text.trim().is_empty() {
        return Err(ReadError::NoText);
    }
    if document.text.len() > MAX_TEXT_BYTES {
        return Err(ReadError::TooMuchText);
    }
    Ok(document)
}

/// Plain text is unchanged. Its title is its first line, if that is a heading.
fn plain(text: &str) -> DocumentText {
    let first = text.lines().find(|line| !line.trim().is_empty());
    let title = first
        .and_then(|line| line.strip_prefix("# "))
        .map(|title| title.trim().to_owned());
    DocumentText {
        title: title.filter(|title| !title.is_empty()),
        text: text.to_owned(),
    }
}

/// The encoding is that of the byte-order mark, else of the sender's charset, else UTF-8.
fn decoded(bytes: &[u8], charset: Option<&str>) -> Result<String, ReadError> {
    let declared = match charset {
        Some(label) => Encoding::for_label(label.as_bytes()).ok_or(ReadError::UnknownCharset)?,
        None => UTF_8,
    };
    let (text, encoding, malformed) = declared.decode(bytes);
    if malformed {
        Err(ReadError::Encoding(encoding.name().to_owned()))
    } else {
        Ok(text.into_owned())
    }
}

/// The `charset=…` in a page's `meta` element.
fn declared_charset(page: &[u8]) -> Option<&str> {
    let start = page.get(..CHARSET_SEARCH_BYTES.min(page.len()))?;
    let name = b"charset=";
    let at = start
        .windows(name.len())
        .position(|window| window.eq_ignore_ascii_case(name))?;
    let label = start.get(at + name.len()..)?.trim_ascii_start();
    let label = label
        .strip_prefix(b"\"")
        .or_else(|| label.strip_prefix(b"'"))
        .unwrap_or(label);
    let end = label
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:".contains(byte))?;
    str::from_utf8(label.get(..end)?)
        .ok()
        .filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_has_a_format_and_optionally_a_charset() {
        assert_eq!(
            DocumentFormat::from_content_type("text/plain"),
            Some((DocumentFormat::Text, None))
        );
        assert_eq!(
            DocumentFormat::from_content_type("Text/HTML; Charset=\"ISO-8859-1\""),
            Some((DocumentFormat::Html, Some("ISO-8859-1")))
        );
        assert_eq!(
            DocumentFormat::from_content_type("application/pdf;x"),
            Some((DocumentFormat::Pdf, None))
        );
        for other in [
            "",
            "text/csv",
            "application/json",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(DocumentFormat::from_content_type(other), None, "{other}");
        }
    }

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
            text(b"f\xfcr", DocumentFormat::Text, None),
            Err(ReadError::Encoding("UTF-8".to_owned()))
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
            Err(ReadError::NoText)
        );
        let page = b"<title>a</title><script>b</script>";
        assert_eq!(
            read_document(page, DocumentFormat::Html, None),
            Err(ReadError::NoText)
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
}
