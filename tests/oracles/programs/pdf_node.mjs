// Makes PDFs with libraries of npm, in the folder of the first argument. Started by pdfs.py.
import fs from 'node:fs'
import { createRequire } from 'node:module'

const [folder, packages] = process.argv.slice(2)
const require = createRequire(packages + '/')
const text = JSON.parse(fs.readFileSync(new URL('texts.json', import.meta.url)))
const dejavu = '/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf'
const latin = ['english', 'german', 'french', 'ligatures'].map((key) => text[key])
const wide = [...latin, text.greek, text.cyrillic]

function stream(document, name) {
  document.pipe(fs.createWriteStream(`${folder}/${name}.pdf`))
  document.end()
}

const makers = {
  pdfkit() {
    const PDFDocument = require('pdfkit')
    const standard = new PDFDocument()
    latin.forEach((line) => standard.text(line))
    stream(standard, 'pdfkit-helvetica')
    const embedded = new PDFDocument({ tagged: true })
    embedded.font(dejavu)
    wide.forEach((line) => embedded.text(line, { paragraphGap: 8 }))
    stream(embedded, 'pdfkit-truetype')
  },
  async pdflib() {
    const { PDFDocument, StandardFonts } = require('pdf-lib')
    for (const name of ['helvetica', 'truetype']) {
      const document = await PDFDocument.create()
      document.registerFontkit(require('@pdf-lib/fontkit'))
      const font = await document.embedFont(name == 'helvetica' ? StandardFonts.Helvetica : fs.readFileSync(dejavu), { subset: name != 'helvetica' })
      const page = document.addPage()
      const lines = name == 'helvetica' ? latin : wide
      lines.forEach((line, place) => page.drawText(line, { x: 50, y: 750 - 24 * place, size: 12, font }))
      fs.writeFileSync(`${folder}/pdf-lib-${name}.pdf`, await document.save())
    }
  },
  jspdf() {
    const { jsPDF } = require('jspdf')
    const standard = new jsPDF()
    latin.forEach((line, place) => standard.text(line, 10, 20 + 10 * place))
    fs.writeFileSync(`${folder}/jspdf-helvetica.pdf`, Buffer.from(standard.output('arraybuffer')))
    const embedded = new jsPDF({ compress: true })
    embedded.addFileToVFS('d.ttf', fs.readFileSync(dejavu).toString('base64'))
    embedded.addFont('d.ttf', 'D', 'normal')
    embedded.setFont('D')
    wide.forEach((line, place) => embedded.text(line, 10, 20 + 10 * place))
    fs.writeFileSync(`${folder}/jspdf-truetype.pdf`, Buffer.from(embedded.output('arraybuffer')))
  },
  async pdfmake() {
    const pdfmake = require('pdfmake')
    pdfmake.setFonts({ D: { normal: dejavu, bold: dejavu } })
    await pdfmake.createPdf({ content: wide, defaultStyle: { font: 'D' } }).write(`${folder}/pdfmake.pdf`)
  },
}

for (const [name, make] of Object.entries(makers)) {
  try {
    await make()
  } catch (error) {
    console.error(`${name}: ${error}`)
  }
}
