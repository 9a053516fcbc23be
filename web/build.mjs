// Bundles src/ into dist/, which the server embeds and which is committed: the
// same sources make the same bytes. Files of other makers in dist/ (docs/) stay.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL(".", import.meta.url));
const BASE = "/console/";

await rm(`${root}dist/assets`, { recursive: true, force: true });
await mkdir(`${root}dist/assets`, { recursive: true });

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
  charset: "utf8",
  metafile: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});

const [script, entry] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === "src/main.tsx");
const preloads = entry.imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path);
const icon = await hashed("src/icon.svg", "icon", "svg");
await writeFile(`${root}dist/index.html`, page());

/** Copies a file under a name that changes with its content. */
async function hashed(source, name, extension) {
  const bytes = await readFile(root + source);
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 8).toUpperCase();
  const path = `assets/${name}-${hash}.${extension}`;
  await writeFile(`${root}dist/${path}`, bytes);
  return BASE + path;
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
<noscript>The console needs JavaScript. The same can be done with the command <code>agent-webhooks</code> and the API, documented at <a href="/api/docs">/api/docs</a>.</noscript>
</body>
</html>
`;
}
