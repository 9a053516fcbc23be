// What a person chooses in the dialogs that connect tools, and the tool that results. Pure functions.
import type { ApiListing, Json, McpListing } from "../types.ts";

/** A header with a stored secret. Without a secret, no header is sent. */
export interface Credential {
  header: string;
  prefix: string;
  secret: string;
}

export const NO_CREDENTIAL: Credential = { header: "Authorization", prefix: "Bearer ", secret: "" };

/** A tool or an operation that can be chosen. */
export interface Choice {
  name: string;
  /** Such as `GET /orders`. */
  detail?: string;
  description: string;
}

export type JsonObject = { [name: string]: Json };

/** The most tools of an agent. */
export const MAX_TOOLS = 128;
const MAX_NAME = 64;
/** Depth of a sample value. */
const MAX_DEPTH = 5;

export function headersOf({ header, prefix, secret }: Credential): JsonObject {
  if (secret.trim() === "" || header.trim() === "") return {};
  return { [header.trim()]: { secret: secret.trim(), ...(prefix !== "" && { prefix }) } };
}

function withHeaders(credential: Credential): JsonObject {
  const headers = headersOf(credential);
  return Object.keys(headers).length > 0 ? { headers } : {};
}

export function mcpTool(name: string, url: string, credential: Credential, allow: string[], approval: string[]): JsonObject {
  const withApproval = allow.filter((tool) => approval.includes(tool));
  return {
    type: "mcp",
    name,
    url: url.trim(),
    ...withHeaders(credential),
    allow,
    ...(withApproval.length > 0 && { approval: withApproval }),
  };
}

export function httpTool(name: string, baseUrl: string, credential: Credential, operations: JsonObject[], approval: string[]): JsonObject {
  const marked = operations.map((operation) => ({
    ...operation,
    ...(approval.includes(String(operation["name"])) && { approval: true }),
  }));
  return { type: "http", name, base_url: baseUrl.trim(), ...withHeaders(credential), operations: marked };
}

export function choicesOfMcp(listing: McpListing): Choice[] {
  return listing.tools.map(({ name, description }) => ({ name, description }));
}

export function choicesOfApi(listing: ApiListing): Choice[] {
  return listing.operations.map(({ name, method, path, summary }) => ({ name, detail: `${method} ${path}`, description: summary }));
}

export function matches({ name, detail, description }: Choice, search: string): boolean {
  const text = `${name} ${detail ?? ""} ${description}`.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** A name that tools may have, and that no other tool has. */
export function toolName(text: string, taken: string[]): string {
  const plain = text
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, MAX_NAME);
  const name = plain === "" ? "tool" : plain;
  if (!taken.includes(name)) return name;
  for (let number = 2; ; number++) {
    const numbered = `${name.slice(0, MAX_NAME - 4)}-${number}`;
    if (!taken.includes(numbered)) return numbered;
  }
}

/** The host of a URL, or the text itself. */
export function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : url;
}

/** Arguments that the schema suggests: examples, defaults and first choices; of other required fields, empty values. */
export function sampleArguments(schema: Json | undefined): JsonObject {
  const sample = sampleOf(schema, 0);
  return isObject(sample) ? sample : {};
}

function sampleOf(schema: Json | undefined, depth: number): Json {
  if (!isObject(schema) || depth > MAX_DEPTH) return "";
  const given = suggested(schema);
  if (given !== undefined) return given;
  const alternatives = schema["anyOf"] ?? schema["oneOf"];
  if (Array.isArray(alternatives) && schema["properties"] === undefined) return sampleOf(alternatives[0], depth + 1);
  const type = Array.isArray(schema["type"]) ? schema["type"][0] : schema["type"];
  switch (type) {
    case "integer":
    case "number":
      return typeof schema["minimum"] === "number" ? schema["minimum"] : 0;
    case "boolean":
      return false;
    case "array":
      return [];
    case "null":
      return null;
    case "string":
      return "";
    default:
      return objectSample(schema, depth);
  }
}

function suggested(schema: JsonObject): Json | undefined {
  const { example, examples, default: usual, const: only, enum: values } = schema;
  if (example !== undefined) return example;
  if (Array.isArray(examples) && examples[0] !== undefined) return examples[0];
  if (usual !== undefined) return usual;
  if (only !== undefined) return only;
  return Array.isArray(values) ? values[0] : undefined;
}

function objectSample(schema: JsonObject, depth: number): JsonObject {
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const shown = Object.entries(properties).filter(
    ([name, property]) => required.includes(name) || (isObject(property) && suggested(property) !== undefined),
  );
  return Object.fromEntries(shown.map(([name, property]) => [name, sampleOf(property, depth + 1)]));
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One callable operation of the tools in a definition. */
export interface Callable {
  label: string;
  tool: JsonObject;
  operation: string;
  /** The schema of its arguments, if the definition has it. */
  schema: Json | undefined;
  /** Arguments with the examples of a document. */
  sample?: JsonObject;
}

export function callables(tools: Json[]): Callable[] {
  return tools.filter(isObject).flatMap((tool): Callable[] => {
    const label = (name: string) => `${String(tool["name"])}: ${name}`;
    const [operations, allow] = [tool["operations"], tool["allow"]];
    if (tool["type"] === "mcp" && Array.isArray(allow)) {
      return allow.map((name) => ({ label: label(String(name)), tool, operation: String(name), schema: undefined }));
    }
    if (tool["type"] !== "http" || !Array.isArray(operations)) return [];
    return operations.filter(isObject).map((operation) => {
      const name = String(operation["name"]);
      return { label: label(name), tool, operation: name, schema: operation["parameters"] };
    });
  });
}
