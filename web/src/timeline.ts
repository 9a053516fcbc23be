// Converts a task's events to phases: waiting, running, resting between attempts.
import type { Task, TaskEvent } from "./types.ts";

export interface Phase {
  kind: "waiting" | "running" | "resting";
  /** The attempt of a running phase; null otherwise. */
  attempt: number | null;
  /** The last attempt of the phase, if there are no separate events for each attempt. */
  upTo?: number;
  from: number;
  to: number;
  /** Whether the phase has not ended. */
  open: boolean;
  /** Of a resting phase: the earliest start of the next attempt. */
  resumes?: string;
  /** Why the phase ended without success. `lost`: the next attempt began without an end event. */
  end?: { kind: "released" | "failed" | "lost"; type?: string; message?: string };
}

type Timed = Pick<Task, "status" | "attempt" | "created_at" | "started_at" | "finished_at" | "events">;

/** The phases of `task` without gaps, up to its end or `now`. */
export function phases(task: Timed, now: number): Phase[] {
  const events = completeEvents(task);
  const done: Phase[] = [];
  let current: Phase = { kind: "waiting", attempt: null, from: Date.parse(task.created_at), to: 0, open: true };
  for (const event of events) {
    const at = Math.max(Date.parse(event.at), current.from);
    if (event.type === "created") continue;
    done.push({ ...current, to: at, open: false, ...several(current, event), ...ended(current, event, task.status) });
    if (event.type === "finished") return done;
    const running = event.type === "claimed";
    current = { kind: running ? "running" : "resting", attempt: running ? event.attempt : null, from: at, to: at, open: true };
    if (event.resumes_at) current.resumes = event.resumes_at;
  }
  const resting = current.kind === "running" && task.status === "PENDING";
  return [...done, { ...current, ...(resting && { kind: "resting" as const, attempt: null }), to: Math.max(now, current.from) }];
}

function several(phase: Phase, event: TaskEvent): Pick<Phase, "upTo"> {
  const more = phase.attempt !== null && event.type !== "claimed" && (event.attempt ?? 0) > phase.attempt;
  return more && event.attempt !== null ? { upTo: event.attempt } : {};
}

/** The events; missing ones are added from the task's own times. */
function completeEvents(task: Timed): TaskEvent[] {
  const events = [...task.events].sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  const add = (type: TaskEvent["type"], at: string | null): void => {
    if (at !== null && !events.some((event) => event.type === type)) events.push({ type, at, attempt: task.attempt });
  };
  if (!events.some((event) => event.type === "claimed")) add("claimed", task.started_at);
  add("finished", task.finished_at);
  return events;
}

function ended(phase: Phase, event: TaskEvent, status: Timed["status"]): Pick<Phase, "end"> {
  if (phase.kind !== "running") return {};
  const error = { ...(event.error_type && { type: event.error_type }), ...(event.message && { message: event.message }) };
  if (event.type === "released") return { end: { kind: "released", ...error } };
  if (event.type === "claimed") return { end: { kind: "lost" } };
  return status === "FAILURE" ? { end: { kind: "failed", ...error } } : {};
}

/** Each phase's place in a bar of width 1, to scale, but with a visible minimum width. */
export function places(all: readonly Phase[], least = 0.012): { start: number; size: number }[] {
  const sizes = all.map((phase) => Math.max(phase.to - phase.from, 0));
  const whole = sizes.reduce((sum, size) => sum + size, 0) || 1;
  const wanted = sizes.map((size) => Math.max(size / whole, least));
  const sum = wanted.reduce((total, size) => total + size, 0) || 1;
  let start = 0;
  return wanted.map((size) => {
    const place = { start, size: size / sum };
    start += place.size;
    return place;
  });
}
