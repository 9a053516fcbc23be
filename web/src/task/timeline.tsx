// A task's history as a bar drawn to scale and as a list.
import type { VNode } from "preact";
import { useId } from "preact/hooks";

import { formatDuration, formatPreciseClock } from "../format.ts";
import { errorWords, hasEnded, STATUS_NAMES } from "../task-words.ts";
import { places, type Phase, phases } from "../timeline.ts";
import type { Task } from "../types.ts";
import { exactTime, Time, timeInWords } from "../ui/time.tsx";

const NAMES: Record<Phase["kind"], string> = { waiting: "Waiting", running: "Running", resting: "Pause" };

export function Timeline({ task, now }: { task: Task; now: number }): VNode {
  const all = phases(task, now);
  return (
    <div class="timeline">
      <Bar all={all} />
      <ol class="timeline-list">
        <li class="step-created"><strong>Created</strong> <Time at={task.created_at} absolute /></li>
        {all.map((phase, index) => <Step key={index} phase={phase} task={task} retried={isRetried(all, index)} />)}
        {hasEnded(task.status) && task.finished_at && (
          <li class={`step-${task.status.toLowerCase()}`}>
            <strong>{STATUS_NAMES[task.status]}</strong> <StepTime at={Date.parse(task.finished_at)} />
          </li>
        )}
      </ol>
    </div>
  );
}

function Bar({ all }: { all: Phase[] }): VNode {
  const hatch = useId();
  const placed = places(all);
  const words = all.map((phase) => `${NAMES[phase.kind].toLowerCase()} ${formatDuration(phase.to - phase.from)}`).join(", ");
  return (
    <svg class="timeline-bar" width="100%" height="14" role="img" aria-label={`To scale: ${words}`}>
      <defs>
        <pattern id={hatch} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect class="bar-hatch" width="1.6" height="5" />
        </pattern>
      </defs>
      {all.map((phase, index) => {
        const place = { x: `${(placed[index]?.start ?? 0) * 100}%`, width: `${(placed[index]?.size ?? 0) * 100}%` };
        const failed = phase.end !== undefined;
        return (
          <g key={index}>
            <rect class={`stretch-${failed ? "failed" : phase.kind}`} {...place} height="14" />
            {failed && <rect {...place} height="14" fill={`url(#${hatch})`} />}
          </g>
        );
      })}
    </svg>
  );
}

function isRetried(all: Phase[], index: number): boolean {
  return all.slice(index + 1).some((later) => later.kind === "running");
}

function Step({ phase, task, retried }: { phase: Phase; task: Task; retried: boolean }): VNode {
  const length = formatDuration(phase.to - phase.from);
  return (
    <li class={`step-${phase.kind}`}>
      <strong>{phaseName(phase)}</strong>{" "}
      <span class="step-length">{phase.open ? `${length} so far` : length}</span>
      {phase.kind !== "waiting" && <StepTime at={phase.from} />}
      <StepEnd phase={phase} retried={retried} />
      {phase.open && phase.kind !== "running" && <WaitReason phase={phase} task={task} />}
    </li>
  );
}

/** What a pausing or waiting task is waiting for, if that is known. */
function WaitReason({ phase: { resumes, to: now }, task }: { phase: Phase; task: Task }): VNode | null {
  if (task.waits_until) return <p class="step-why">The agent has reached its limit of concurrent runs. The next check is <Ahead at={task.waits_until} now={now} />.</p>;
  if (resumes === undefined) return null;
  if (Date.parse(resumes) <= now) return <p class="step-why">The next attempt is due.</p>;
  return <p class="step-why">The next attempt begins <Ahead at={resumes} now={now} /> at the earliest.</p>;
}

/** A countdown to a future time; "in a moment" if it has passed meanwhile. */
function Ahead({ at, now }: { at: string; now: number }): VNode {
  return <time dateTime={at} title={exactTime(at)}>{timeInWords(Math.max(Date.parse(at), now + 1), now)}</time>;
}

function phaseName({ kind, attempt, upTo }: Phase): string {
  if (kind !== "running" || attempt === null) return NAMES[kind];
  return upTo === undefined ? `Attempt ${attempt}` : `Attempts ${attempt} to ${upTo}`;
}

/** The time of day only; the first entry of the list shows the day. */
function StepTime({ at }: { at: number }): VNode {
  const time = new Date(at).toISOString();
  return <time dateTime={time} title={exactTime(time)}>{formatPreciseClock(at)}</time>;
}

function StepEnd({ phase, retried }: { phase: Phase; retried: boolean }): VNode | null {
  const end = phase.end;
  if (!end) return null;
  if (end.kind === "lost") return <p class="step-why">The worker was lost. Another worker took over.</p>;
  if (end.kind === "released" && !end.type) return <p class="step-why">Interrupted by a server shutdown. This does not count as a failed attempt.</p>;
  const why = end.message ?? (end.type ? errorWords(end.type).title : undefined);
  if (why === undefined) return null;
  const lead = end.kind !== "released" ? "" : retried ? "Failed, retried: " : "Failed: ";
  return <p class="step-why">{lead}{why}{end.type && <> <code>{end.type}</code></>}</p>;
}
