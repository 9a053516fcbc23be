// The call of a webhook, as the forms of "Try it" have it. Pure but for `send`.
import { asApiError, unreachable } from "./api.ts";
import { JsonError, parseJson } from "./render/json-text.ts";
import type { Agent } from "./types.ts";

export type Method = "POST" | "GET";
export type Pair = readonly [name: string, value: string];

export interface Draft {
  method: Method;
  key: string;
  /** For a POST: JSON. */
  body: string;
  /** For a GET. */
  pairs: readonly Pair[];
}

export interface WebhookAnswer {
  status: number;
  replayed: boolean;
  ms: number;
  text: string;
  taskId: string | null;
}

const LONGEST_KEY = 256;

/** What of a draft cannot be sent, in words. */
export function problems(draft: Draft): { body?: string; key?: string } {
  const body = draft.method === "POST" ? bodyProblem(draft.body) : undefined;
  const key = keyProblem(draft.key.trim());
  return { ...(body !== undefined && { body }), ...(key !== undefined && { key }) };
}

function bodyProblem(text: string): string | undefined {
  if (text.trim() === "") return "A payload is missing. {} is the smallest object.";
  try {
    const value = parseJson(text);
    return value.kind === "literal" && value.raw === "null" ? "null is no payload. Any other JSON is." : undefined;
  } catch (error) {
    if (error instanceof JsonError) return error.message;
    throw error;
  }
}

/** A browser sends headers in Latin-1 alone. */
function keyProblem(key: string): string | undefined {
  if ([...key].length > LONGEST_KEY) return `A key has at most ${LONGEST_KEY} characters.`;
  return /^[\u0020-\u007e]*$/.test(key) ? undefined : "From a browser, a key can have only letters, digits and signs of ASCII.";
}

/** The address at this page's own origin, wherever the URL that is handed out points. */
export function webhookPath(webhookUrl: string, pairs: readonly Pair[] = []): string {
  const { pathname } = new URL(webhookUrl);
  const named = pairs.filter(([name]) => name !== "");
  return named.length === 0 ? pathname : `${pathname}?${new URLSearchParams(named.map(([name, value]) => [name, value]))}`;
}

/** Calls the webhook; what it answers is shown whatever it is. */
export async function send(agent: Agent, draft: Draft): Promise<WebhookAnswer> {
  const path = webhookPath(agent.webhook_url, draft.method === "GET" ? draft.pairs : []);
  const key = draft.key.trim();
  const headers = { ...(draft.method === "POST" && { "Content-Type": "application/json" }), ...(key && { "Idempotency-Key": key }) };
  const before = performance.now();
  try {
    const body = draft.method === "POST" ? draft.body : null;
    const response = await fetch(path, { method: draft.method, headers, body, cache: "no-store", credentials: "omit" });
    const text = await response.text();
    const replayed = response.headers.get("Idempotent-Replayed") === "true";
    return { status: response.status, replayed, ms: performance.now() - before, text, taskId: taskIdIn(text) };
  } catch (error) {
    throw error instanceof TypeError ? unreachable() : asApiError(error);
  }
}

/** The id in a webhook's answer, if it accepted. */
export function taskIdIn(text: string): string | null {
  try {
    const answer: unknown = JSON.parse(text);
    const id = typeof answer === "object" && answer !== null && "task_id" in answer ? answer.task_id : null;
    return typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

/** A payload with the fields that a prompt speaks of, to begin with. */
export function samplePayload(prompt: string | null | undefined): string {
  const sample: Tree = {};
  for (const [, path] of (prompt ?? "").matchAll(/\bpayload((?:\.[A-Za-z_]\w*)+)/g)) grow(sample, (path ?? "").slice(1).split("."));
  if (Object.keys(sample).length === 0) sample["question"] = "What can you do?";
  return JSON.stringify(sample, null, 2);
}

type Tree = { [name: string]: Tree | string };

function grow(tree: Tree, path: string[]): void {
  const [name = "", ...rest] = path;
  const there = Object.hasOwn(tree, name) ? tree[name] : undefined;
  if (rest.length === 0) {
    if (there === undefined) Object.defineProperty(tree, name, { value: "…", enumerable: true, writable: true, configurable: true });
    return;
  }
  const branch: Tree = typeof there === "object" ? there : {};
  Object.defineProperty(tree, name, { value: branch, enumerable: true, writable: true, configurable: true });
  grow(branch, rest);
}

/** A key that nobody used before. */
export function newKey(): string {
  return `try-${crypto.randomUUID().slice(0, 13)}`;
}
