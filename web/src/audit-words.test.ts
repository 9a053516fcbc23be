import assert from "node:assert/strict";
import { test } from "node:test";
import { changeText, detailText, whoText } from "./audit-words.ts";
import type { AuditEntry } from "./types.ts";

function entry(more: Partial<AuditEntry>): AuditEntry {
  return { id: "1", at: "2026-01-01T00:00:00.000Z", event: "agent_updated", actor: "admin_token", ...more };
}

test("a change names its fields and shows where data goes", () => {
  assert.equal(detailText(entry({ fields: ["model.base_url", "prompt"] })), "fields: model.base_url, prompt");
  assert.equal(changeText({ field: "model.base_url", new: "https://b" }), "model.base_url: https://b");
  assert.equal(changeText({ field: "model.base_url", old: "https://a", new: "https://b" }), "model.base_url: https://a → https://b");
  assert.equal(changeText({ field: "model.base_url", old: "https://a" }), "model.base_url: https://a → none");
});

test("attempts without an entry of their own are counted", () => {
  const omitted = { event: "attempts_omitted", actor: "unauthenticated" } as const;
  assert.equal(detailText(entry({ ...omitted, attempts: 412, addresses: 1 })), "and 412 more in that minute, from 1 address");
  assert.equal(detailText(entry({ ...omitted, attempts: 4120, addresses: 3 })), "and 4,120 more in that minute, from 3 addresses");
});

test("the actor is named by its credential", () => {
  assert.equal(whoText(entry({})), "Admin token");
  assert.equal(whoText(entry({ actor: "session", session_id: "0a1b" })), "Session 0a1b");
  assert.equal(whoText(entry({ actor: "unauthenticated" })), "–");
});

test("a rotation shows how long the old URL works", () => {
  const rotated = (overlap_seconds: number): string => detailText(entry({ event: "webhook_rotated", overlap_seconds }));
  assert.equal(rotated(0), "the old URL ended at once");
  assert.equal(rotated(3600), "the old URL works for 1 h 00 min");
});
