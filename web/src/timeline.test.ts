import assert from "node:assert/strict";
import { test } from "node:test";

import { ERROR_TYPES, errorWords, remedyPart, progressText } from "./task-words.ts";
import { places, phases } from "./timeline.ts";
import type { TaskEvent } from "./types.ts";

const at = (seconds: number): string => new Date(1_800_000_000_000 + seconds * 1000).toISOString();
const NOW = Date.parse(at(100));
const event = (type: TaskEvent["type"], seconds: number, attempt: number | null = 1, more = {}): TaskEvent => ({ type, at: at(seconds), attempt, ...more });
const task = { status: "PENDING" as const, attempt: 0, created_at: at(0), started_at: null, finished_at: null, events: [event("created", 0, null)] };
const rows = (value: Parameters<typeof phases>[0]) =>
  phases(value, NOW).map((one) => [one.kind, one.attempt, (one.to - one.from) / 1000, one.open, one.end?.kind]);

test("a task that no worker has claimed waits until now", () => {
  assert.deepEqual(rows(task), [["waiting", null, 100, true, undefined]]);
});

test("a task that ended has waited and run, without a gap between", () => {
  const events = [...task.events, event("claimed", 2), event("finished", 9)];
  assert.deepEqual(rows({ ...task, status: "SUCCESS", events }), [["waiting", null, 2, false, undefined], ["running", 1, 7, false, undefined]]);
  assert.equal(rows({ ...task, status: "FAILURE", events })[1]![4], "failed");
});

test("a released attempt is followed by a pause until the next attempt", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("released", 3, 1, { error_type: "model_error", message: "Down" }), event("claimed", 8, 2)];
  const all = phases({ ...task, status: "STARTED", events }, NOW);
  assert.deepEqual(all.map((one) => one.kind), ["waiting", "running", "resting", "running"]);
  assert.deepEqual(all[1]!.end, { kind: "released", type: "model_error", message: "Down" });
  assert.equal(all[3]!.open, true);
});

test("a pause contains the earliest time of the next attempt", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("released", 3, 1, { resumes_at: at(200) })];
  const last = phases({ ...task, events }, NOW).at(-1);
  assert.deepEqual([last?.kind, last?.open, last?.resumes], ["resting", true, at(200)]);
});

test("an attempt that lost its worker ends when the next one begins", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("claimed", 30, 2), event("finished", 31, 2)];
  assert.deepEqual(rows({ ...task, status: "SUCCESS", events }).map((one) => one[4]), [undefined, "lost", undefined]);
});

test("attempts without separate events are shown together", () => {
  const events = [event("created", 0, null), event("claimed", 1), event("finished", 9, 3)];
  assert.equal(phases({ ...task, status: "SUCCESS", events }, NOW)[1]?.upTo, 3);
  assert.equal(phases({ ...task, attempt: 1, events: events.slice(0, 2) }, NOW).at(-1)?.kind, "resting");
});

test("without events, the task's own times are used", () => {
  assert.deepEqual(rows({ ...task, status: "SUCCESS", attempt: 1, started_at: at(4), finished_at: at(5), events: [] }), [
    ["waiting", null, 4, false, undefined], ["running", 1, 1, false, undefined],
  ]);
});

test("places fill the bar, and a short phase beside a long one is visible", () => {
  const events = [event("created", 0, null), event("claimed", 0.001), event("finished", 90)];
  const found = places(phases({ ...task, status: "SUCCESS", events }, NOW));
  assert.ok(found[0]!.size > 0.01);
  assert.ok(Math.abs(found.reduce((sum, place) => sum + place.size, 0) - 1) < 1e-9);
});

test("every error type of the API is explained, and an unknown one is shown", () => {
  const types = ["timeout", "model_error", "tool_error", "invalid_agent", "empty_answer", "budget_exceeded", "cancelled", "worker_lost", "internal"];
  assert.deepEqual([...ERROR_TYPES].sort(), [...types].sort());
  assert.equal(errorWords("toString").title, "toString");
});

test("the progress text depends on earlier attempts", () => {
  assert.match(progressText({ status: "PENDING", attempt: 0 }), /waiting in the queue/);
  assert.match(progressText({ status: "PENDING", attempt: 1 }), /did not succeed\. .* the next one/);
  assert.match(progressText({ status: "STARTED", attempt: 2 }), /is running/);
});

test("an error links to the part of the page where the owner can fix it", () => {
  assert.equal(remedyPart("empty_answer"), "sources");
  assert.equal(remedyPart("model_error"), "definition");
  assert.equal(remedyPart("cancelled"), undefined);
  assert.match(errorWords("empty_answer").remedy, /^Without a model: add one, or add documents/);
});
