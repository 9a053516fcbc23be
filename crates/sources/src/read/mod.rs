//! Documents of all formats as text. Whatever the bytes are, the answer is a
//! [`Reading`] or a sentence for their owner.

mod html;
mod pdf;

use encoding_rs::{Encoding, UTF_8};
use serde::{Deserialize, Serialize};

/// Largest file taken. An API on AWS takes 6 MB per call, and a file arrives a
/// third longer, in base64.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most text of one document.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// How far into a page its encoding is looked for (HTML standard, section 13.2.3.2).
const CHARSET_WITHIN: usize = 1024;

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The title it gives itself.
    pub title: Option<String>,
    /// Its text, headings and lists as in Markdown.
    pub text: String,
}

/// How a document is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Plain text or Markdown.
    Text,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
}

/// Why a document cannot be read, in words for its owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReadError {
    /// Its bytes are not what its encoding allows.
    #[error("The document is not valid {0}; save it as UTF-8, or name its charset in Content-Type")]
    Encoding(String),
    /// Nobody knows this encoding.
    #[error("The document's charset is unknown; save it as UTF-8")]
    UnknownCharset,
    /// It holds no text.
    #[error("The document holds no text; a scanned document needs text recognition (OCR) first")]
    NoText,
    /// It is no PDF, or a broken one.
    #[error("The document is not a PDF that can be read; open it and save it again, or send its text")]
    NotPdf,
    /// It is locked.
    #[error("The PDF is protected by a password; save it without one")]
    Locked,
    /// It would unpack to more than is read.
    #[error("The PDF unpacks to more than can be read; split it, or send its text")]
    TooLarge,
    /// Reading it takes too much time or memory.
    #[error("The page takes too long to read; simplify it, or send its text")]
    TooComplex,
    /// It says too much.
    #[error("The document holds more than 4194304 bytes of text; split it")]
    TooMuchText,
}

impl Format {
    /// The format of this content type, and the charset that it names.
    pub fn of(content_type: &str) -> Option<(Self, Option<&str>)> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let format = match essence.trim().to_ascii_lowercase().as_str() {
            "text/plain" | "text/markdown" | "text/x-markdown" => Self::Text,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/pdf" => Self::Pdf,
            _ => return None,
        };
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        Some((format, charset))
    }
}

/// What a document says. PDF is a language that can do anything, so whoever has
/// not made one reads it in a process of its own; see ARCHITECTURE.md.
pub fn read(bytes: &[u8], format: Format, charset: Option<&str>) -> Result<Reading, ReadError> {
    let reading = match format {
        Format::Text => plain(&decoded(bytes, charset)?),
        Format::Html => html::read(&decoded(bytes, charset.or_else(|| declared_charset(bytes)))?),
        Format::Pdf => pdf::read(bytes)?,
    };
    if reading.text.trim().is_empty() {
        return Err(ReadError::NoText);
    }
    if reading.text.len() > MAX_TEXT_BYTES {
        return Err(ReadError::TooMuchText);
    }
    Ok(reading)
}

/// As it is; its title is its first heading, if it begins with one.
fn plain(text: &str) -> Reading {
    let first = text.lines().find(|line| !line.trim().is_empty());
    let title = first.and_then(|line| line.strip_prefix("# ")).map(|title| title.trim().to_owned());
    Reading { title: title.filter(|title| !title.is_empty()), text: text.to_owned() }
}

/// A byte-order mark decides, then what the sender said, then UTF-8.
fn decoded(bytes: &[u8], charset: Option<&str>) -> Result<String, ReadError> {
    let said = match charset {
        Some(label) => Encoding::for_label(label.as_bytes()).ok_or(ReadError::UnknownCharset)?,
        None => UTF_8,
    };
    let (text, encoding, malformed) = said.decode(bytes);
    if malformed { Err(ReadError::Encoding(encoding.name().to_owned())) } else { Ok(text.into_owned()) }
}

/// The `charset=…` of a page's `meta`.
fn declared_charset(page: &[u8]) -> Option<&str> {
    let head = page.get(..CHARSET_WITHIN.min(page.len()))?;
    let name = b"charset=";
    let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
    let label = head.get(at + name.len()..)?.trim_ascii_start();
    let label = label.strip_prefix(b"\"").or_else(|| label.strip_prefix(b"'")).unwrap_or(label);
    let end = label.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:".contains(byte))?;
    str::from_utf8(label.get(..end)?).ok().filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_names_the_format_and_perhaps_the_charset() {
        assert_eq!(Format::of("text/plain"), Some((Format::Text, None)));
        assert_eq!(Format::of("Text/HTML; Charset=\"ISO-8859-1\""), Some((Format::Html, Some("ISO-8859-1"))));
        assert_eq!(Format::of("application/pdf;x"), Some((Format::Pdf, None)));
        for other in ["", "text/csv", "application/json", "application/x-www-form-urlencoded"] {
            assert_eq!(Format::of(other), None, "{other}");
        }
    }

    #[test]
    fn text_is_read_in_the_charset_that_mark_sender_or_page_name() {
        let text = |bytes: &[u8], format, charset| read(bytes, format, charset).map(|reading| reading.text);
        assert_eq!(text("für".as_bytes(), Format::Text, None).unwrap(), "für");
        assert_eq!(text(b"f\xfcr", Format::Text, Some("latin1")).unwrap(), "für");
        assert_eq!(text(b"f\xfcr", Format::Text, None), Err(ReadError::Encoding("UTF-8".to_owned())));
        assert_eq!(text(b"f", Format::Text, Some("klingon")), Err(ReadError::UnknownCharset));
        assert_eq!(text(b"\xff\xfef\0", Format::Text, None).unwrap(), "f");
        let page = b"<meta charset='iso-8859-1'>f\xfcr";
        assert_eq!(text(page, Format::Html, None).unwrap(), "für");
    }

    #[test]
    fn a_document_without_text_is_refused() {
        assert_eq!(read(b" \n", Format::Text, None), Err(ReadError::NoText));
        assert_eq!(read(b"<title>a</title><script>b</script>", Format::Html, None), Err(ReadError::NoText));
    }

    #[test]
    fn the_title_of_a_text_is_the_heading_it_begins_with() {
        let title = |text: &str| read(text.as_bytes(), Format::Text, None).unwrap().title;
        assert_eq!(title("\n# Returns\n\nx").as_deref(), Some("Returns"));
        assert_eq!(title("Returns\n# x"), None);
    }
}
