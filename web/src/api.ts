// The one way to the server. The session's cookie goes along by itself; `X-Console`
// says that this page asks, which no other origin can.
import { createStore } from "./store.ts";

/** A refusal, in the server's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** The id under which the server's log has the details, of a fault of the server. */
    readonly reference?: string,
    /** Seconds after which to come back, if the server says so. */
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export type Session = "unknown" | "in" | "out";
/** Whether this browser is signed in, as far as the server last said. */
export const session = createStore<Session>("unknown");

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface TextAnswer {
  status: number;
  headers: Headers;
  text: string;
}

/** The answer's JSON; nothing for an answer without a body. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { text } = await requestText(path, options);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** The answer as it was sent, for those who must keep its digits. */
export async function requestText(path: string, options: RequestOptions = {}): Promise<TextAnswer> {
  const response = await send(path, options);
  const text = await response.text();
  if (response.ok) return { status: response.status, headers: response.headers, text };
  if (response.status === 401) session.set("out");
  throw toError(response.status, text, response.headers.get("Retry-After"));
}

export const api = {
  get: <T>(path: string, signal?: AbortSignal) => request<T>(path, signal ? { signal } : {}),
  post: <T>(path: string, json?: unknown, signal?: AbortSignal) =>
    request<T>(path, { method: "POST", json: json ?? {}, ...(signal && { signal }) }),
  put: <T>(path: string, json: unknown) => request<T>(path, { method: "PUT", json }),
  patch: <T>(path: string, json: unknown) => request<T>(path, { method: "PATCH", json }),
  delete: (path: string) => request<void>(path, { method: "DELETE" }),
};

async function send(path: string, { method = "GET", json, body, headers, signal }: RequestOptions) {
  try {
    return await fetch(path, {
      method,
      headers: { "X-Console": "1", ...(json !== undefined && { "Content-Type": "application/json" }), ...headers },
      body: json === undefined ? (body ?? null) : JSON.stringify(json),
      signal: signal ?? null,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw unreachable();
  }
}

export function unreachable(): ApiError {
  return new ApiError(0, "unreachable", "The server could not be reached. Check the connection, then try again.");
}

/** The error that an answer other than success stands for. */
export function toError(status: number, text: string, retryAfter: string | null): ApiError {
  const seconds = retryAfter && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined;
  const { code, message, reference } = problem(text);
  return new ApiError(status, code ?? "unknown", message ?? `The server answered ${status}.`, reference, seconds);
}

function problem(text: string): { code?: string; message?: string; reference?: string } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Whether a request was given up by whoever made it. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Whatever was thrown, as something to show. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, "internal", error instanceof Error ? error.message : String(error));
}
