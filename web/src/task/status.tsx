import type { VNode } from "preact";

import { STATUS_NAMES } from "../task-words.ts";
import type { TaskStatus } from "../types.ts";
import { Badge, type Tone } from "../ui/index.ts";

const TONES: Record<TaskStatus, Tone> = { PENDING: "wait", STARTED: "busy", SUCCESS: "good", FAILURE: "bad" };

export function StatusBadge({ status }: { status: TaskStatus }): VNode {
  return <Badge tone={TONES[status]}>{STATUS_NAMES[status]}</Badge>;
}

/** Text for screen readers, announced once per change of `text`. */
export function Announcement({ text }: { text: string }): VNode {
  return <p class="unseen" role="status" aria-live="polite">{text}</p>;
}
