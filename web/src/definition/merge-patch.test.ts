import assert from "node:assert/strict";
import { test } from "node:test";

import { hasNullMember, mergePatch, sameJson } from "./merge-patch.ts";

test("a patch contains only changes, removes with null, and descends only into objects", () => {
  const from = { same: 1, changed: 2, gone: 3, inner: { same: 1, gone: 2 }, list: [1, { a: 1 }] };
  const to = { same: 1, changed: 9, inner: { same: 1, made: true }, list: [1, { a: 2 }] };
  assert.deepEqual(mergePatch(from, to), {
    changed: 9,
    gone: null,
    inner: { gone: null, made: true },
    list: [1, { a: 2 }],
  });
});

test("equal values give no patch, whatever the order of their members", () => {
  assert.equal(mergePatch({ a: 1, b: [{ c: 1, d: 2 }] }, { b: [{ d: 2, c: 1 }], a: 1 }), undefined);
  assert.equal(mergePatch(undefined, undefined), undefined);
});

test("order matters in lists, and a missing member is not a null member", () => {
  assert.equal(sameJson([1, 2], [2, 1]), false);
  assert.equal(sameJson({ a: null }, { b: null }), false);
});

test("null members are found at any depth, but not in lists, which are sent unchanged", () => {
  assert.equal(hasNullMember({ a: { b: { const: null } } }), true);
  assert.equal(hasNullMember({ enum: [null, { const: null }] }), false);
});
