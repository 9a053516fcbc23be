// The JSON merge patch (RFC 7396) between two values.
import type { Json } from "../types.ts";

export type JsonObject = { [name: string]: Json };

/** The patch that changes `from` to `to`; `undefined` if they are equal. */
export function mergePatch(from: Json | undefined, to: Json | undefined): Json | undefined {
  if (to === undefined) return from === undefined ? undefined : null;
  if (!isObject(from) || !isObject(to)) return sameJson(from, to) ? undefined : to;
  const patch: JsonObject = {};
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const change = mergePatch(from[name], to[name]);
    if (change !== undefined) patch[name] = change;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** Whether an object in the value has a null member, which a merge patch cannot set. */
export function hasNullMember(value: Json | undefined): boolean {
  if (!isObject(value)) return false;
  return Object.values(value).some((member) => member === null || hasNullMember(member));
}

/** Whether two values are equal, ignoring the order of members. */
export function sameJson(one: Json | undefined, other: Json | undefined): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, at) => sameJson(item, other[at]));
  }
  if (isObject(one) && isObject(other)) {
    const names = Object.keys(one);
    return (
      names.length === Object.keys(other).length &&
      names.every((name) => Object.hasOwn(other, name) && sameJson(one[name], other[name]))
    );
  }
  return one === other;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
