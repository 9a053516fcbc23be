use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::*;

const TYPES: &str = r#"<Types><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>
<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/>
<Override PartName="/word/footnotes.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"/>
<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>"#;

fn zip(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut file);
    for (name, content) in parts {
        let new = archive
            .new_file(name)
            .compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) = new.start().unwrap();
        let encoder = DeflateEncoder::new(&mut entry, Compression::default());
        let mut writer = config.wrap(encoder);
        writer.write_all(content.as_bytes()).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    file
}

fn document(body: &str) -> Vec<u8> {
    let content = format!("<?xml version='1.0'?><w:document><w:body>{body}</w:body></w:document>");
    zip(&[
        ("[Content_Types].xml", TYPES),
        ("word/document.xml", &content),
    ])
}

fn text(body: &str) -> String {
    docx_to_text(&document(body)).unwrap().text
}

#[test]
fn headings_lists_and_tables_are_converted() {
    let body = "<w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>Refunds</w:t></w:r></w:p>
        <w:p><w:r><w:t xml:space='preserve'>Paid &amp; </w:t></w:r><w:r><w:t>done&#33;</w:t><w:tab/><w:t>x</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>One</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>Two</w:t></w:r></w:p>
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>sku</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>price</w:t></w:r></w:p></w:tc></w:tr>
        <w:tr><w:tc><w:p><w:r><w:t>A1</w:t></w:r></w:p><w:p><w:r><w:t>new</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>4.90</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
        <w:p><w:r><w:t>End</w:t></w:r></w:p>";
    assert_eq!(
        text(body),
        "# Refunds\n\nPaid & done!\tx\n\n- One\n- Two\n\n\nsku | price\n--- | ---\nA1 new | 4.90\n\n\nEnd"
    );
    assert_eq!(
        docx_to_text(&document(body)).unwrap().title.as_deref(),
        Some("Refunds")
    );
}

#[test]
fn deleted_text_is_dropped_but_not_text_boxes_and_formulas() {
    let body = "<w:p><w:r><w:t>a</w:t></w:r><w:del><w:r><w:delText>no</w:delText></w:r></w:del>
        <w:moveFrom><w:r><w:t>no</w:t></w:r></w:moveFrom><w:ins><w:r><w:t>b</w:t></w:r></w:ins>
        <w:r><w:instrText>no</w:instrText></w:r><m:r><m:t>c</m:t></m:r>
        <mc:AlternateContent><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Choice>
        <mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:p>";
    assert_eq!(text(body), "box\n\nabc");
}

#[test]
fn translated_styles_notes_and_the_title_are_read() {
    let styles = "<w:styles><w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style>
        <w:style w:styleId='Mein'><w:basedOn w:val='berschrift2'/></w:style></w:styles>";
    let body = "<w:document><w:p><w:pPr><w:pStyle w:val='Mein'/></w:pPr><w:r><w:t>Fristen</w:t></w:r></w:p></w:document>";
    let file = zip(&[
        ("[Content_Types].xml", TYPES),
        ("word/document.xml", body),
        ("word/styles.xml", styles),
        (
            "word/footnotes.xml",
            "<w:footnotes><w:p><w:r><w:t>A note</w:t></w:r></w:p></w:footnotes>",
        ),
        (
            "docProps/core.xml",
            "<c><dc:title>Das Handbuch</dc:title></c>",
        ),
    ]);
    let document = docx_to_text(&file).unwrap();
    assert_eq!(document.title.as_deref(), Some("Das Handbuch"));
    assert_eq!(document.text, "## Fristen\n\nA note");
}

#[test]
fn other_files_and_bombs_are_refused() {
    let bomb = document(&" ".repeat(60 * 1024 * 1024));
    assert_eq!(docx_to_text(&bomb), Err(ReadError::TooLarge));
    for (file, says) in [
        (b"%PDF-1.4".to_vec(), "send it as application/pdf"),
        (
            vec![0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1],
            "save it as .docx",
        ),
        (
            zip(&[("xl/workbook.xml", "<x/>")]),
            "not a readable Word document",
        ),
        (b"PK\x03\x04".to_vec(), "not a readable Word document"),
        (b"words".to_vec(), "not a readable Word document"),
    ] {
        let refused = docx_to_text(&file).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let good = document("<w:p><w:r><w:t>a</w:t></w:r></w:p>");
    for end in 0..good.len() {
        let _ = docx_to_text(&good[..end]);
    }
}
