import assert from "node:assert/strict";
import { test } from "node:test";

import { type Draft, newKey, problems, samplePayload, taskIdIn, webhookPath } from "./trigger.ts";

const draft = (change: Partial<Draft>): Draft => ({ method: "POST", key: "", body: "{}", pairs: [], ...change });

test("input that cannot be sent is reported before it is sent", () => {
  assert.deepEqual(problems(draft({})), {});
  assert.match(problems(draft({ body: " " })).body ?? "", /missing/);
  assert.match(problems(draft({ body: "null" })).body ?? "", /any JSON value except null/);
  assert.match(problems(draft({ body: '{"a":}' })).body ?? "", /Line 1, column 6/);
  assert.deepEqual(problems(draft({ method: "GET", body: "nonsense" })), {});
  assert.match(problems(draft({ key: "x".repeat(257) })).key ?? "", /256/);
  assert.match(problems(draft({ key: "schlüssel\n" })).key ?? "", /ASCII/);
});

test("a webhook is called at the origin of the page", () => {
  const url = "https://hooks.example.com/api/webhooks/agents/abc";
  assert.equal(webhookPath(url), "/api/webhooks/agents/abc");
  assert.equal(webhookPath(url, [["a", "1 & 2"], ["a", "ü"], ["", "unnamed"]]), "/api/webhooks/agents/abc?a=1+%26+2&a=%C3%BC");
});

test("a task id is found only in a successful response", () => {
  assert.equal(taskIdIn('{"success":true,"task_id":"x"}'), "x");
  for (const text of ['{"success":false}', "null", "<html>", "[]", '{"task_id":1}']) assert.equal(taskIdIn(text), null);
});

test("a sample payload has the fields that the prompt uses", () => {
  assert.deepEqual(JSON.parse(samplePayload("Order {{ payload.order.id }} of {{ payload.order }} by {{ payload.name | upper }}")), { order: { id: "…" }, name: "…" });
  assert.deepEqual(JSON.parse(samplePayload(null)), { question: "What can you do?" });
  assert.equal(samplePayload("{{ payload.__proto__.x }}"), '{\n  "__proto__": {\n    "x": "…"\n  }\n}');
});

test("new keys are unique and valid", () => {
  assert.notEqual(newKey(), newKey());
  assert.deepEqual(problems(draft({ key: newKey() })), {});
});
