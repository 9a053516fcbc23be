import assert from "node:assert/strict";
import { test } from "node:test";

import type { Agent } from "../types.ts";
import { EMPTY_FORM, type Form, changesOf, fieldOf, parseForm, refusalInWords, toForm } from "./form.ts";

const AGENT: Agent = {
  agent_id: "a-1",
  webhook_url: "http://h/api/webhooks/agents/t",
  created_at: "2026-01-01T00:00:00.000Z",
  updated_at: "2026-01-01T00:00:00.000Z",
  name: "triage",
  prompt: "Hello\n",
  model: { provider: "openai", base_url: "http://h/v1", name: "m", api_key: { secret: "agents/a-1/model-api-key-0" } },
  tools: [{ type: "search_sources" }],
  sources: [{ title: "t", text: "x" }],
  output_schema: { type: "object" },
  limits: { timeout_seconds: 240, max_turns: 12, max_output_tokens: 4096 },
  enabled: true,
};

function changed(change: Partial<Form>): unknown {
  const parsed = parseForm({ ...toForm(AGENT), ...change }, AGENT);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return changesOf(AGENT, parsed.definition);
}

function errors(change: Partial<Form>): Record<string, string> {
  const parsed = parseForm({ ...EMPTY_FORM, name: "n", ...change });
  return parsed.ok ? {} : parsed.errors;
}

test("an unchanged agent sends nothing", () => {
  assert.equal(changed({}), undefined);
});

test("each changed field is sent separately, and cleared with null", () => {
  assert.deepEqual(changed({ name: " other " }), { name: "other" });
  assert.deepEqual(changed({ prompt: " " }), { prompt: null });
  assert.deepEqual(changed({ schema: "" }), { output_schema: null });
  assert.deepEqual(changed({ provider: "" }), { model: null });
  assert.deepEqual(changed({ limits: { ...toForm(AGENT).limits, max_total_tokens: "1000" } }), { limits: { max_total_tokens: 1000 } });
});

test("a key is unchanged, entered, named or removed", () => {
  assert.deepEqual(changed({ keyFrom: "typed", key: " sk-1 " }), { model: { api_key: "sk-1" } });
  assert.deepEqual(changed({ keyFrom: "secret", secret: "team" }), { model: { api_key: { secret: "team" } } });
  assert.deepEqual(changed({ keyFrom: "none" }), { model: { api_key: null } });
});

test("fields that the provider does not use are omitted, whatever the form contains", () => {
  assert.deepEqual(changed({ provider: "bedrock" }), { model: { provider: "bedrock", base_url: null, api_key: null } });
  assert.deepEqual(changed({ provider: "extractive" }), { model: { provider: "extractive", base_url: null, name: null, api_key: null } });
});

test("a parse error is shown at its field", () => {
  assert.deepEqual(Object.keys(errors({ name: " " })), ["name"]);
  assert.deepEqual(errors({ tools: '[\n{"a" 1}]' }), { tools: "This is not valid JSON. Line 2, column 6: a colon is missing after the name." });
  assert.deepEqual(Object.keys(errors({ tools: "{}" })), ["tools"]);
  assert.deepEqual(Object.keys(errors({ schema: "{" })), ["output_schema"]);
  assert.deepEqual(Object.keys(errors({ provider: "openai", keyFrom: "typed" })), ["model.api_key"]);
  assert.deepEqual(Object.keys(errors({ provider: "openai", priceInput: "1" })), ["model.price"]);
  for (const wrong of ["0", "1.5", "x", "841"]) {
    assert.deepEqual(Object.keys(errors({ limits: { ...EMPTY_FORM.limits, timeout_seconds: wrong } })), ["limits.timeout_seconds"]);
  }
});

test("an error belongs to the field that it begins with", () => {
  for (const [message, field] of [
    ["`model.base_url` is required for the provider `openai`", "model.base_url"],
    ["`limits.max_turns` must be from 1 to 100", "limits.max_turns"],
    ["The agent is not valid: limits.timeout_seconds: invalid type", "limits.timeout_seconds"],
    ["The agent is not valid: tools[0]: missing field `type`", "tools"],
    ["`path` of the operation `get` must start with `/`", "tools"],
    ["The header `A` of the tool `shop` contains a credential", "tools"],
    ["The tool `shop` has no operations, or its `allow` is empty", "tools"],
    ["`sources` contain more than 262144 bytes", "sources"],
    ["The service is temporarily unavailable", undefined],
  ]) {
    assert.equal(fieldOf(message ?? ""), field, message);
  }
});

test("an error in a prompt is shown with its line, any other one as the server sends it", () => {
  assert.equal(refusalInWords("syntax error: unexpected end (in prompt:12)"), "syntax error: unexpected end (line 12)");
  assert.equal(refusalInWords("`name` is too long"), "`name` is too long");
});
