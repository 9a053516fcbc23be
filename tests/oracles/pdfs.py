"""PDFs of many programs, in several scripts: uploaded by HTTP, and their sentences found by a question."""

import json
import os
import re
import subprocess
import unicodedata
import urllib.parse

from product import FOLDER, HERE, PYTHON

TEXTS = json.loads((HERE / "programs/texts.json").read_text())
# Words of each sentence, as a person asks for them.
QUESTIONS = {
    "english": "Where are returned bicycles accepted?",
    "german": "Was kostet die Rückgabe größerer Möbelstücke?",
    "french": "Quelle garantie a été prolongée?",
    "ligatures": "Who offers difficult traffic affidavits?",
    "greek": "Πότε γίνεται η επιστροφή των προϊόντων;",
    "cyrillic": "Когда возможен возврат товара?",
    "japanese": "返品は受け付けますか",
    "chinese": "商品可以退货吗",
    "hebrew": "מתי אפשרית ההחזרה של אופניים?",
    "arabic": "متى يمكن إرجاع الدراجات؟",
    "formula": "Which formula of bicycles?",
}
LATIN, WIDE, ALL = list(QUESTIONS)[:4], list(QUESTIONS)[:6], list(QUESTIONS)[:8]
# What a PDF has, by the beginning of its name; the longest one counts.
SENTENCES = {
    "": WIDE,
    "chromium-rtl": ["hebrew", "arabic"], "weasyprint-rtl": ["hebrew", "arabic"], "latex-math": ["formula"],
    "chromium-all": ALL, "weasyprint": ALL, "weasyprint-columns": WIDE, "weasyprint-pdfua": WIDE, "typst": ALL, "typst-lib": WIDE, "xelatex": ALL,
    "rewrite": ALL, "libreoffice-writer": ALL, "libreoffice-text": ALL, "libreoffice-pdfa": ALL, "wkhtmltopdf": ALL,
    "fpdf2-cjk": ["japanese", "chinese"], "fpdf2-helvetica": LATIN, "reportlab-helvetica": LATIN, "reportlab-times": LATIN,
    "reportlab-encrypted": LATIN, "reportlab-japanese": ["japanese"], "reportlab-chinese": ["chinese"], "pdfkit-helvetica": LATIN,
    "pdf-lib-helvetica": LATIN, "jspdf-helvetica": LATIN, "latex-": LATIN, "latex-computer": ["english", "ligatures"], "groff": LATIN,
    "prawn-helvetica": LATIN, "tesseract": ["english", "ligatures"], "ocrmypdf": ["english", "ligatures"],
    # Ghostscript 10.0 does not copy the characters of Chromium's fonts.
    "rewrite-ghostscript": ["english", "german", "ligatures"],
    # It has squares for the other letters.
    "xhtml2pdf": LATIN,
    # Pictures, and letters as outlines: refused with 422.
    "img2pdf": [], "paps": [],
}
PYTHON_MAKERS = ("reportlab", "fpdf2", "weasyprint", "matplotlib", "xhtml2pdf", "typst", "rewrites", "scans")
LEAST = 60


def run(report, product, folder):
    pdfs = folder / "pdfs"
    pdfs.mkdir()
    make(report, pdfs)
    made = sorted(pdfs.glob("*.pdf"))
    with report.case(f"at least {LEAST} PDFs"):
        report.expect(len(made) >= LEAST, f"{len(made)}; programs of Debian are missing")
    for pdf in made:
        search(report, product, pdf)
    report.note(f"{len(made)} PDFs: {', '.join(pdf.stem for pdf in made)}")


def make(report, pdfs):
    environment = {**os.environ, **{f"TEXT_{name.upper()}": text for name, text in TEXTS.items()}}
    commands = {name: [PYTHON, HERE / "programs/pdf_python.py", name, pdfs] for name in PYTHON_MAKERS}
    commands["node"] = ["node", HERE / "programs/pdf_node.mjs", pdfs, FOLDER / "npm"]
    commands["debian"] = [HERE / "programs/pdf_debian.sh", pdfs]
    for name, command in commands.items():
        with report.case(f"made by {name}"):
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
            report.expect(done.returncode == 0, done.stdout[-800:])


def search(report, product, pdf):
    """Each PDF has an agent of its own, so that a passage can only be of it."""
    agent = product.create({"name": pdf.stem[:60], "model": {"provider": "extractive"}})
    path = f"/api/agents/{agent['agent_id']}/sources?source={urllib.parse.quote(pdf.name)}"
    uploaded = product.admin("POST", path, pdf.read_bytes(), {"Content-Type": "application/pdf"})
    wanted = SENTENCES[max((start for start in SENTENCES if pdf.stem.startswith(start)), key=len)]
    with report.case(f"{pdf.stem}: the upload"):
        expected = 201 if wanted else 422
        report.expect(uploaded.status == expected, f"expected {expected}: {uploaded}")
    if uploaded.status != 201:
        return
    for name in wanted:
        with report.case(f"{pdf.stem}: {name}"):
            status = product.trigger(agent, {"question": QUESTIONS[name]})
            found = status["result"]["result"]["answer"] if status["status"] == "SUCCESS" else str(status["error"])
            report.expect(plain(TEXTS[name], name) in plain(found, name), f"found: {found[:300]!r}; pdftotext: {reference(pdf, name)}")


def plain(text, name):
    """White space is where a line ends. Japanese and Chinese have none between words. Marks of direction are not looked at."""
    text = re.sub("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", unicodedata.normalize("NFKC", text)).replace("’", "'")
    return re.sub(r"\s+", "" if name in ("japanese", "chinese") else " ", text)


def reference(pdf, name):
    """Whether Poppler finds the sentence, to separate a fault of the PDF from one of the product."""
    try:
        text = subprocess.run(["pdftotext", pdf, "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        return "not installed"
    return "finds it" if plain(TEXTS[name], name) in plain(text, name) else f"does not find it: {plain(text, name)[:200]!r}"
