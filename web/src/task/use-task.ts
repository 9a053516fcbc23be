// Loads one task and polls it until it ends.
import { useEffect } from "preact/hooks";

import { type ApiError, requestText } from "../api.ts";
import { type Loaded, useLoad } from "../load.ts";
import { type JsonNode, jsonAt, parseJson } from "../render/json-text.ts";
import { hasEnded } from "../task-words.ts";
import type { Task, TaskState } from "../types.ts";
import { usePolling } from "./polling.ts";

const ACTIVE_MS = 1500;
const RETRY_MS = 5000;

export interface WholeTask {
  task: Task;
  /** Parsed separately, because JSON.parse loses digits. */
  payload: JsonNode | undefined;
  toolCalls: JsonNode | undefined;
}

/** Polls only the status, which is small, until the task ends. */
export function useStatus(id: string | null): Loaded<TaskState> {
  const state = useLoad(id && `status ${id}`, (signal) => loadStatus(id ?? "", signal));
  const ended = state.data !== undefined && hasEnded(state.data.status);
  usePolling(id === null || ended || isGone(state.error) ? null : state.error ? RETRY_MS : ACTIVE_MS, state.reload);
  return state;
}

/** The whole task, loaded again when its status or its attempt changes. */
export function useTask(id: string): Loaded<WholeTask> {
  const whole = useLoad(`task ${id}`, (signal) => loadTask(id, signal));
  const task = whole.data?.task;
  const state = useStatus(task && !hasEnded(task.status) ? id : null);
  const isBehind = task !== undefined && state.data !== undefined && stepOf(state.data) !== stepOf(task);
  useEffect(() => { if (isBehind) whole.reload(); }, [isBehind]);
  usePolling(isBehind ? RETRY_MS : null, whole.reload);
  return whole;
}

/** A text that changes with every step of a task. */
function stepOf(task: Pick<TaskState, "status" | "attempt">): string {
  return `${task.status} ${task.attempt}`;
}

/** Whether the task does not exist or has expired. */
export function isGone(error: ApiError | undefined): boolean {
  return error?.status === 404;
}

async function loadStatus(id: string, signal: AbortSignal): Promise<TaskState> {
  const { text } = await requestText(`/api/task_status?task_id=${encodeURIComponent(id)}`, { signal });
  return JSON.parse(text) as TaskState;
}

async function loadTask(id: string, signal: AbortSignal): Promise<WholeTask> {
  const { text } = await requestText(`/api/tasks/${encodeURIComponent(id)}`, { signal });
  const written = parseJson(text);
  const task = JSON.parse(text) as Task;
  const toolCalls = jsonAt(written, "result", "result", "tool_calls") ?? jsonAt(written, "error", "tool_calls");
  return { task, payload: task.payload_omitted ? undefined : jsonAt(written, "payload"), toolCalls };
}
