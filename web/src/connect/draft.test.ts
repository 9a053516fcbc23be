import assert from "node:assert/strict";
import { test } from "node:test";
import { callables, headersOf, httpTool, matches, mcpTool, sampleArguments, toolName } from "./draft.ts";

test("sample arguments have examples, defaults, first choices and what is required", () => {
  const schema = {
    type: "object",
    required: ["id", "address", "count"],
    properties: {
      id: { type: "string", example: "42" },
      state: { enum: ["open", "closed"] },
      page: { type: "integer", default: 1 },
      note: { type: "string" },
      count: { type: ["integer", "null"], minimum: 3 },
      address: { type: "object", required: ["city"], properties: { city: { type: "string" }, zip: { examples: ["1010"] } } },
    },
  };
  assert.deepEqual(sampleArguments(schema), { id: "42", state: "open", page: 1, count: 3, address: { city: "", zip: "1010" } });
  assert.deepEqual(sampleArguments(undefined), {});
  assert.deepEqual(sampleArguments({ type: "string" }), {});
});

test("a tool's name has allowed characters and is not taken", () => {
  assert.equal(toolName("Pet Store, v2!", []), "pet-store-v2");
  assert.equal(toolName("shop", ["shop", "shop-2"]), "shop-3");
  assert.equal(toolName("日本", []), "tool");
  assert.equal(toolName("x".repeat(80), []).length, 64);
});

test("headers are sent only with a secret", () => {
  assert.deepEqual(headersOf({ header: "Authorization", prefix: "Bearer ", secret: "" }), {});
  assert.deepEqual(headersOf({ header: "X-Key", prefix: "", secret: " key " }), { "X-Key": { secret: "key" } });
});

test("approval is set only for chosen tools", () => {
  const credential = { header: "Authorization", prefix: "Bearer ", secret: "" };
  assert.deepEqual(mcpTool("wiki", " https://w.example ", credential, ["a", "b"], ["b", "c"]), {
    type: "mcp",
    name: "wiki",
    url: "https://w.example",
    allow: ["a", "b"],
    approval: ["b"],
  });
  const tool = httpTool("shop", "https://s.example", credential, [{ name: "get" }, { name: "drop" }], ["drop"]);
  assert.deepEqual(tool["operations"], [{ name: "get" }, { name: "drop", approval: true }]);
});

test("choices are found by all words of a search", () => {
  const choice = { name: "list_orders", detail: "GET /orders", description: "All orders of a shop" };
  assert.ok(matches(choice, "ORDERS get"));
  assert.ok(!matches(choice, "orders delete"));
});

test("operations of HTTP APIs and allowed tools of MCP servers can be called", () => {
  const found = callables([
    { type: "search_sources" },
    { type: "http", name: "shop", operations: [{ name: "get", parameters: { type: "object" } }] },
    { type: "mcp", name: "wiki", allow: ["look.up"] },
    5,
  ]);
  assert.deepEqual(
    found.map(({ label }) => label),
    ["shop: get", "wiki: look.up"],
  );
});
