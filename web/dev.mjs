// For working on the console: serves dist/, rebuilt when src/ changes, and hands
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

const server = createServer((asked, answer) => {
  const { pathname } = new URL(asked.url, "http://localhost");
  if (pathname.startsWith("/api")) return forward(asked, answer);
  if (!pathname.startsWith("/console")) return answer.writeHead(302, { location: "/console/" }).end();
  const name = pathname.startsWith("/console/assets/") ? pathname.slice("/console/".length) : "index.html";
  if (name.includes("..")) return answer.writeHead(404).end();
  try {
    const body = readFileSync(`${root}dist/${name}`);
    answer.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream" }).end(body);
  } catch {
    answer.writeHead(404).end();
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`console on http://127.0.0.1:${server.address().port}/console/`);
});

function rebuild() {
  spawnSync(process.execPath, [`${root}build.mjs`], { stdio: "inherit" });
}

function forward(asked, answer) {
  const headers = { ...asked.headers };
  if (authorization) headers.authorization = authorization;
  const upstream = request(new URL(asked.url, api), { method: asked.method, headers }, (response) => {
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  upstream.on("error", () => answer.writeHead(502).end());
  asked.pipe(upstream);
}
