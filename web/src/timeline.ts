// A task's events as stretches of time: waiting, running, resting between attempts.
import type { Task, TaskEvent } from "./types.ts";

export interface Stretch {
  kind: "waiting" | "running" | "resting";
  /** Of a run: which attempt. */
  attempt: number | null;
  /** The last attempt it stands for, where those between are not known one by one. */
  upTo?: number;
  from: number;
  to: number;
  /** Whether it still goes on. */
  open: boolean;
  /** Of a rest: when the next attempt may begin. */
  resumes?: string;
  /** Why it ended, if not well: `lost` when the next attempt began without a word. */
  end?: { kind: "released" | "failed" | "lost"; type?: string; message?: string };
}

type Timed = Pick<Task, "status" | "attempt" | "created_at" | "started_at" | "finished_at" | "events">;

/** The stretches of `task`, without a gap, up to its end or `now`. */
export function stretches(task: Timed, now: number): Stretch[] {
  const events = completeEvents(task);
  const found: Stretch[] = [];
  let current: Stretch = { kind: "waiting", attempt: null, from: Date.parse(task.created_at), to: 0, open: true };
  for (const event of events) {
    const at = Math.max(Date.parse(event.at), current.from);
    if (event.type === "created") continue;
    found.push({ ...current, to: at, open: false, ...several(current, event), ...ended(current, event, task.status) });
    if (event.type === "finished") return found;
    const running = event.type === "claimed";
    current = { kind: running ? "running" : "resting", attempt: running ? event.attempt : null, from: at, to: at, open: true };
    if (event.resumes_at) current.resumes = event.resumes_at;
  }
  const resting = current.kind === "running" && task.status === "PENDING";
  return [...found, { ...current, ...(resting && { kind: "resting" as const, attempt: null }), to: Math.max(now, current.from) }];
}

function several(stretch: Stretch, event: TaskEvent): Pick<Stretch, "upTo"> {
  const more = stretch.attempt !== null && event.type !== "claimed" && (event.attempt ?? 0) > stretch.attempt;
  return more && event.attempt !== null ? { upTo: event.attempt } : {};
}

/** The events, or what the task's own times say where they are not known. */
function completeEvents(task: Timed): TaskEvent[] {
  const events = [...task.events].sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  const add = (type: TaskEvent["type"], at: string | null): void => {
    if (at !== null && !events.some((event) => event.type === type)) events.push({ type, at, attempt: task.attempt });
  };
  if (!events.some((event) => event.type === "claimed")) add("claimed", task.started_at);
  add("finished", task.finished_at);
  return events;
}

function ended(stretch: Stretch, event: TaskEvent, status: Timed["status"]): Pick<Stretch, "end"> {
  if (stretch.kind !== "running") return {};
  const said = { ...(event.error_type && { type: event.error_type }), ...(event.message && { message: event.message }) };
  if (event.type === "released") return { end: { kind: "released", ...said } };
  if (event.type === "claimed") return { end: { kind: "lost" } };
  return status === "FAILURE" ? { end: { kind: "failed", ...said } } : {};
}

/** Each stretch's place in a bar of width 1: true to scale, but never too narrow to see. */
export function places(all: readonly Stretch[], least = 0.012): { start: number; size: number }[] {
  const sizes = all.map((stretch) => Math.max(stretch.to - stretch.from, 0));
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
