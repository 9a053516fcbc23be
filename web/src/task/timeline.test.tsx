import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";

import type { Task, TaskEvent } from "../types.ts";
import { Timeline } from "./timeline.tsx";

const NOW = 1_800_000_010_000;
const at = (seconds: number): string => new Date(NOW + seconds * 1000).toISOString();
const released = (more: Partial<TaskEvent>): TaskEvent[] => [
  { type: "created", at: at(-10), attempt: null },
  { type: "claimed", at: at(-9), attempt: 1 },
  { type: "released", at: at(-8), attempt: 1, ...more },
];
const render = (events: TaskEvent[], more: Partial<Task> = {}): string => {
  const task = { status: "PENDING", attempt: 1, created_at: at(-10), started_at: at(-9), finished_at: null, waits_until: null, events, ...more };
  return renderToString(<Timeline task={task as Task} now={NOW} />).replaceAll(/<[^>]*>/g, "");
};

test("the time to the next attempt is counted down until the attempt is due", () => {
  assert.match(render(released({ resumes_at: at(11.2) })), /begins in 12 s\S* at the earliest/);
  assert.match(render(released({ resumes_at: at(2) })), /begins in a moment at the earliest/);
  assert.match(render(released({ resumes_at: at(-1) })), /The next attempt is due/);
  assert.match(render(released({}), { waits_until: at(-1) }), /The next check is in a moment/);
});

test("a failed attempt is shown as retried once the retry has begun", () => {
  const failed = released({ error_type: "model_error", message: "Down" });
  assert.match(render(failed), /Failed: Down/);
  assert.match(render([...failed, { type: "claimed", at: at(-1), attempt: 2 }], { status: "STARTED", attempt: 2 }), /Failed, retried: Down/);
  assert.match(render(released({})), /Interrupted by a server shutdown/);
});
