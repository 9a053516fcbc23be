import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "./format.ts";

const NOW = Date.parse("2026-11-25T04:31:07.123Z");

test("durations are formatted like a clock", () => {
  const texts = [0, 84, 999.4, 999.6, 1234, 9949, 9951, 59_499, 59_500, 184_000, 3_599_600, 7_500_000, 86_400_000, 273_600_000].map(format.formatDuration);
  assert.deepEqual(texts, ["0 ms", "84 ms", "999 ms", "1.0 s", "1.2 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "3 min 04 s", "1 h 00 min", "2 h 05 min", "1 d 0 h", "3 d 4 h"]);
  assert.equal(format.formatDuration(-1500), "−1.5 s");
});

test("counts and sizes stay short", () => {
  assert.deepEqual([0, 999, 9999, 12_345, 4_123_456].map(format.formatCompact), ["0", "999", "9,999", "12.3K", "4.1M"]);
  assert.deepEqual([format.plural(1, "task"), format.plural(1200, "task")], ["1 task", "1,200 tasks"]);
  assert.deepEqual([12, 1024, 102_400, 1_048_576, 4_404_019].map(format.formatBytes), ["12 B", "1.0 KB", "100 KB", "1.0 MB", "4.2 MB"]);
});

test("small sums of money have two significant digits", () => {
  const texts = [0, 0.0000004, 0.00123, 0.5, 1, 12.345, 1234.5].map(format.formatDollars);
  assert.deepEqual(texts, ["$0", "under $0.000001", "$0.0012", "$0.5", "$1.00", "$12.35", "$1,234.50"]);
});

test("a share is 0 % or 100 % only if it is exact", () => {
  const texts = [[0, 0], [0, 5], [5, 5], [1, 3], [99_999, 100_000], [1, 100_000]].map(([part, whole]) => format.formatShare(part!, whole!));
  assert.deepEqual(texts, ["–", "0 %", "100 %", "33.3 %", "> 99.9 %", "< 0.1 %"]);
});

test("a time is shown in the user's time zone, with its day unless that is today", () => {
  const japan = { zone: "Asia/Tokyo", locale: "en-GB" };
  assert.equal(format.formatClock(NOW, NOW, japan), "13:31");
  assert.equal(format.formatClock(NOW - 86_400_000, NOW, japan), "24 Nov, 13:31");
  assert.equal(format.formatClock(NOW, NOW - 3_600_000 * 14, japan), "25 Nov, 13:31");
  assert.equal(format.formatPreciseClock(NOW, japan), "13:31:07.123");
  assert.equal(format.formatDay(NOW, { zone: "America/New_York", locale: "en-US" }), "Nov 24");
});
