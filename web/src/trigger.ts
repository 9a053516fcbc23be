// The webhook call of "Try it". Pure functions, except `send` and `newKey`.
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
  /** For a GET: the query. */
  pairs: readonly Pair[];
}

export interface WebhookResponse {
  status: number;
  replayed: boolean;
  ms: number;
  text: string;
  taskId: string | null;
}

const LONGEST_KEY = 256;

/** Why a draft cannot be sent. */
export function problems(draft: Draft): { body?: string; key?: string } {
  const body = draft.method === "POST" ? bodyProblem(draft.body) : undefined;
  const key = keyProblem(draft.key.trim());
  return { ...(body !== undefined && { body }), ...(key !== undefined && { key }) };
}

function bodyProblem(text: string): string | undefined {
  if (text.trim() === "") return "The payload is missing. Enter {} for an empty object.";
  try {
    const value = parseJson(text);
    return value.kind === "literal" && value.raw === "null" ? "The payload can be any JSON value except null" : undefined;
  } catch (error) {
    if (error instanceof JsonError) return error.message;
    throw error;
  }
}

/** A browser can send only Latin-1 in headers. */
function keyProblem(key: string): string | undefined {
  if ([...key].length > LONGEST_KEY) return `The key can have at most ${LONGEST_KEY} characters`;
  return /^[\u0020-\u007e]*$/.test(key) ? undefined : "In a browser, the key can contain only printable ASCII characters";
}

/** The path of the webhook, which is called at the page's own origin, whatever the URL's host is. */
export function webhookPath(webhookUrl: string, pairs: readonly Pair[] = []): string {
  const { pathname } = new URL(webhookUrl);
  const named = pairs.filter(([name]) => name !== "");
  return named.length === 0 ? pathname : `${pathname}?${new URLSearchParams(named.map(([name, value]) => [name, value]))}`;
}

/** Calls the webhook. Every response is returned, including errors. */
export async function send(agent: Agent, draft: Draft): Promise<WebhookResponse> {
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

/** The task id in a webhook response, or null if the trigger was not accepted. */
export function taskIdIn(text: string): string | null {
  try {
    const body: unknown = JSON.parse(text);
    const id = typeof body === "object" && body !== null && "task_id" in body ? body.task_id : null;
    return typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

/** An initial payload with the fields that a prompt uses. */
export function samplePayload(prompt: string | null | undefined): string {
  const sample: Tree = {};
  for (const [, path] of (prompt ?? "").matchAll(/\bpayload((?:\.[A-Za-z_]\w*)+)/g)) grow(sample, (path ?? "").slice(1).split("."));
  if (Object.keys(sample).length === 0) sample["question"] = "What can you do?";
  return JSON.stringify(sample, null, 2);
}

type Tree = { [name: string]: Tree | string };

function grow(tree: Tree, path: string[]): void {
  const [name = "", ...rest] = path;
  const existing = Object.hasOwn(tree, name) ? tree[name] : undefined;
  if (rest.length === 0) {
    if (existing === undefined) Object.defineProperty(tree, name, { value: "…", enumerable: true, writable: true, configurable: true });
    return;
  }
  const branch: Tree = typeof existing === "object" ? existing : {};
  Object.defineProperty(tree, name, { value: branch, enumerable: true, writable: true, configurable: true });
  grow(branch, rest);
}

export function newKey(): string {
  return `try-${crypto.randomUUID().slice(0, 13)}`;
}
