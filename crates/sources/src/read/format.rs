//! The formats of documents, with their content types and file extensions.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DocumentFormat {
    /// Plain text or Markdown.
    Text,
    Html,
    Xhtml,
    Pdf,
    Docx,
    Csv,
    Tsv,
    /// JSON or JSON Lines.
    Json,
    Rst,
    Mdx,
    Org,
}

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// The first content type of each format is that of its files.
const CONTENT_TYPES: [(&str, DocumentFormat); 22] = [
    ("text/plain", DocumentFormat::Text),
    ("text/markdown", DocumentFormat::Text),
    ("text/x-markdown", DocumentFormat::Text),
    ("text/html", DocumentFormat::Html),
    ("application/xhtml+xml", DocumentFormat::Xhtml),
    ("application/pdf", DocumentFormat::Pdf),
    (DOCX, DocumentFormat::Docx),
    ("text/csv", DocumentFormat::Csv),
    ("application/csv", DocumentFormat::Csv),
    ("text/tab-separated-values", DocumentFormat::Tsv),
    ("application/json", DocumentFormat::Json),
    ("text/json", DocumentFormat::Json),
    ("application/x-ndjson", DocumentFormat::Json),
    ("application/jsonl", DocumentFormat::Json),
    ("application/jsonlines", DocumentFormat::Json),
    ("text/x-rst", DocumentFormat::Rst),
    ("text/prs.fallenstein.rst", DocumentFormat::Rst),
    ("text/mdx", DocumentFormat::Mdx),
    ("text/x-mdx", DocumentFormat::Mdx),
    ("text/org", DocumentFormat::Org),
    ("text/x-org", DocumentFormat::Org),
    ("text/vnd.org-mode", DocumentFormat::Org),
];

/// The content type of files by their extension.
const EXTENSIONS: [(&str, &str); 17] = [
    ("txt", "text/plain"),
    ("text", "text/plain"),
    ("md", "text/markdown"),
    ("markdown", "text/markdown"),
    ("mdx", "text/mdx"),
    ("rst", "text/x-rst"),
    ("org", "text/org"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("xhtml", "application/xhtml+xml"),
    ("pdf", "application/pdf"),
    ("docx", DOCX),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("json", "application/json"),
    ("jsonl", "application/x-ndjson"),
    ("ndjson", "application/x-ndjson"),
];

impl DocumentFormat {
    /// The format of this content type, and its charset.
    pub fn from_content_type(content_type: &str) -> Option<(Self, Option<&str>)> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let essence = essence.trim().to_ascii_lowercase();
        let (_, format) = CONTENT_TYPES
            .into_iter()
            .find(|(name, _)| *name == essence)?;
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"'))
        });
        Some((format, charset))
    }

    /// The content type of files with this extension.
    pub fn content_type_of_extension(extension: &str) -> Option<&'static str> {
        let extension = extension.to_ascii_lowercase();
        let known = EXTENSIONS
            .into_iter()
            .find(|(known, _)| *known == extension);
        known.map(|(_, content_type)| content_type)
    }

    /// Such as `.txt, .text, .md`.
    pub fn supported_extensions() -> String {
        EXTENSIONS
            .map(|(extension, _)| format!(".{extension}"))
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_has_a_format_and_optionally_a_charset() {
        for (content_type, expected) in [
            ("text/plain", (DocumentFormat::Text, None)),
            (
                "Text/HTML; Charset=\"ISO-8859-1\"",
                (DocumentFormat::Html, Some("ISO-8859-1")),
            ),
            ("application/pdf;x", (DocumentFormat::Pdf, None)),
            ("text/csv; header=present", (DocumentFormat::Csv, None)),
            ("application/x-ndjson", (DocumentFormat::Json, None)),
        ] {
            assert_eq!(
                DocumentFormat::from_content_type(content_type),
                Some(expected)
            );
        }
        for other in ["", "image/png", "application/x-www-form-urlencoded"] {
            assert_eq!(DocumentFormat::from_content_type(other), None, "{other}");
        }
    }

    #[test]
    fn every_extension_has_a_content_type_that_is_accepted() {
        for (extension, _) in EXTENSIONS {
            let content_type = DocumentFormat::content_type_of_extension(extension).unwrap();
            assert!(
                DocumentFormat::from_content_type(content_type).is_some(),
                "{extension}"
            );
        }
        assert_eq!(
            DocumentFormat::content_type_of_extension("PDF"),
            Some("application/pdf")
        );
        assert_eq!(DocumentFormat::content_type_of_extension("exe"), None);
    }
}
