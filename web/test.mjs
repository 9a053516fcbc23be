// Bundles the unit tests of src/ like the console and runs them with Node's test runner.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL(".", import.meta.url));
const outdir = await mkdtemp(join(tmpdir(), "console-tests-"));
try {
  const files = await readdir(`${root}src`, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: files.filter((file) => /\.test\.tsx?$/.test(file)).map((file) => `src/${file}`),
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    jsx: "automatic",
    jsxImportSource: "preact",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const built = (await readdir(outdir, { recursive: true })).filter((file) => file.endsWith(".mjs"));
  const run = spawnSync(process.execPath, ["--test", "--enable-source-maps", ...built.map((file) => join(outdir, file))], { stdio: "inherit" });
  process.exitCode = run.status ?? 1;
} finally {
  await rm(outdir, { recursive: true });
}
