import assert from "node:assert/strict";
import { test } from "node:test";

import { bucketAt, countAxis, stack, timeTicks, total } from "./scale.ts";

test("an axis of counts ends at a round number above the most", () => {
  const ends = [0, 1, 3, 4, 7, 19, 100, 1234].map((most) => countAxis(most));
  assert.deepEqual(ends.map(({ end }) => end), [1, 1, 3, 4, 8, 20, 100, 1500]);
  for (const { end, step } of ends) assert.ok(Number.isInteger(step) && end / step <= 5);
});

test("a bar's segments are stacked and end at its total", () => {
  const pieces = stack({ SUCCESS: 6, FAILURE: 2, STARTED: 0, PENDING: 2 }, 20, 100);
  assert.deepEqual(pieces, [
    { outcome: "SUCCESS", y: 70, height: 30 },
    { outcome: "FAILURE", y: 60, height: 10 },
    { outcome: "PENDING", y: 50, height: 10 },
  ]);
});

test("one failure among thousands is visible, and the bar stays inside the plot", () => {
  const pieces = stack({ SUCCESS: 9999, FAILURE: 1, STARTED: 0, PENDING: 0 }, 10_000, 100);
  assert.ok(pieces[1]!.height > 1.9);
  assert.ok(pieces[1]!.y >= -1e-9);
});

test("a bucket's total is the sum of its counts", () => {
  assert.equal(total({ SUCCESS: 1, FAILURE: 2, STARTED: 3, PENDING: 4 }), 10);
});

test("ticks are at round times in the user's time zone", () => {
  const from = Date.parse("2026-11-24T05:10:00Z");
  const ticks = timeTicks(from, from + 24 * 3_600_000, 8, -330);
  assert.deepEqual(ticks.map((tick) => new Date(tick + 330 * 60_000).getUTCHours()), [12, 15, 18, 21, 0, 3, 6, 9]);
  assert.ok(ticks.every((tick) => tick >= from && (tick / 60_000) % 30 === 0));
  const fortnight = timeTicks(from, from + 336 * 3_600_000, 8, 0);
  assert.ok(fortnight.length <= 8 && fortnight.every((tick) => new Date(tick).getUTCHours() === 0));
});

test("on the narrowest phone every time range has at least two labels, wherever it begins", () => {
  for (const hours of [24, 168, 336]) {
    for (let shift = 0; shift < hours; shift++) {
      const from = Date.parse("2026-11-24T05:10:00Z") + shift * 3_600_000;
      const { length } = timeTicks(from, from + (hours + 0.25) * 3_600_000, 3, -330);
      assert.ok(length >= 2 && length <= 3, `${hours} h from ${shift}: ${length}`);
    }
  }
});

test("a pointer finds the bucket under it, also at the edges", () => {
  assert.deepEqual([-5, 0, 49, 51, 100, 200].map((x) => bucketAt(x, 100, 2)), [0, 0, 0, 1, 1, 1]);
});
