// Bundles src/ into dist/, which is committed and embedded by the server. The same
// sources produce the same bytes. dist/docs/ is built by docs/build.mjs and not touched.
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL(".", import.meta.url));
const BASE = "/console/";

await rm(`${root}dist/assets`, { recursive: true, force: true });
await mkdir(`${root}dist/assets`, { recursive: true });

const licences = await writeHashed("licences.txt", await licencesOfDependencies());

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  legalComments: "none",
  banner: { js: `/* Licences of the bundled packages: ${licences} */` },
  charset: "utf8",
  metafile: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});

const [script, entry] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === "src/main.tsx");
const preloads = entry.imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path);
const icon = await writeHashed("icon.svg", await readFile(`${root}src/icon.svg`));
await writeFile(`${root}dist/index.html`, page());

/** Writes a file under a name with a hash of its content, and returns its URL. */
async function writeHashed(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
  const path = `assets/${name.replace(".", `-${hash}.`)}`;
  await writeFile(`${root}dist/${path}`, content);
  return BASE + path;
}

async function licencesOfDependencies() {
  const { dependencies } = JSON.parse(await readFile(`${root}package.json`, "utf8"));
  const texts = Object.entries(dependencies).map(async ([name, version]) => {
    const folder = `${root}node_modules/${name}/`;
    const file = (await readdir(folder)).find((candidate) => /^licen[cs]e/i.test(candidate));
    return `${name} ${version}\n\n${await readFile(folder + file, "utf8")}`;
  });
  return (await Promise.all(texts)).join(`\n${"=".repeat(72)}\n\n`);
}

function url(output) {
  return BASE + output.slice("dist/".length);
}

function page() {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#fbfbfa" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#101114" media="(prefers-color-scheme: dark)">
<title>Agent Webhooks</title>
<link rel="icon" href="${icon}" type="image/svg+xml">
<link rel="stylesheet" href="${url(entry.cssBundle)}">
${preloads.map((path) => `<link rel="modulepreload" href="${url(path)}">\n`).join("")}<script type="module" src="${url(script)}"></script>
</head>
<body>
<div id="app"></div>
<noscript>The console needs JavaScript. You can also use the command <code>agent-webhooks</code> or the API, documented at <a href="/api/docs">/api/docs</a>.</noscript>
</body>
</html>
`;
}
