"""Makes PDFs with the Python library that its first argument names, in the folder of the second. Started by pdfs.py."""

import json
import sys
from pathlib import Path

TEXT = json.loads((Path(__file__).resolve().parent / "texts.json").read_text())
DEJAVU = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
CJK = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
LATIN1 = [TEXT[key] for key in ("english", "german", "french", "ligatures")]
WIDE = [*LATIN1, TEXT["greek"], TEXT["cyrillic"]]
ASIAN = [TEXT["japanese"], TEXT["chinese"]]


def html(lines, style=""):
    body = "".join(f"<p>{line}</p>" for line in lines)
    return f"<!doctype html><meta charset=utf-8><style>body {{ font-family: 'DejaVu Sans', 'Noto Sans CJK JP' }} {style}</style><h1>Terms</h1>{body}"


def reportlab(folder):
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

    pdfmetrics.registerFont(TTFont("DejaVu", DEJAVU))
    for name in ("HeiseiMin-W3", "HeiseiKakuGo-W5", "STSong-Light"):
        pdfmetrics.registerFont(UnicodeCIDFont(name))

    def canvas(name, font, lines, **options):
        page = Canvas(str(folder / f"{name}.pdf"), **options)
        page.setFont(font, 12)
        for place, line in enumerate(lines):
            page.drawString(72, 750 - 20 * place, line)
        page.save()

    canvas("reportlab-helvetica", "Helvetica", LATIN1)
    canvas("reportlab-times-plain", "Times-Roman", LATIN1, pageCompression=0)
    canvas("reportlab-truetype", "DejaVu", WIDE)
    canvas("reportlab-japanese-cid", "HeiseiMin-W3", [TEXT["japanese"]])
    canvas("reportlab-chinese-cid", "STSong-Light", [TEXT["chinese"]])
    canvas("reportlab-encrypted", "Helvetica", LATIN1, encrypt=StandardEncryption("", ownerPassword="owner", strength=128))
    style = ParagraphStyle("x", fontName="DejaVu", fontSize=11)
    SimpleDocTemplate(str(folder / "reportlab-platypus.pdf"), pagesize=A4, title="Terms").build([Paragraph(line, style) for line in WIDE])
    table = Table([[str(place), Paragraph(line, style)] for place, line in enumerate(WIDE)], colWidths=[30, 400])
    SimpleDocTemplate(str(folder / "reportlab-table.pdf")).build([table])


def fpdf2(folder):
    from fpdf import FPDF

    def make(name, font, lines, **options):
        page = FPDF(**options)
        if font:
            page.add_font("f", fname=font)
        page.add_page()
        page.set_font("f" if font else "Helvetica", size=12)
        for line in lines:
            page.multi_cell(0, 8, line, new_x="LMARGIN", new_y="NEXT")
        page.output(str(folder / f"{name}.pdf"))

    make("fpdf2-helvetica", None, LATIN1)
    make("fpdf2-truetype", DEJAVU, WIDE)
    make("fpdf2-cjk", CJK, ASIAN)
    make("fpdf2-landscape", DEJAVU, WIDE, orientation="landscape", format="a5")


def weasyprint(folder):
    from weasyprint import HTML

    HTML(string=html(WIDE + ASIAN)).write_pdf(folder / "weasyprint.pdf")
    HTML(string=html(WIDE + ASIAN)).write_pdf(folder / "weasyprint-pdfa.pdf", pdf_variant="pdf/a-3b")
    HTML(string=html(WIDE)).write_pdf(folder / "weasyprint-pdfua.pdf", pdf_variant="pdf/ua-1")
    right_to_left = "".join(f"<p dir=rtl>{TEXT[name]}</p>" for name in ("hebrew", "arabic"))
    HTML(string=f"<!doctype html><meta charset=utf-8><style>body {{ font-family: 'DejaVu Sans' }}</style>{right_to_left}").write_pdf(folder / "weasyprint-rtl.pdf")
    columns = "body { columns: 2; font-family: 'FreeSerif' } h1 { column-span: all }"
    HTML(string=html(WIDE, columns)).write_pdf(folder / "weasyprint-columns.pdf", full_fonts=True)


def matplotlib(folder):
    import matplotlib
    matplotlib.use("pdf")
    from matplotlib import pyplot
    for kind in (3, 42):
        matplotlib.rcParams["pdf.fonttype"] = kind
        figure = pyplot.figure(figsize=(10, 4))
        for place, line in enumerate(WIDE):
            figure.text(0.05, 0.9 - 0.12 * place, line)
        figure.savefig(folder / f"matplotlib-type{kind}.pdf")


def xhtml2pdf(folder):
    from xhtml2pdf import pisa
    with open(folder / "xhtml2pdf.pdf", "wb") as output:
        font = f"<style>@font-face {{ font-family: dejavu; src: url('{DEJAVU}') }} p {{ font-family: dejavu }}</style>"
        pisa.CreatePDF(font + "".join(f"<p>{line}</p>" for line in WIDE), dest=output, encoding="utf-8")


def typst(folder):
    import typst
    source = folder / "typst.typ"
    source.write_text('#set text(font: ("DejaVu Sans", "Noto Sans CJK JP"))\n= Terms\n' + "\n\n".join(WIDE + ASIAN))
    fonts = ["/usr/share/fonts"]
    typst.compile(str(source), output=str(folder / "typst.pdf"), font_paths=fonts)
    source.write_text("= Terms\n" + "\n\n".join(LATIN1 + [TEXT["greek"], TEXT["cyrillic"]]))
    typst.compile(str(source), output=str(folder / "typst-libertinus-pdfa.pdf"), pdf_standards="a-2b")
    source.unlink()


def rewrites(folder):
    """Other libraries write again what Chromium, or else ReportLab, has made."""
    import pikepdf
    import pypdf
    made = folder / "reportlab-truetype.pdf"
    reader = pypdf.PdfReader(made)
    for name, password in {"pypdf": None, "pypdf-aes256": ""}.items():
        writer = pypdf.PdfWriter()
        for page in reader.pages:
            writer.add_page(page).compress_content_streams()
        if password is not None:
            writer.encrypt(password, "owner", algorithm="AES-256")
        writer.write(folder / f"{name}.pdf")
    with pikepdf.open(made) as document:
        document.save(folder / "pikepdf-objectstreams.pdf", object_stream_mode=pikepdf.ObjectStreamMode.generate)
        document.save(folder / "pikepdf-linearized.pdf", linearize=True)
        document.save(folder / "pikepdf-aes256.pdf", encryption=pikepdf.Encryption(user="", owner="owner", R=6))
        document.save(folder / "pikepdf-rc4.pdf", encryption=pikepdf.Encryption(user="", owner="owner", R=3, aes=False, metadata=False))
    import pdfrw
    pdfrw.PdfWriter(str(folder / "pdfrw.pdf"), trailer=pdfrw.PdfReader(str(made))).write()


def scans(folder):
    """A picture of a text, without a text, and with one by OCR."""
    import img2pdf
    from PIL import Image, ImageDraw, ImageFont
    image = Image.new("RGB", (1654, 1100), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(DEJAVU, 36)
    for place, line in enumerate([TEXT["english"], TEXT["ligatures"]]):
        draw.text((80, 100 + 120 * place), line, "black", font)
    image.save(folder / "scan.png", dpi=(200, 200))
    (folder / "img2pdf-scan.pdf").write_bytes(img2pdf.convert(str(folder / "scan.png")))
    import shutil
    import subprocess
    if shutil.which("tesseract"):
        subprocess.run(["tesseract", folder / "scan.png", folder / "tesseract", "pdf"], check=True, capture_output=True)
        import ocrmypdf
        for kind in ("pdf", "pdfa"):
            ocrmypdf.ocr(folder / "img2pdf-scan.pdf", folder / f"ocrmypdf-{kind}.pdf", output_type=kind, progress_bar=False)
    (folder / "scan.png").unlink()


globals()[sys.argv[1]](Path(sys.argv[2]))
