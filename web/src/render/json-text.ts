// Parses JSON and preserves digits, key order, repeated keys and escapes, which
// JSON.parse would lose.

/** A value with its source text. */
export type JsonNode =
  | { kind: "object"; entries: JsonEntry[] }
  | { kind: "array"; items: JsonNode[] }
  /** `raw` includes the quotes; `text` is the unescaped value. */
  | { kind: "string"; raw: string; text: string }
  | { kind: "number" | "literal"; raw: string };

/** `rawKey` is the source text of the name, `key` its unescaped value. */
export type JsonEntry = { rawKey: string; key: string; value: JsonNode };

/** A payload has up to 128 levels, and API responses nest it deeper. */
const DEPTH_LIMIT = 256;

const TOKEN = /[{}[\],:]|"[^"\\\u0000-\u001f]*(?:\\.[^"\\\u0000-\u001f]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Why a text is not valid JSON, and where. Lines and columns count from 1. */
export class JsonError extends Error {
  constructor(readonly reason: string, readonly line: number, readonly column: number) {
    super(`Line ${line}, column ${column}: ${reason}`);
  }
}

/** Parses `text`, or throws a `JsonError`. */
export function parseJson(text: string): JsonNode {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.end();
  return value;
}

/** Parses `text`; `null` if it is not valid JSON. */
export function tryParseJson(text: string): JsonNode | null {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
}

class Parser {
  #at = 0;
  constructor(readonly text: string) {}

  value(depth: number): JsonNode {
    const { token, start } = this.#next("a value is missing");
    if (token === "{") return this.#object(depth);
    if (token === "[") return this.#array(depth);
    if (/^[}\],:]$/.test(token)) throw this.#error("a value is missing", start);
    if (token.startsWith('"')) return { kind: "string", raw: token, text: this.#string(token, start) };
    return { kind: /^[tfn]/.test(token) ? "literal" : "number", raw: token };
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.text.length) throw this.#error("unexpected text after the end of the value", this.#at);
  }

  #object(depth: number): JsonNode {
    const entries: JsonEntry[] = [];
    this.#deeper(depth);
    if (this.#take("}")) return { kind: "object", entries };
    for (;;) {
      const { token, start } = this.#next("a name in double quotes is missing");
      if (!token.startsWith('"')) throw this.#error("a name in double quotes is missing", start);
      const key = this.#string(token, start);
      if (!this.#take(":")) throw this.#error("a colon is missing after the name", this.#at);
      entries.push({ rawKey: token, key, value: this.value(depth + 1) });
      if (this.#closes("}", "a comma or } is missing")) return { kind: "object", entries };
    }
  }

  #array(depth: number): JsonNode {
    const items: JsonNode[] = [];
    this.#deeper(depth);
    if (this.#take("]")) return { kind: "array", items };
    for (;;) {
      items.push(this.value(depth + 1));
      if (this.#closes("]", "a comma or ] is missing")) return { kind: "array", items };
    }
  }

  #closes(bracket: string, missing: string): boolean {
    if (this.#take(bracket)) return true;
    if (!this.#take(",")) throw this.#error(missing, this.#at);
    return false;
  }

  #take(wanted: string): boolean {
    this.#skipSpace();
    if (this.text[this.#at] !== wanted) return false;
    this.#at += 1;
    return true;
  }

  #next(missing: string): { token: string; start: number } {
    this.#skipSpace();
    const start = this.#at;
    TOKEN.lastIndex = start;
    const match = TOKEN.exec(this.text);
    if (!match) throw this.#error(start < this.text.length ? this.#unexpected(start) : missing, start);
    this.#at = TOKEN.lastIndex;
    return { token: match[0], start };
  }

  #unexpected(at: number): string {
    if (this.text[at] === '"') return "the string is not closed, or contains a line break or a control character";
    if (this.text[at] === "'") return "strings and names need double quotes";
    return `unexpected character ${JSON.stringify(this.text[at])}`;
  }

  #string(raw: string, start: number): string {
    try {
      return JSON.parse(raw) as string;
    } catch {
      throw this.#error("the string contains an invalid escape", start);
    }
  }

  #skipSpace(): void {
    while (/[ \t\r\n]/.test(this.text[this.#at] ?? "")) this.#at += 1;
  }

  #deeper(depth: number): void {
    if (depth >= DEPTH_LIMIT) throw this.#error(`the value nests deeper than ${DEPTH_LIMIT} levels`, this.#at - 1);
  }

  #error(reason: string, at: number): JsonError {
    const before = this.text.slice(0, at).split("\n");
    return new JsonError(reason, before.length, (before.at(-1)?.length ?? 0) + 1);
  }
}

/** The value at a path of names and indexes, or `undefined` if there is none. */
export function jsonAt(value: JsonNode | null | undefined, ...path: (string | number)[]): JsonNode | undefined {
  let current: JsonNode | undefined = value ?? undefined;
  for (const step of path) {
    if (current?.kind === "object") current = current.entries.find((entry) => entry.key === step)?.value;
    else if (current?.kind === "array" && typeof step === "number") current = current.items[step];
    else return undefined;
  }
  return current;
}

/** Formats `value` with an indent of two spaces per level. */
export function prettyJson(value: JsonNode, indent = ""): string {
  const inner = `${indent}  `;
  if (value.kind === "object") {
    const lines = value.entries.map(({ rawKey, value }) => `${inner}${rawKey}: ${prettyJson(value, inner)}`);
    return lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n${indent}}`;
  }
  if (value.kind === "array") {
    const lines = value.items.map((item) => inner + prettyJson(item, inner));
    return lines.length === 0 ? "[]" : `[\n${lines.join(",\n")}\n${indent}]`;
  }
  return value.raw;
}
