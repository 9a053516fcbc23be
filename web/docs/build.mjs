// Builds web/dist/docs: the published Swagger UI with our own page, start script and
// colours. File names contain a hash of the content, so browsers can cache the files
// without an expiry.

import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const here = new URL("./", import.meta.url);
const vendor = new URL("../node_modules/swagger-ui-dist/", here);
const dist = new URL("../dist/docs/", here);

async function main() {
  await rm(dist, { recursive: true, force: true });
  await mkdir(new URL("assets/", dist), { recursive: true });

  const licences = await writeAsset("licences.txt", await licencesOfVendor());
  const bundle = await readText(vendor, "swagger-ui-bundle.js");
  const names = {
    BUNDLE: await writeAsset("swagger-ui.js", bundle.replace("swagger-ui-bundle.js.LICENSE.txt", licences)),
    VENDOR_STYLE: await writeAsset("swagger-ui.css", withoutSourceMap(await readText(vendor, "swagger-ui.css"))),
    STYLE: await writeAsset("docs.css", await readText(here, "docs.css")),
    START: await writeAsset("docs.js", await readText(here, "docs.js")),
    LICENCES: licences,
  };
  const page = await readText(here, "index.html");
  await writeFile(new URL("index.html", dist), page.replace(/\{(\w+)\}/g, (_, name) => names[name]));
}

/** Writes an asset under a name with a hash of its content, and returns that name. */
async function writeAsset(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8);
  const [stem, extension] = name.split(/\.(?=[^.]*$)/);
  const hashed = `${stem}-${hash}.${extension}`;
  await writeFile(new URL(`assets/${hashed}`, dist), content);
  return hashed;
}

async function licencesOfVendor() {
  const files = ["NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt"];
  const texts = await Promise.all(files.map((file) => readText(vendor, file)));
  return texts.join("\n");
}

function withoutSourceMap(style) {
  return style.replace(/\n*\/\*# sourceMappingURL=\S+ *\*\/\s*$/, "\n");
}

function readText(folder, name) {
  return readFile(new URL(name, folder), "utf8");
}

await main();
