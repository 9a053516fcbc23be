import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import { isLoopback, snippetsFor } from "./snippets.ts";

const URL_ = "https://hooks.example.com/api/webhooks/agents/abc";
const snippet = (id: string, prompt?: string) => snippetsFor(URL_, prompt).find((one) => one.id === id)!;

test("every snippet sends the fields that the prompt uses", () => {
  for (const id of ["curl", "python", "javascript", "zapier", "make", "n8n", "cron"]) {
    assert.ok(snippet(id, "Order {{ payload.order.id }}").code.includes('{ "order": { "id": "…" } }'), id);
    assert.ok(snippet(id).code.includes('{ "question": "What can you do?" }'), id);
  }
  assert.match(snippet("form", "{{ payload.name }} {{ payload.order.id }}").code, /name="name"/);
  assert.doesNotMatch(snippet("form", "{{ payload.name }} {{ payload.order.id }}").code, /name="order"/);
});

test("an error response is printed, and no task is requested", () => {
  const refusal = '{"success":false,"message":"Agent not found","code":"agent_not_found"}';
  const script = `curl() { case "$*" in *task_status*) echo asked ;; *) printf '%s' '${refusal}' ;; esac; }\n${snippet("curl").code}`;
  for (const shell of ["sh", "bash"]) assert.equal(spawnSync(shell, { input: script, encoding: "utf8" }).stdout, `${refusal}\n`);
});

test("a script's key is the caller's own, so that a retry has the same key", () => {
  for (const id of ["python", "javascript"]) {
    assert.match(snippet(id).code, /Idempotency-Key": .*order-/);
    assert.doesNotMatch(snippet(id).code, /uuid/i);
  }
});

test("a loopback address is recognized, with the services that cannot reach it", () => {
  for (const url of ["http://127.0.0.1:7091/x", "http://localhost/x", "http://[::1]:8/x"]) assert.ok(isLoopback(url), url);
  for (const url of [URL_, "http://10.0.0.1/x", "http://127.example.com/x", "http://notlocalhost/x"]) assert.ok(!isLoopback(url), url);
  assert.deepEqual(snippetsFor(URL_, null).filter((one) => one.needsPublicUrl).map((one) => one.id), ["github", "zapier", "make"]);
});
