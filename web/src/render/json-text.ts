// JSON as it was written: digits, key order, repeated keys and escapes stay,
// which JSON.parse would lose.

/** A value with the text it was written as. */
export type JsonNode =
  | { kind: "object"; entries: Entry[] }
  | { kind: "array"; items: JsonNode[] }
  /** `raw` with its quotes; `text` what it stands for. */
  | { kind: "string"; raw: string; text: string }
  | { kind: "number" | "literal"; raw: string };

/** A name as it was written, what it stands for, and its value. */
export type Entry = { rawKey: string; key: string; value: JsonNode };

/** Our own documents nest a payload of up to 128 levels. */
const DEPTH_LIMIT = 256;

const TOKEN = /[{}[\],:]|"[^"\\\u0000-\u001f]*(?:\\.[^"\\\u0000-\u001f]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Why a text is no JSON, and where: lines and columns count from 1. */
export class JsonError extends Error {
  constructor(readonly reason: string, readonly line: number, readonly column: number) {
    super(`Line ${line}, column ${column}: ${reason}`);
  }
}

/** Reads `text`, or throws a `JsonError`. */
export function parseJson(text: string): JsonNode {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** Reads `text`; `null` if it is no JSON. */
export function tryParseJson(text: string): JsonNode | null {
  try {
    return parseJson(text);
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
}

class Reader {
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
    if (this.#at < this.text.length) throw this.#error("there is something after the end of the value", this.#at);
  }

  #object(depth: number): JsonNode {
    const entries: Entry[] = [];
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
    const found = TOKEN.exec(this.text);
    if (!found) throw this.#error(start < this.text.length ? this.#nonsense(start) : missing, start);
    this.#at = TOKEN.lastIndex;
    return { token: found[0], start };
  }

  #nonsense(at: number): string {
    if (this.text[at] === '"') return "the string is not closed, or holds a line break or a control character";
    if (this.text[at] === "'") return "strings and names take double quotes";
    return `${JSON.stringify(this.text[at])} cannot stand here`;
  }

  #string(raw: string, start: number): string {
    try {
      return JSON.parse(raw) as string;
    } catch {
      throw this.#error("the string has an escape that JSON does not know", start);
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

/** What a path of names and places leads to, if it leads anywhere. */
export function jsonAt(value: JsonNode | null | undefined, ...path: (string | number)[]): JsonNode | undefined {
  let found: JsonNode | undefined = value ?? undefined;
  for (const step of path) {
    if (found?.kind === "object") found = found.entries.find((entry) => entry.key === step)?.value;
    else if (found?.kind === "array" && typeof step === "number") found = found.items[step];
    else return undefined;
  }
  return found;
}

/** `value` in lines, two spaces per level. */
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
