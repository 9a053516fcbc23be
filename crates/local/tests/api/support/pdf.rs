//! PDFs, good and bad.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// A PDF with a page for each text.
pub(crate) fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len())
        .map(|page| format!("{} 0 R", 10 + 2 * page))
        .collect();
    let mut objects = vec![
        (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()),
        (
            2,
            format!(
                "<< /Type /Pages /Count {} /Kids [{}] >>",
                pages.len(),
                kids.join(" ")
            )
            .into_bytes(),
        ),
        (
            3,
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
                .to_vec(),
        ),
        (4, b"<< /Title (The zoo's rules) >>".to_vec()),
    ];
    for (page, text) in pages.iter().enumerate() {
        let (id, content) = (
            10 + 2 * page,
            format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET"),
        );
        let resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 612 792]";
        let leaf = format!(
            "<< /Type /Page /Parent 2 0 R {resources} /Contents {} 0 R >>",
            id + 1
        );
        objects.push((id, leaf.into_bytes()));
        objects.push((id + 1, stream("", content.as_bytes())));
    }
    file(&objects, "/Info 4 0 R")
}

/// A page with a picture of a text.
pub(crate) fn scanned() -> Vec<u8> {
    file(
        &[
            (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()),
            (2, b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>".to_vec()),
            (
                3,
                b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /I 5 0 R >> >> >>"
                    .to_vec(),
            ),
            (4, stream("", b"q 612 0 0 792 0 0 cm /I Do Q")),
            (5, stream("/Type /XObject /Subtype /Image /Width 8 /Height 8 /BitsPerComponent 8", &[7; 64])),
        ],
        "",
    )
}

/// A page whose content decompresses to this many bytes.
pub(crate) fn bomb(bytes: usize) -> Vec<u8> {
    let mut zipped = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..bytes / 1024 {
        zipped.write_all(&[b' '; 1024]).unwrap();
    }
    let content = stream("/Filter /FlateDecode", &zipped.finish().unwrap());
    file(
        &[
            (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()),
            (2, b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>".to_vec()),
            (
                3,
                b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>".to_vec(),
            ),
            (4, content),
        ],
        "",
    )
}

/// An object stream of a megabyte that lists its one large object many times.
pub(crate) fn many_objects_in_one() -> Vec<u8> {
    let count = 100_000;
    let index: String = (0..count).map(|n| format!("{} 0 ", 10 + n)).collect();
    let plain = format!("{index}[{}]", "(abcdefgh)".repeat(100_000));
    let mut zipped = ZlibEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(plain.as_bytes()).unwrap();
    let named = format!(
        "/Type /ObjStm /N {count} /First {} /Filter /FlateDecode",
        index.len()
    );
    let objects = stream(&named, &zipped.finish().unwrap());
    file(
        &[
            (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()),
            (5, objects),
        ],
        "",
    )
}

/// Nested arrays, and page trees that contain themselves.
pub(crate) fn endless() -> Vec<Vec<u8>> {
    let nested = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    let catalog = (1, b"<< /Type /Catalog /Pages 2 0 R >>".to_vec());
    let dictionaries = [b"<</A ".repeat(500_000), b">>".repeat(500_000)].concat();
    vec![
        file(&[catalog.clone(), (2, nested)], ""),
        file(&[catalog.clone(), (2, dictionaries)], ""),
        file(
            &[
                catalog.clone(),
                (
                    2,
                    b"<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>".to_vec(),
                ),
            ],
            "",
        ),
        file(&[catalog, (2, b"2 0 R".to_vec())], "/Prev 9"),
    ]
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let start = format!("<< /Length {} {dictionary} >>\nstream\n", content.len());
    [start.as_bytes(), content, b"\nendstream"].concat()
}

fn file(objects: &[(usize, Vec<u8>)], trailer: &str) -> Vec<u8> {
    let (mut file, mut table) = (b"%PDF-1.5\n".to_vec(), String::new());
    for (id, object) in objects {
        table.push_str(&format!("{id} 1\n{:010} 00000 n \n", file.len()));
        file.extend(format!("{id} 0 obj\n").into_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let (start, size) = (
        file.len(),
        objects.iter().map(|(id, _)| id + 1).max().unwrap_or(1),
    );
    let end = format!(
        "xref\n0 1\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n"
    );
    file.extend_from_slice(end.as_bytes());
    file
}
