import assert from "node:assert/strict";
import { test } from "node:test";

import { timeInWords } from "./time.tsx";

const NOW = Date.parse("2026-11-25T04:31:07.123Z");
const words = (seconds: number): string => timeInWords(NOW + seconds * 1000, NOW);

test("a future time is never shown as past", () => {
  assert.equal(words(-1), "just now");
  assert.equal(words(0), "just now");
  assert.equal(words(1), "in a moment");
});

test("a future time is rounded up, a past time is rounded down", () => {
  assert.match(words(11.2), /in 12 s/);
  assert.match(words(61), /in 2 min/);
  assert.match(words(86_400 - 1), /in 24 h/);
  assert.match(words(86_400 + 1), /in 25 h/);
  assert.match(words(3 * 86_400 - 1), /in 3 days/);
  assert.match(words(-119), /1 min/);
  assert.match(words(-86_399), /23 h/);
});
