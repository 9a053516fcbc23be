// All calls to the server. The browser adds the session cookie. `X-Console` proves that
// the request comes from this page, because no other origin can send it.
import { createStore } from "./store.ts";

/** An error response with the server's message. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Of a server error: the id to search for in the server's log. */
    readonly reference?: string,
    /** From `Retry-After`, in seconds. */
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export type Session = "unknown" | "in" | "out";
/** Whether this browser is signed in, according to the last response. */
export const session = createStore<Session>("unknown");

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  json?: unknown;
  /** Sent unchanged. */
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface TextResponse {
  status: number;
  headers: Headers;
  text: string;
}

/** The parsed JSON body, or `undefined` if the body is empty. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { text } = await requestText(path, options);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** The body as text, for callers that must preserve the digits of numbers. */
export async function requestText(path: string, options: RequestOptions = {}): Promise<TextResponse> {
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
  return new ApiError(0, "unreachable", "The server could not be reached. Check the connection and try again.");
}

/** Converts an unsuccessful response to an error. */
export function toError(status: number, text: string, retryAfter: string | null): ApiError {
  const seconds = retryAfter && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined;
  const { code, message, reference } = problem(text);
  return new ApiError(status, code ?? "unknown", message ?? `The server returned status ${status}`, reference, seconds);
}

function problem(text: string): { code?: string; message?: string; reference?: string } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Whether the caller aborted the request. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Converts any thrown value to an error that can be shown. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, "internal", error instanceof Error ? error.message : String(error));
}
