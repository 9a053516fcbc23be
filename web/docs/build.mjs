// Builds web/dist/docs: the API's document shown by Swagger UI, as its makers publish
// it, with a page, a start and a few colours of our own. Names change with what a
// file holds, so that browsers may keep it for ever.

import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const here = new URL("./", import.meta.url);
const vendor = new URL("../node_modules/swagger-ui-dist/", here);
const dist = new URL("../dist/docs/", here);

async function main() {
  await rm(dist, { recursive: true, force: true });
  await mkdir(new URL("assets/", dist), { recursive: true });

  const licences = await keep("licences.txt", await licencesOfVendor());
  const bundle = await read(vendor, "swagger-ui-bundle.js");
  const names = {
    BUNDLE: await keep("swagger-ui.js", bundle.replace("swagger-ui-bundle.js.LICENSE.txt", licences)),
    VENDOR_STYLE: await keep("swagger-ui.css", withoutSourceMap(await read(vendor, "swagger-ui.css"))),
    STYLE: await keep("docs.css", await read(here, "docs.css")),
    START: await keep("docs.js", await read(here, "docs.js")),
    LICENCES: licences,
  };
  const page = await read(here, "index.html");
  await writeFile(new URL("index.html", dist), page.replace(/\{(\w+)\}/g, (_, name) => names[name]));
}

/** The file's name among the assets, with the hash of what it holds. */
async function keep(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8);
  const [stem, extension] = name.split(/\.(?=[^.]*$)/);
  const hashed = `${stem}-${hash}.${extension}`;
  await writeFile(new URL(`assets/${hashed}`, dist), content);
  return hashed;
}

async function licencesOfVendor() {
  const files = ["NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt"];
  const texts = await Promise.all(files.map((file) => read(vendor, file)));
  return texts.join("\n");
}

function withoutSourceMap(style) {
  return style.replace(/\n*\/\*# sourceMappingURL=\S+ *\*\/\s*$/, "\n");
}

function read(folder, name) {
  return readFile(new URL(name, folder), "utf8");
}

await main();
