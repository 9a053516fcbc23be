// Development server: serves dist/, rebuilds it when src/ changes, and forwards
// /api to a running server.   node dev.mjs http://127.0.0.1:7091 [admin token file]
import { spawnSync } from "node:child_process";
import { readFileSync, watch } from "node:fs";
import { createServer, request } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
const [api = "http://127.0.0.1:7091", tokenFile] = process.argv.slice(2);
const authorization = tokenFile && `Bearer ${readFileSync(tokenFile, "utf8").trim()}`;
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

rebuild();
let timer;
watch(`${root}src`, { recursive: true }, () => {
  clearTimeout(timer);
  timer = setTimeout(rebuild, 100);
});

const server = createServer((incoming, outgoing) => {
  const { pathname } = new URL(incoming.url, "http://localhost");
  if (pathname.startsWith("/api")) return forward(incoming, outgoing);
  if (!pathname.startsWith("/console")) return outgoing.writeHead(302, { location: "/console/" }).end();
  const name = pathname.startsWith("/console/assets/") ? pathname.slice("/console/".length) : "index.html";
  if (name.includes("..")) return outgoing.writeHead(404).end();
  try {
    const body = readFileSync(`${root}dist/${name}`);
    outgoing.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream" }).end(body);
  } catch {
    outgoing.writeHead(404).end();
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`console on http://127.0.0.1:${server.address().port}/console/`);
});

function rebuild() {
  spawnSync(process.execPath, [`${root}build.mjs`], { stdio: "inherit" });
}

function forward(incoming, outgoing) {
  const headers = { ...incoming.headers };
  if (authorization) headers.authorization = authorization;
  const upstream = request(new URL(incoming.url, api), { method: incoming.method, headers }, (response) => {
    outgoing.writeHead(response.statusCode, response.headers);
    response.pipe(outgoing);
  });
  upstream.on("error", () => outgoing.writeHead(502).end());
  incoming.pipe(upstream);
}
