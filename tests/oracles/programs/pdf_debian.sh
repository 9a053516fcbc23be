#!/usr/bin/env bash
# Makes PDFs with programs of Debian, in the folder of the first argument. Started by pdfs.py,
# which skips the PDFs of programs that are missing. TEXT_… have the sentences.
set -u
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
latin=("$TEXT_ENGLISH" "$TEXT_GERMAN" "$TEXT_FRENCH" "$TEXT_LIGATURES")
wide=("${latin[@]}" "$TEXT_GREEK" "$TEXT_CYRILLIC")
all=("${wide[@]}" "$TEXT_JAPANESE" "$TEXT_CHINESE")

# A program that fails or takes longer than a minute leaves no PDF, which the check reports.
try() { command -v "$1" >/dev/null && timeout 60 "$@" >>"$out/debian.log" 2>&1; }
paragraphs() { printf '<p>%s</p>\n' "$@"; }
html() { printf '<!doctype html><meta charset="utf-8"><title>Terms</title><style>%s</style><h1>Terms</h1>%s' "$1" "$(paragraphs "${@:2}")"; }

html "body { font-family: 'DejaVu Sans', 'Noto Sans CJK JP' }" "${all[@]}" >all.html
html "body { font-family: 'FreeSerif'; hyphens: auto; text-align: justify; width: 18em }" "${wide[@]}" >narrow.html

libreoffice() {
  cp all.html libreoffice-writer.html
  # Cells as rows: number, text.
  local line number=0
  for line in "${wide[@]}"; do printf '%d,"%s"\n' $((number += 1)) "$line"; done >libreoffice-calc.csv
  printf '%s\n\n' "${all[@]}" >libreoffice-text.txt
  impress >libreoffice-impress.fodp
  local file
  for file in libreoffice-writer.html libreoffice-calc.csv libreoffice-text.txt libreoffice-impress.fodp; do
    local filter=pdf
    [[ $file == *.html ]] && filter=pdf:writer_web_pdf_Export
    local input=()
    [[ $file == *.csv ]] && input=(--infilter=CSV:44,34,76)
    [[ $file == *.txt ]] && input=("--infilter=Text (encoded):UTF8,LF,,,")
    try soffice "-env:UserInstallation=file://$work/profile" --headless "${input[@]}" --convert-to "$filter" --outdir "$out" "$file"
  done
  try soffice "-env:UserInstallation=file://$work/profile" --headless --convert-to docx:"MS Word 2007 XML" --outdir "$work" libreoffice-text.txt "--infilter=Text (encoded):UTF8,LF,,,"
  [[ -f libreoffice-text.docx ]] && mv libreoffice-text.docx libreoffice-pdfa.docx &&
    try soffice "-env:UserInstallation=file://$work/profile" --headless --convert-to 'pdf:writer_pdf_Export:{"SelectPdfVersion":{"type":"long","value":"2"},"UseTaggedPDF":{"type":"boolean","value":"true"}}' --outdir "$out" libreoffice-pdfa.docx
}

impress() {
  echo '<?xml version="1.0" encoding="UTF-8"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0" office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.presentation"><office:body><office:presentation>'
  local line
  for line in "${wide[@]}"; do
    echo "<draw:page><draw:frame svg:width=\"24cm\" svg:height=\"4cm\" svg:x=\"1cm\" svg:y=\"1cm\"><draw:text-box><text:p>$line</text:p></draw:text-box></draw:frame></draw:page>"
  done
  echo '</office:presentation></office:body></office:document>'
}

chromium() {
  local browser=${CHROMIUM:-/usr/bin/chromium} name
  printf '<!doctype html><meta charset="utf-8"><style>body { font-family: "DejaVu Sans" }</style><p dir="rtl">%s</p><p dir="rtl">%s</p>' "$TEXT_HEBREW" "$TEXT_ARABIC" >rtl.html
  for name in all narrow rtl; do
    try "$browser" --headless --no-sandbox --disable-gpu "--user-data-dir=$work/chromium" "--print-to-pdf=$out/chromium-$name.pdf" --no-pdf-header-footer "file://$work/$name.html"
  done
}

tex() {
  printf '%s\n\n' '\documentclass{article}\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{lmodern}\begin{document}' "${latin[@]}" '\end{document}' >latex-lmodern.tex
  printf '%s\n\n' '\documentclass[twocolumn]{article}\usepackage[utf8]{inputenc}\begin{document}\section{Terms}' "$TEXT_ENGLISH" "$TEXT_LIGATURES" '\end{document}' >latex-computer-modern.tex
  printf '%s\n\n' '\documentclass{article}\usepackage[utf8]{inputenc}\begin{document}' "${latin[@]}" '\end{document}' >latex-ot1-accents.tex
  printf '%s\n\n' '\documentclass{article}\begin{document}' "$TEXT_FORMULA"' $E=mc^2$ and $\alpha+\beta\le\frac{1}{2}$ of bicycles.' '\end{document}' >latex-math.tex
  local name
  for name in latex-lmodern latex-computer-modern latex-ot1-accents latex-math; do
    try pdflatex -interaction=batchmode -output-directory "$work" "$name.tex" && mv "$name.pdf" "$out"
  done
  printf '%s\n\n' '\documentclass{article}\usepackage{fontspec}\setmainfont{DejaVu Serif}\newfontfamily\cjk{Noto Serif CJK JP}\begin{document}' "${wide[@]}" "{\\cjk $TEXT_JAPANESE}" "{\\cjk $TEXT_CHINESE}" '\end{document}' >xelatex.tex
  try xelatex -interaction=batchmode xelatex.tex && mv xelatex.pdf "$out"
}

groff_pdf() {
  { printf '.ce\nTerms\n'; printf '.PP\n%s\n' "$TEXT_ENGLISH" "$TEXT_GERMAN" "$TEXT_FRENCH" "$TEXT_LIGATURES"; } >terms.ms
  command -v groff >/dev/null && groff -ms -k -Tpdf terms.ms >"$out/groff.pdf" 2>>"$out/debian.log"
  groff -ms -k -Tps terms.ms >terms.ps 2>>"$out/debian.log" && try ps2pdf terms.ps "$out/groff-ghostscript.pdf"
}

others() {
  try wkhtmltopdf --quiet all.html "$out/wkhtmltopdf.pdf"
  printf '%s\n\n' "${wide[@]}" >terms.txt
  try abiword --to=pdf --to-name="$out/abiword.pdf" terms.txt
  printf '%s\n' "${wide[@]}" >terms.csv
  try ssconvert terms.csv "$out/gnumeric.pdf"
  command -v paps >/dev/null && paps terms.txt >paps.ps 2>>"$out/debian.log" && try ps2pdf paps.ps "$out/paps-ghostscript.pdf"
  svg >terms.svg
  try rsvg-convert --format=pdf --output="$out/librsvg-cairo.pdf" terms.svg
  try inkscape --export-filename="$out/inkscape.pdf" terms.svg
  fo >terms.fo
  fop_configuration >fop.xml
  try fop -c fop.xml terms.fo "$out/fop.pdf"
  prawn; api2; tcpdf
}

svg() {
  echo '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="400">'
  local line y=0
  for line in "${wide[@]}"; do echo "<text x=\"20\" y=\"$((y += 40))\" font-family=\"DejaVu Sans\" font-size=\"16\">$line</text>"; done
  echo '</svg>'
}

fo() {
  echo '<?xml version="1.0" encoding="UTF-8"?><fo:root xmlns:fo="http://www.w3.org/1999/XSL/Format"><fo:layout-master-set><fo:simple-page-master master-name="a"><fo:region-body margin="2cm"/></fo:simple-page-master></fo:layout-master-set><fo:page-sequence master-reference="a"><fo:flow flow-name="xsl-region-body" font-family="DejaVu">'
  printf '<fo:block space-after="6pt">%s</fo:block>\n' "${wide[@]}"
  echo '</fo:flow></fo:page-sequence></fo:root>'
}

fop_configuration() {
  echo '<fop version="1.0"><renderers><renderer mime="application/pdf"><fonts><font kerning="yes" embed-url="/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"><font-triplet name="DejaVu" style="normal" weight="normal"/></font></fonts></renderer></renderers></fop>'
}

prawn() {
  command -v ruby >/dev/null && ruby -e '
    require "prawn"
    Prawn::Fonts::AFM.hide_m17n_warning = true
    Prawn::Document.generate(ARGV[0] + "/prawn-helvetica.pdf") { |pdf| %w[ENGLISH GERMAN FRENCH LIGATURES].each { |key| pdf.text ENV["TEXT_" + key] } }
    Prawn::Document.generate(ARGV[0] + "/prawn-truetype.pdf") do |pdf|
      pdf.font "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
      %w[ENGLISH GERMAN FRENCH LIGATURES GREEK CYRILLIC].each { |key| pdf.text ENV["TEXT_" + key] }
    end' "$out" 2>>"$out/debian.log"
}

api2() {
  perl -MPDF::API2 -MEncode -e '
    my $pdf = PDF::API2->new(); my $page = $pdf->page(); my $text = $page->text(); my $y = 750;
    $text->font($pdf->font("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"), 12);
    for my $key (qw(ENGLISH GERMAN FRENCH LIGATURES GREEK CYRILLIC)) {
      $text->position(50, $y); $text->text(decode("UTF-8", $ENV{"TEXT_$key"})); $y -= 24;
    }
    $pdf->save("$ARGV[0]/perl-pdf-api2.pdf");' "$out" 2>>"$out/debian.log"
}

tcpdf() {
  command -v php >/dev/null && php -d include_path=/usr/share/php -r '
    require "/usr/share/php/tcpdf/tcpdf.php";
    $pdf = new TCPDF(); $pdf->AddPage(); $pdf->SetFont("dejavusans", "", 12);
    foreach (["ENGLISH", "GERMAN", "FRENCH", "LIGATURES", "GREEK", "CYRILLIC"] as $key) { $pdf->Write(0, getenv("TEXT_$key"), "", 0, "L", true); }
    $pdf->Output($argv[1] . "/tcpdf.pdf", "F");' "$out" >>"$out/debian.log" 2>&1
}

# Other programs write again what Chromium has made.
rewrites() {
  local made=$out/chromium-all.pdf
  [[ -f $made ]] || made=$out/reportlab-truetype.pdf
  try gs -q -dBATCH -dNOPAUSE -sDEVICE=pdfwrite "-sOutputFile=$out/rewrite-ghostscript.pdf" "$made"
  try qpdf --linearize "$made" "$out/rewrite-qpdf-linearized.pdf"
  try qpdf --object-streams=generate --recompress-flate "$made" "$out/rewrite-qpdf-objectstreams.pdf"
  try qpdf --qdf "$made" "$out/rewrite-qpdf-qdf.pdf"
  try qpdf --encrypt '' owner 256 -- "$made" "$out/rewrite-qpdf-aes256.pdf"
  try qpdf --encrypt '' owner 128 --use-aes=y -- "$made" "$out/rewrite-qpdf-aes128.pdf"
  try pdftk "$made" output "$out/rewrite-pdftk.pdf" uncompress
  try pdftocairo -pdf "$made" "$out/rewrite-cairo.pdf"
  try pdfunite "$made" "$made" "$out/rewrite-poppler-unite.pdf"
}

libreoffice
chromium
tex
groff_pdf
others
rewrites
exit 0
