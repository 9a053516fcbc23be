import assert from "node:assert/strict";
import { test } from "node:test";

import { hasNullMember, mergePatch, sameJson } from "./merge-patch.ts";

test("a patch says what has changed, removes by null, and descends into objects alone", () => {
  const from = { kept: 1, changed: 2, gone: 3, inner: { kept: 1, gone: 2 }, list: [1, { a: 1 }] };
  const to = { kept: 1, changed: 9, inner: { kept: 1, made: true }, list: [1, { a: 2 }] };
  assert.deepEqual(mergePatch(from, to), {
    changed: 9,
    gone: null,
    inner: { gone: null, made: true },
    list: [1, { a: 2 }],
  });
});

test("there is nothing to say about what is the same, in whatever order", () => {
  assert.equal(mergePatch({ a: 1, b: [{ c: 1, d: 2 }] }, { b: [{ d: 2, c: 1 }], a: 1 }), undefined);
  assert.equal(mergePatch(undefined, undefined), undefined);
});

test("order counts in lists, and a missing member is not a null one", () => {
  assert.equal(sameJson([1, 2], [2, 1]), false);
  assert.equal(sameJson({ a: null }, { b: null }), false);
});

test("members that are null are found at any depth, but not in lists, which go as they are", () => {
  assert.equal(hasNullMember({ a: { b: { const: null } } }), true);
  assert.equal(hasNullMember({ enum: [null, { const: null }] }), false);
});
