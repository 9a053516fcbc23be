// One task, followed until it has ended.
import { useEffect } from "preact/hooks";

import { type ApiError, requestText } from "../api.ts";
import { type Loaded, useLoad } from "../load.ts";
import { type JsonNode, jsonAt, parseJson } from "../render/json-text.ts";
import { hasEnded } from "../task-words.ts";
import type { Task, TaskState } from "../types.ts";
import { usePolling } from "./polling.ts";

const MOVING_MS = 1500;
const UNREACHED_MS = 5000;

export interface WholeTask {
  task: Task;
  /** As they were sent: what JSON.parse makes of them loses digits. */
  payload: JsonNode | undefined;
  toolCalls: JsonNode | undefined;
}

/** The status alone, which is small, asked for until the end. */
export function useStatus(id: string | null): Loaded<TaskState> {
  const state = useLoad(id && `status ${id}`, (signal) => readStatus(id ?? "", signal));
  const ended = state.data !== undefined && hasEnded(state.data.status);
  usePolling(id === null || ended || isGone(state.error) ? null : state.error ? UNREACHED_MS : MOVING_MS, state.reload);
  return state;
}

/** All of it, read again when its status tells of a step. */
export function useTask(id: string): Loaded<WholeTask> {
  const whole = useLoad(`task ${id}`, (signal) => readTask(id, signal));
  const task = whole.data?.task;
  const state = useStatus(task && !hasEnded(task.status) ? id : null);
  const isBehind = task !== undefined && state.data !== undefined && stepOf(state.data) !== stepOf(task);
  useEffect(() => { if (isBehind) whole.reload(); }, [isBehind]);
  usePolling(isBehind ? UNREACHED_MS : null, whole.reload);
  return whole;
}

/** What changes whenever something befalls a task. */
function stepOf(task: TaskState): string {
  return `${task.status} ${task.attempt}`;
}

/** Whether there is no such task, or none any more. */
export function isGone(error: ApiError | undefined): boolean {
  return error?.status === 404;
}

async function readStatus(id: string, signal: AbortSignal): Promise<TaskState> {
  const { text } = await requestText(`/api/task_status?task_id=${encodeURIComponent(id)}`, { signal });
  return JSON.parse(text) as TaskState;
}

async function readTask(id: string, signal: AbortSignal): Promise<WholeTask> {
  const { text } = await requestText(`/api/tasks/${encodeURIComponent(id)}`, { signal });
  const written = parseJson(text);
  const task = JSON.parse(text) as Task;
  const toolCalls = jsonAt(written, "result", "result", "tool_calls") ?? jsonAt(written, "error", "tool_calls");
  return { task, payload: task.payload_omitted ? undefined : jsonAt(written, "payload"), toolCalls };
}
