use super::*;

/// A PDF with one page. `objects` start at number 5.
fn pdf(content: &str, resources: &str, objects: &[&str]) -> Vec<u8> {
    let page = format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << {resources} >> >>"
    );
    let all = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        page,
        stream("", content),
    ];
    let all = all
        .into_iter()
        .chain(objects.iter().map(|object| (*object).to_owned()));
    let (mut file, mut table) = ("%PDF-1.5\n".to_owned(), String::new());
    let mut count = 1;
    for object in all {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{count} 0 obj\n{object}\nendobj\n"));
        count += 1;
    }
    let start = file.len();
    file.push_str(&format!(
        "xref\n0 {count}\n0000000000 65535 f \n{table}trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF"
    ));
    file.into_bytes()
}

fn stream(dictionary: &str, content: &str) -> String {
    format!(
        "<< /Length {} {dictionary} >>\nstream\n{content}\nendstream",
        content.len()
    )
}

const HELVETICA: &str = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >> >>";

fn text(content: &str) -> String {
    text_of(&pdf(content, HELVETICA, &[]))
}

fn text_of(pdf: &[u8]) -> String {
    let text = pdf_to_text(pdf).unwrap().text;
    text.trim()
        .strip_prefix("# Page 1\n\n")
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn words_are_separated_by_their_positions() {
    for (content, expected) in [
        (
            "(Refunds) Tj 51 0 Td (are) Tj 25 0 Td (paid) Tj -76 -15 Td (Second) Tj 45 0 Td (line) Tj",
            "Refunds are paid\nSecond line",
        ),
        (
            "[(Refunds) -300 (are) -280 (pa) 20 (id)] TJ",
            "Refunds are paid",
        ),
        ("[(R) 10 (e) -20 (f) 15 (und)] TJ", "Refund"),
        (
            "1 0 0 1 72 700 Tm (Refunds) Tj 1 0 0 1 120 700 Tm (are) Tj",
            "Refunds are",
        ),
        (
            "(R) Tj 8.7 0 Td (e) Tj 6.7 0 Td (f) Tj 3.4 0 Td (u) Tj 6.7 0 Td (n) Tj 6.7 0 Td (d) Tj 10 0 Td (i) Tj 2.7 0 Td (s) Tj",
            "Refund is",
        ),
        ("3 Tc (Refunds) Tj 0 Tc 90 0 Td (are) Tj", "Refunds are"),
        ("60 Tz [(Refunds) -300 (are)] TJ", "Refunds are"),
        ("(Price) Tj ( ) Tj (list) Tj", "Price list"),
        ("2 Tr (Bold) Tj", "Bold"),
        ("(Bold) Tj 0.3 0 Td (Bold) Tj", "Bold"),
        ("3 Tr (Hidden) Tj", "Hidden"),
        (
            "(The guaran-) Tj 0 -14 Td (tee. WarranM) Tj",
            "The guarantee. WarranM",
        ),
        ("(Contact ser\\255vice) Tj", "Contact ser\u{ad}vice"),
        ("(A-) Tj 0 -14 Td (B) Tj", "A-\nB"),
        ("(One) Tj 0 -40 Td (Two) Tj", "One\n\nTwo"),
    ] {
        assert_eq!(
            text(&format!("BT /F1 12 Tf 72 700 Td {content} ET")),
            expected,
            "{content}"
        );
    }
    let rotated = "BT /F1 12 Tf 0 1 -1 0 72 100 Tm (Refunds) Tj 51 0 Td (are) Tj ET";
    assert_eq!(text(rotated), "Refunds are");
}

#[test]
fn the_text_of_form_xobjects_is_read() {
    let inner = stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /X2 6 0 R >> >>",
        "q /X2 Do Q",
    );
    let form = stream(
        &format!("/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << {HELVETICA} >>"),
        "BT 3 Tr /F1 12 Tf 72 700 Td (Refunds are paid) Tj ET",
    );
    let pdf = pdf("q /X1 Do Q", "/XObject << /X1 5 0 R >>", &[&inner, &form]);
    assert_eq!(text_of(&pdf), "Refunds are paid");
}

#[test]
fn predefined_cjk_cmaps_are_read() {
    for (cmap, ordering, code, expected) in [
        ("UniGB-UCS2-H", "GB1", "9000 6B3E", "退款"),
        ("UniGB-UTF16-H", "GB1", "9000 6B3E", "退款"),
        ("GBK-EUC-H", "GB1", "CDCB BFEE", "退款"),
        ("UniJIS-UTF16-H", "Japan1", "8FD4 54C1", "返品"),
        ("UniJIS-UCS2-H", "Japan1", "8FD4 54C1", "返品"),
        ("90ms-RKSJ-H", "Japan1", "95D4 9569", "返品"),
        ("UniCNS-UTF16-H", "CNS1", "9000 6B3E", "退款"),
        ("UniKS-UCS2-H", "Korea1", "D658 BD88", "환불"),
        ("UniJIS-UTF16-V", "Japan1", "8FD4 54C1", "返品"),
    ] {
        let font = format!(
            "/Font << /F1 << /Type /Font /Subtype /Type0 /BaseFont /Some /Encoding /{cmap} /DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Some /CIDSystemInfo << /Registry (Adobe) /Ordering ({ordering}) /Supplement 2 >> /FontDescriptor << /Type /FontDescriptor /FontName /Some /Flags 4 >> >>] >> >>"
        );
        let pdf = pdf(
            &format!("BT /F1 12 Tf 72 700 Td <{code}> Tj ET"),
            &font,
            &[],
        );
        assert_eq!(text_of(&pdf), expected, "{cmap}");
    }
}

#[test]
fn identity_h_is_read_by_its_map_or_refused_as_unreadable() {
    let map = stream(
        "",
        "/CIDInit /ProcSet findresource begin begincmap\n1 begincodespacerange <0000> <FFFF> endcodespacerange\n2 beginbfchar <0001> <9000> <0002> <FB01> endbfchar\nendcmap end",
    );
    let font = |to_unicode: &str| {
        format!(
            "/Font << /F1 << /Type /Font /Subtype /Type0 /BaseFont /Some /Encoding /Identity-H {to_unicode} /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Some /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor << /Type /FontDescriptor /FontName /Some /Flags 4 >> >>] >> >>"
        )
    };
    let content = "BT /F1 12 Tf 72 700 Td <00010002> Tj ET";
    assert_eq!(
        text_of(&pdf(content, &font("/ToUnicode 5 0 R"), &[&map])),
        "退fi"
    );
    assert_eq!(
        pdf_to_text(&pdf(content, &font(""), &[])),
        Err(ReadError::NoCharacterCodes)
    );
}

#[test]
fn what_is_not_a_pdf_gets_an_error_that_fits() {
    for (file, says) in [
        (&b"<!doctype html><p>x"[..], "not a PDF, but an HTML page"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"words", "not a readable PDF"),
        (b"%PDF-1.4 words", "not a readable PDF"),
    ] {
        let refused = pdf_to_text(file).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(pdf_to_text(&pdf("q Q", "", &[])), Err(ReadError::NoText));
}
