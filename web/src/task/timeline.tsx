// A task's life: a bar drawn to scale, and the same in words.
import type { VNode } from "preact";
import { useId } from "preact/hooks";

import { formatDuration, formatPreciseClock } from "../format.ts";
import { errorWords, hasEnded, STATUS_NAMES } from "../task-words.ts";
import { places, type Stretch, stretches } from "../timeline.ts";
import type { Task } from "../types.ts";
import { exactTime, Time, timeInWords } from "../ui/time.tsx";

const NAMES: Record<Stretch["kind"], string> = { waiting: "Waiting", running: "Running", resting: "Pause" };

export function Timeline({ task, now }: { task: Task; now: number }): VNode {
  const all = stretches(task, now);
  return (
    <div class="timeline">
      <Bar all={all} />
      <ol class="timeline-list">
        <li class="step-created"><strong>Created</strong> <Time at={task.created_at} absolute /></li>
        {all.map((stretch, index) => <Step key={index} stretch={stretch} task={task} again={isTriedAgain(all, index)} />)}
        {hasEnded(task.status) && task.finished_at && (
          <li class={`step-${task.status.toLowerCase()}`}>
            <strong>{STATUS_NAMES[task.status]}</strong> <StepTime at={Date.parse(task.finished_at)} />
          </li>
        )}
      </ol>
    </div>
  );
}

function Bar({ all }: { all: Stretch[] }): VNode {
  const hatch = useId();
  const laid = places(all);
  const words = all.map((stretch) => `${NAMES[stretch.kind].toLowerCase()} ${formatDuration(stretch.to - stretch.from)}`).join(", ");
  return (
    <svg class="timeline-bar" width="100%" height="14" role="img" aria-label={`To scale: ${words}`}>
      <defs>
        <pattern id={hatch} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect class="bar-hatch" width="1.6" height="5" />
        </pattern>
      </defs>
      {all.map((stretch, index) => {
        const place = { x: `${(laid[index]?.start ?? 0) * 100}%`, width: `${(laid[index]?.size ?? 0) * 100}%` };
        const failed = stretch.end !== undefined;
        return (
          <g key={index}>
            <rect class={`stretch-${failed ? "failed" : stretch.kind}`} {...place} height="14" />
            {failed && <rect {...place} height="14" fill={`url(#${hatch})`} />}
          </g>
        );
      })}
    </svg>
  );
}

function isTriedAgain(all: Stretch[], index: number): boolean {
  return all.slice(index + 1).some((later) => later.kind === "running");
}

function Step({ stretch, task, again }: { stretch: Stretch; task: Task; again: boolean }): VNode {
  const length = formatDuration(stretch.to - stretch.from);
  return (
    <li class={`step-${stretch.kind}`}>
      <strong>{stretchName(stretch)}</strong>{" "}
      <span class="step-length">{stretch.open ? `${length} so far` : length}</span>
      {stretch.kind !== "waiting" && <StepTime at={stretch.from} />}
      <StepEnd stretch={stretch} again={again} />
      {stretch.open && stretch.kind !== "running" && <StillWaits stretch={stretch} task={task} />}
    </li>
  );
}

/** What a task that pauses or waits is waiting for, where it is known. */
function StillWaits({ stretch: { resumes, to: now }, task }: { stretch: Stretch; task: Task }): VNode | null {
  if (task.waits_until) return <p class="step-why">The agent has as many runs as it may have. It looks for a free one again <Ahead at={task.waits_until} now={now} />.</p>;
  if (resumes === undefined) return null;
  if (Date.parse(resumes) <= now) return <p class="step-why">The next attempt is due.</p>;
  return <p class="step-why">The next attempt begins <Ahead at={resumes} now={now} /> at the earliest.</p>;
}

/** A time to come, counted down; one that has passed meanwhile is at hand. */
function Ahead({ at, now }: { at: string; now: number }): VNode {
  return <time dateTime={at} title={exactTime(at)}>{timeInWords(Math.max(Date.parse(at), now + 1), now)}</time>;
}

function stretchName({ kind, attempt, upTo }: Stretch): string {
  if (kind !== "running" || attempt === null) return NAMES[kind];
  return upTo === undefined ? `Attempt ${attempt}` : `Attempts ${attempt} to ${upTo}`;
}

/** The clock alone: the day is told where the task begins. */
function StepTime({ at }: { at: number }): VNode {
  const time = new Date(at).toISOString();
  return <time dateTime={time} title={exactTime(time)}>{formatPreciseClock(at)}</time>;
}

function StepEnd({ stretch, again }: { stretch: Stretch; again: boolean }): VNode | null {
  const end = stretch.end;
  if (!end) return null;
  if (end.kind === "lost") return <p class="step-why">Its runner ended without a word; another took over.</p>;
  if (end.kind === "released" && !end.type) return <p class="step-why">Stopped together with the server. This does not count against the task.</p>;
  const why = end.message ?? (end.type ? errorWords(end.type).title : undefined);
  if (why === undefined) return null;
  const lead = end.kind !== "released" ? "" : again ? "Failed, tried again: " : "Failed: ";
  return <p class="step-why">{lead}{why}{end.type && <> <code>{end.type}</code></>}</p>;
}
