use unicode_normalization::char::is_combining_mark;

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
        (
            "[(A) -333 (formula) -333 (E) -333 (=) -278 (mc) -222 (+) -222 (b) -333 (=) -333 (c)] TJ",
            "A formula E = mc + b = c",
        ),
        (
            "[(List) -400 (.) -400 (.) -400 (.) -400 (.) -400 (.) -400 (.) -400 (7)] TJ",
            "List ...... 7",
        ),
        ("60 Tz [(Refunds) -300 (are)] TJ", "Refunds are"),
        ("98 Tz [(It) -300 (is) -300 (a)] TJ", "It is a"),
        ("98 Tz [(a) -300 (b)] TJ [(c) -300 (d)] TJ", "a bc d"),
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

/// A page whose font has the characters of `chars`, with the codes 1, 2 and so on. A character is
/// one em wide, and a vowel point has no width.
fn pdf_of_chars(chars: &str, content: &str) -> Vec<u8> {
    let codes = chars.chars().zip(1..).map(|(c, code)| {
        let units = c.encode_utf16(&mut [0; 2]).to_vec();
        let units: String = units.iter().map(|unit| format!("{unit:04X}")).collect();
        format!("<{code:04X}> <{units}> ")
    });
    let codes: Vec<String> = codes.collect();
    let map = stream(
        "",
        &format!(
            "/CIDInit /ProcSet findresource begin begincmap\n1 begincodespacerange <0000> <FFFF> endcodespacerange\n{} beginbfchar {}endbfchar\nendcmap end",
            codes.len(),
            codes.concat()
        ),
    );
    let points = chars
        .chars()
        .zip(1..)
        .filter(|(c, _)| is_combining_mark(*c));
    let widths: String = points.map(|(_, code)| format!("{code} [0] ")).collect();
    pdf(content, &identity_h("/ToUnicode 5 0 R", &widths), &[&map])
}

fn identity_h(to_unicode: &str, widths: &str) -> String {
    format!(
        "/Font << /F1 << /Type /Font /Subtype /Type0 /BaseFont /Some /Encoding /Identity-H {to_unicode} /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Some /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /W [{widths}] /FontDescriptor << /Type /FontDescriptor /FontName /Some /Flags 4 >> >>] >> >>"
    )
}

/// The text of glyphs that are drawn one after the other, each letter after the move of `step`.
fn text_of_chars(chars: &str, step: &str) -> String {
    let codes = chars.chars().zip(1..).map(|(c, code)| {
        let step = if is_combining_mark(c) { "" } else { step };
        format!("{step} <{code:04X}> Tj ")
    });
    let content = format!(
        "BT /F1 12 Tf 1 0 0 1 300 700 Tm {} ET",
        codes.collect::<String>()
    );
    text_of(&pdf_of_chars(chars, &content))
}

#[test]
fn identity_h_is_read_by_its_map_or_refused_as_unreadable() {
    let content = "BT /F1 12 Tf 72 700 Td <00010002> Tj ET";
    assert_eq!(text_of(&pdf_of_chars("退\u{fb01}", content)), "退fi");
    assert_eq!(text_of(&pdf_of_chars("退\0", content)), "退");
    for unreadable in [
        pdf(content, &identity_h("", ""), &[]),
        pdf_of_chars("\0\u{fffd}", content),
    ] {
        assert_eq!(pdf_to_text(&unreadable), Err(ReadError::NoCharacterCodes));
    }
}

#[test]
fn hebrew_and_arabic_are_read_in_logical_order() {
    for (drawn, expected) in [
        (".ישימח םוי דע", "עד יום חמישי."),
        (".12/05/2024 דע 3.5", "3.5 עד 12/05/2024."),
        ("Acme 24 רובע םולש", "שלום עבור Acme 24"),
        ("The word םולש here", "The word שלום here"),
        ("ﺲﻴﻤﺨﻟا مﻮﻳ ﻰﺘﺣ", "حتى يوم الخميس"),
        ("\u{fefb}", "لا"),
        ("(םולש) דע", "עד (שלום)"),
        (")םולש( דע", "עד (שלום)"),
        // A point is drawn before its letter.
        ("ם\u{5b9}ול\u{5b8}ש", "ש\u{5b8}לו\u{5b9}ם"),
    ] {
        assert_eq!(text_of_chars(drawn, ""), expected, "{drawn}");
    }
    // A shadow.
    let shadow = "1 0 0 1 302 698 Tm <0001> Tj <0002> Tj";
    let content = format!("BT /F1 12 Tf 1 0 0 1 300 700 Tm <0001> Tj <0002> Tj {shadow} ET");
    assert_eq!(text_of(&pdf_of_chars("לש", &content)), "של");
    for logical in ["שלום עד 3", "ש\u{5b8}לו\u{5b9}ם", "حتى يوم"] {
        assert_eq!(text_of_chars(logical, "-12 0 Td"), logical);
    }
}

#[test]
fn vertical_text_is_read_down_its_columns() {
    let content = "BT /F1 12 Tf 300 700 Td <0001> Tj 0 -12 Td <0002> Tj 0 -12 Td <0003> Tj -20 24 Td <0004> Tj 0 -12 Td <0005> Tj ET";
    assert_eq!(
        text_of(&pdf_of_chars("返品は⼊︒", content)),
        "返品は\n入。"
    );
}

#[test]
fn accents_are_joined_with_the_letters_that_they_are_drawn_over() {
    let font = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding << /BaseEncoding /WinAnsiEncoding /Differences [1 /dotlessi /hungarumlaut] >> >> >>";
    for (content, expected) in [
        ("[(R) -112 (\\250) 445 (uckgabe)] TJ", "Rückgabe"),
        (
            "[(a) -389 (\\264) 445 (et) -111 (\\264) 445 (e)] TJ",
            "a été",
        ),
        ("[(gar) (c) 417 (\\270) -84 (on)] TJ", "garçon"),
        ("[(\\264) 305 (\\001)] TJ", "í"),
        ("[(f) -111 (\\002) 445 (o)] TJ", "fő"),
        // A raised accent over a capital letter.
        ("2 Ts [-167 (\\250)] TJ 0 Ts [500 (Uber)] TJ", "Über"),
        ("[(o) 445 (^) -44 (o) 445 (~)] TJ", "ôõ"),
        // A letter with two accents.
        ("[(\\136) 512 (e) 445 (\\264)] TJ", "ế"),
        ("(x^2 ~a `b` 5\\260 C \\250u) Tj", "x^2 ~a `b` 5° C ¨u"),
    ] {
        let page = format!("BT /F1 12 Tf 72 700 Td {content} ET");
        assert_eq!(text_of(&pdf(&page, font, &[])), expected, "{content}");
    }
}

#[test]
fn raised_digits_are_superscripts_and_not_part_of_a_word() {
    for (content, expected) in [
        ("(Refund) Tj RAISE (12) Tj BASE ( is) Tj", "Refund ¹² is"),
        ("(Refund.) Tj RAISE (1) Tj BASE", "Refund.¹"),
        ("(Refund\\262 is) Tj", "Refund ² is"),
        ("(10) Tj RAISE (2) Tj BASE ( m\\262) Tj", "10² m²"),
        ("(E=mc) Tj RAISE (2) Tj BASE", "E=mc²"),
        ("(CO) Tj -2 Ts /F1 7 Tf (2) Tj BASE", "CO2"),
        ("(Refund) Tj 4 Ts (12) Tj", "Refund12"),
        ("RAISE (1) Tj BASE (To) Tj", "1 To"),
    ] {
        let content = content
            .replace("RAISE", "4 Ts /F1 7 Tf")
            .replace("BASE", "0 Ts /F1 12 Tf");
        let page = format!("BT /F1 12 Tf 72 700 Td {content} ET");
        assert_eq!(text(&page), expected, "{content}");
    }
}

#[test]
fn actual_text_replaces_glyphs() {
    for (content, expected) in [
        (
            "(Re) Tj /Span << /ActualText (fun) >> BDC (X) Tj EMC (d) Tj",
            "Refund",
        ),
        (
            "/Span << /ActualText <FEFF8FD454C1> >> BDC (X) Tj (Y) Tj EMC",
            "返品",
        ),
        ("/Span /Named BDC (X) Tj EMC (s) Tj", "Refunds"),
        (
            "/Span /Named BDC /P BMC (X) Tj EMC /Span /Named BDC (Y) Tj EMC EMC (s) Tj",
            "Refunds",
        ),
        (
            "(One) Tj /Span << /ActualText () >> BDC (---) Tj EMC",
            "One",
        ),
        ("/P << /MCID 0 >> BDC (One) Tj EMC EMC ( two) Tj", "One two"),
        ("(One ) Tj /Span /Named BDC (two) Tj", "One Refund"),
        ("/Span << /ActualText (picture) >> BDC EMC (One) Tj", "One"),
        (
            "(guaran) Tj /Span << /ActualText <FEFF00AD> >> BDC (-) Tj EMC 0 -14 Td (tee) Tj",
            "guarantee",
        ),
    ] {
        let resources = format!("{HELVETICA} /Properties << /Named << /ActualText (Refund) >> >>");
        let page = format!("BT /F1 12 Tf 72 700 Td {content} ET");
        assert_eq!(text_of(&pdf(&page, &resources, &[])), expected, "{content}");
    }
    let unreadable = pdf(
        "BT /F1 12 Tf 72 700 Td /Span << /ActualText (Refund) >> BDC <0001> Tj EMC ET",
        &identity_h("", ""),
        &[],
    );
    assert_eq!(text_of(&unreadable), "Refund");
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
