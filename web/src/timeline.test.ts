import assert from "node:assert/strict";
import { test } from "node:test";

import { ERROR_TYPES, errorWords, remedyPart, underWay } from "./task-words.ts";
import { places, stretches } from "./timeline.ts";
import type { TaskEvent } from "./types.ts";

const at = (seconds: number): string => new Date(1_800_000_000_000 + seconds * 1000).toISOString();
const NOW = Date.parse(at(100));
const event = (type: TaskEvent["type"], seconds: number, attempt: number | null = 1, more = {}): TaskEvent => ({ type, at: at(seconds), attempt, ...more });
const task = { status: "PENDING" as const, attempt: 0, created_at: at(0), started_at: null, finished_at: null, events: [event("created", 0, null)] };
const told = (value: Parameters<typeof stretches>[0]) =>
  stretches(value, NOW).map((one) => [one.kind, one.attempt, (one.to - one.from) / 1000, one.open, one.end?.kind]);

test("a task that nobody took waits until now", () => {
  assert.deepEqual(told(task), [["waiting", null, 100, true, undefined]]);
});

test("a task that ended has waited and run, without a gap", () => {
  const events = [...task.events, event("claimed", 2), event("finished", 9)];
  assert.deepEqual(told({ ...task, status: "SUCCESS", events }), [["waiting", null, 2, false, undefined], ["running", 1, 7, false, undefined]]);
  assert.equal(told({ ...task, status: "FAILURE", events })[1]![4], "failed");
});

test("an attempt that was given back rests until the next", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("released", 3, 1, { error_type: "model_error", message: "Down" }), event("claimed", 8, 2)];
  const all = stretches({ ...task, status: "STARTED", events }, NOW);
  assert.deepEqual(all.map((one) => one.kind), ["waiting", "running", "resting", "running"]);
  assert.deepEqual(all[1]!.end, { kind: "released", type: "model_error", message: "Down" });
  assert.equal(all[3]!.open, true);
});

test("a rest tells when the next attempt may begin", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("released", 3, 1, { resumes_at: at(200) })];
  const last = stretches({ ...task, events }, NOW).at(-1);
  assert.deepEqual([last?.kind, last?.open, last?.resumes], ["resting", true, at(200)]);
});

test("an attempt whose runner died ends where the next begins", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("claimed", 30, 2), event("finished", 31, 2)];
  assert.deepEqual(told({ ...task, status: "SUCCESS", events }).map((one) => one[4]), [undefined, "lost", undefined]);
});

test("attempts that are not known one by one are told together", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("finished", 9, 3)];
  assert.equal(stretches({ ...task, status: "SUCCESS", events }, NOW)[1]?.upTo, 3);
  assert.equal(stretches({ ...task, attempt: 1, events: events.slice(0, 2) }, NOW).at(-1)?.kind, "resting");
});

test("without events the task's own times are told", () => {
  assert.deepEqual(told({ ...task, status: "SUCCESS", attempt: 1, started_at: at(4), finished_at: at(5), events: [] }), [
    ["waiting", null, 4, false, undefined], ["running", 1, 1, false, undefined],
  ]);
});

test("places fill the bar, and a short stretch beside a long one is seen", () => {
  const events = [event("created", 0, null), event("claimed", 0.001), event("finished", 90)];
  const found = places(stretches({ ...task, status: "SUCCESS", events }, NOW));
  assert.ok(found[0]!.size > 0.01);
  assert.ok(Math.abs(found.reduce((sum, place) => sum + place.size, 0) - 1) < 1e-9);
});

test("every error type of the interface has its words, and a newer one is not hidden", () => {
  const types = ["timeout", "model_error", "tool_error", "invalid_agent", "empty_answer", "budget_exceeded", "cancelled", "worker_lost", "internal"];
  assert.deepEqual([...ERROR_TYPES].sort(), [...types].sort());
  assert.equal(errorWords("toString").title, "toString");
});

test("a task under way tells whether it was tried before", () => {
  assert.match(underWay({ status: "PENDING", attempt: 0 }), /waits for its turn/);
  assert.match(underWay({ status: "PENDING", attempt: 1 }), /did not succeed; .* the next one/);
  assert.match(underWay({ status: "STARTED", attempt: 2 }), /at work/);
});

test("what is wrong with an agent leads to where it can be mended", () => {
  assert.equal(remedyPart("empty_answer"), "sources");
  assert.equal(remedyPart("model_error"), "definition");
  assert.equal(remedyPart("cancelled"), undefined);
  assert.match(errorWords("empty_answer").remedy, /^Without a model, give the agent one, or add documents/);
});
