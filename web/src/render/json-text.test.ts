import assert from "node:assert/strict";
import { test } from "node:test";

import { JsonError, jsonAt, parseJson, prettyJson, tryParseJson } from "./json-text.ts";

test("digits, key order, repeated keys and escapes are preserved", () => {
  const written = '{"z": 1.50, "10": 123456789012345678901234567890, "2": -0.0, "e": 1E+2, "z": "\\u00e9\\/", "\\u0061": null}';
  assert.equal(
    prettyJson(parseJson(written)),
    '{\n  "z": 1.50,\n  "10": 123456789012345678901234567890,\n  "2": -0.0,\n  "e": 1E+2,\n  "z": "\\u00e9\\/",\n  "\\u0061": null\n}',
  );
});

test("accepts and rejects the same texts as JSON.parse", () => {
  const right = ["1", "-1.5e-3", '"a"', "true", "null", "[]", "{}", " [1 , 2] ", '{"a":{"b":[[]]}}', '"\\"\\\\\\n"', "[1,\n2]"];
  const wrong = ["", " ", "01", "1.", ".5", "+1", "'a'", "[1,]", '{"a":1,}', "{a:1}", "[1 2]", "nul", "1 2", '"\n"', '"\\x"', "[", "]", ",", ":", '{"a" 1}', "\u00a01", "NaN", "truefalse"];
  for (const text of right) assert.doesNotThrow(() => (JSON.parse(text), parseJson(text)), text);
  for (const text of wrong) {
    assert.throws(() => JSON.parse(text), SyntaxError, text);
    assert.throws(() => parseJson(text), JsonError, text);
  }
});

test("an error names its position and what to change", () => {
  const message = (text: string): string => {
    try { parseJson(text); } catch (error) { return (error as Error).message; }
    return "no error";
  };
  assert.equal(message('{\n  "a": 1\n  "b": 2\n}'), "Line 3, column 3: a comma or } is missing");
  assert.equal(message("{'a': 1}"), "Line 1, column 2: strings and names need double quotes");
  assert.equal(message('{"a": }'), "Line 1, column 7: a value is missing");
  assert.equal(message('{"a": 1'), "Line 1, column 8: a comma or } is missing");
  assert.equal(message("[1] x"), "Line 1, column 5: unexpected text after the end of the value");
});

test("deep nesting and long texts cause no crash", () => {
  assert.throws(() => parseJson("[".repeat(100_000)), JsonError);
  assert.ok(parseJson("[".repeat(200) + "]".repeat(200)));
  const long = `"${"a\\n".repeat(1_400_000)}"`;
  assert.equal((parseJson(long) as { text: string }).text.length, 2_800_000);
});

test("a path returns a value or undefined", () => {
  const value = tryParseJson('{"a":[{"b":1.0}]}');
  assert.deepEqual(jsonAt(value, "a", 0, "b"), { kind: "number", raw: "1.0" });
  assert.equal(jsonAt(value, "a", 1), undefined);
  assert.equal(jsonAt(null, "a"), undefined);
});
