// Tasks over time by outcome, as stacked bars. The values are available on hover, with
// the arrow keys (a slider over the bars whose value is a sentence) and as a table.
import type { VNode } from "preact";
import { useId, useState } from "preact/hooks";

import { formatClock, formatCount, formatDay, plural } from "../format.ts";
import { type Counts, type Outcome, OUTCOMES, bucketAt, countAxis, stack, timeTicks, total } from "./scale.ts";
import { useWidth } from "./width.ts";

export type Bucket = Counts & { at: string };

const HEIGHT = 180;
const LEFT = 40;
const BOTTOM = 22;
const TOP = 8;
/** The minimum to request: on the narrowest phone, at least two of them are visible. */
const FEWEST_LABELS = 3;
const PLOT = HEIGHT - BOTTOM - TOP;

/** In the order of the legend. */
export const OUTCOME_NAMES: Record<Outcome, string> = {
  SUCCESS: "succeeded", FAILURE: "failed", STARTED: "running", PENDING: "waiting",
};

export function OutcomeChart({ buckets, bucketSeconds }: { buckets: Bucket[]; bucketSeconds: number }): VNode {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [active, setActive] = useState<number | null>(null);
  const plotWidth = Math.max(width - LEFT, 0);
  return (
    <figure class="chart">
      <Legend />
      <div class="chart-box" ref={ref}>
        {width > 0 && <Plot buckets={buckets} bucketSeconds={bucketSeconds} width={plotWidth} active={active} />}
        <Cursor buckets={buckets} bucketSeconds={bucketSeconds} width={plotWidth} active={active} setActive={setActive} />
        {active !== null && buckets[active] && (
          <Tip bucket={buckets[active]} bucketSeconds={bucketSeconds} x={LEFT + ((active + 0.5) / buckets.length) * plotWidth} width={width} />
        )}
      </div>
      <AsTable buckets={buckets} bucketSeconds={bucketSeconds} />
    </figure>
  );
}

/** Colour and pattern of each outcome, with its name. */
function Legend(): VNode {
  return (
    <figcaption class="chart-legend">
      {OUTCOMES.map((outcome) => (
        <span key={outcome}><span class={`chart-swatch swatch-${outcome.toLowerCase()}`} aria-hidden="true" />{OUTCOME_NAMES[outcome]}</span>
      ))}
    </figcaption>
  );
}

type PlotProps = { buckets: Bucket[]; bucketSeconds: number; width: number; active: number | null };

function Plot({ buckets, bucketSeconds, width, active }: PlotProps): VNode {
  const hatch = useId();
  const { end, step } = countAxis(Math.max(0, ...buckets.map(total)));
  const slot = width / Math.max(buckets.length, 1);
  const gap = slot > 5 ? Math.min(slot * 0.2, 6) : 0;
  return (
    <svg class="chart-svg" width={width + LEFT} height={HEIGHT} role="img" aria-label={summary(buckets, bucketSeconds)}>
      <Hatch id={hatch} />
      <CountLines end={end} step={step} width={width} />
      <TimeLabels buckets={buckets} bucketSeconds={bucketSeconds} width={width} />
      <g transform={`translate(${LEFT} ${TOP})`}>
        {active !== null && <rect class="chart-active" x={active * slot} y={0} width={slot} height={PLOT} />}
        {buckets.map((bucket, index) => stack(bucket, end, PLOT).map(({ outcome, y, height }) => {
          const place = { x: index * slot + gap / 2, y, width: Math.max(slot - gap, 1), height };
          return <Bar key={`${index}${outcome}`} outcome={outcome} place={place} hatch={hatch} />;
        }))}
      </g>
    </svg>
  );
}

type Place = { x: number; y: number; width: number; height: number };

/** Failures are hatched, so that they can be recognized without colour. */
function Bar({ outcome, place, hatch }: { outcome: Outcome; place: Place; hatch: string }): VNode {
  const bar = <rect class={`bar-${outcome.toLowerCase()}`} {...place} />;
  return outcome === "FAILURE" ? <>{bar}<rect {...place} fill={`url(#${hatch})`} /></> : bar;
}

function Hatch({ id }: { id: string }): VNode {
  return (
    <defs>
      <pattern id={id} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect class="bar-hatch" width="1.6" height="5" />
      </pattern>
    </defs>
  );
}

function CountLines({ end, step, width }: { end: number; step: number; width: number }): VNode {
  const counts = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step);
  return (
    <g aria-hidden="true">
      {counts.map((count) => {
        const y = TOP + PLOT - (count / end) * PLOT;
        return (
          <g key={count}>
            <line class={count === 0 ? "chart-base" : "chart-line"} x1={LEFT} x2={LEFT + width} y1={y} y2={y} />
            <text class="chart-label" x={LEFT - 8} y={y + 4} text-anchor="end">{formatCount(count)}</text>
          </g>
        );
      })}
    </g>
  );
}

function TimeLabels({ buckets, bucketSeconds, width }: Omit<PlotProps, "active">): VNode | null {
  const first = buckets[0];
  if (!first) return null;
  const from = Date.parse(first.at);
  const to = from + buckets.length * bucketSeconds * 1000;
  const ticks = timeTicks(from, to, Math.max(Math.floor(width / 90), FEWEST_LABELS), new Date(from).getTimezoneOffset());
  return (
    <g aria-hidden="true">
      {ticks.map((tick) => {
        const x = LEFT + ((tick - from) / (to - from)) * width;
        const anchor = x > LEFT + width - 24 ? "end" : x < LEFT + 24 ? "start" : "middle";
        return <text key={tick} class="chart-label" x={x} y={HEIGHT - 4} text-anchor={anchor}>{tickLabel(tick)}</text>;
      })}
    </g>
  );
}

/** The date at midnight, the time of day otherwise. */
function tickLabel(tick: number): string {
  const date = new Date(tick);
  if (date.getHours() === 0 && date.getMinutes() === 0) return formatDay(date);
  return formatClock(tick, tick);
}

type CursorProps = PlotProps & { setActive: (index: number | null) => void };

function Cursor({ buckets, bucketSeconds, width, active, setActive }: CursorProps): VNode {
  const last = buckets.length - 1;
  const shown = active ?? last;
  const onKeyDown = (event: KeyboardEvent): void => {
    const to = { ArrowLeft: shown - 1, ArrowRight: shown + 1, ArrowDown: shown - 1, ArrowUp: shown + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") setActive(null);
    if (to === undefined) return;
    event.preventDefault();
    setActive(Math.min(Math.max(to, 0), last));
  };
  return (
    <div
      class="chart-cursor" role="slider" tabIndex={0} aria-label="Selected bar"
      aria-valuemin={0} aria-valuemax={Math.max(last, 0)} aria-valuenow={Math.max(shown, 0)} aria-valuetext={sentence(buckets[shown], bucketSeconds)}
      onKeyDown={onKeyDown} onFocus={() => setActive(shown)} onBlur={() => setActive(null)}
      onPointerMove={(event) => setActive(bucketAt(event.offsetX, width, buckets.length))} onPointerLeave={() => setActive(null)}
    />
  );
}

function Tip({ bucket, bucketSeconds, x, width }: { bucket: Bucket; bucketSeconds: number; x: number; width: number }): VNode {
  const side = x > width / 2 ? { right: `${width - x + 10}px` } : { left: `${x + 10}px` };
  return (
    <div class="chart-tip" style={side} aria-hidden="true">
      <strong>{span(bucket, bucketSeconds)}</strong>
      {OUTCOMES.filter((outcome) => bucket[outcome] > 0).map((outcome) => (
        <span key={outcome}><span class={`chart-swatch swatch-${outcome.toLowerCase()}`} />{formatCount(bucket[outcome])} {OUTCOME_NAMES[outcome]}</span>
      ))}
      {total(bucket) === 0 && <span>no tasks</span>}
    </div>
  );
}

function AsTable({ buckets, bucketSeconds }: { buckets: Bucket[]; bucketSeconds: number }): VNode {
  const [open, setOpen] = useState(false);
  const rows = buckets.filter((bucket) => total(bucket) > 0);
  return (
    <details class="chart-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {open && rows.length === 0 && <p>No tasks in this period.</p>}
      {open && rows.length > 0 && (
        <div class="table-scroll" tabIndex={0} role="region" aria-label="Tasks over time, as a table">
          <table>
            <thead><tr><th scope="col">Time</th>{OUTCOMES.map((outcome) => <th key={outcome} scope="col" class="number">{OUTCOME_NAMES[outcome]}</th>)}</tr></thead>
            <tbody>
              {rows.map((bucket) => (
                <tr key={bucket.at}>
                  <th scope="row">{span(bucket, bucketSeconds)}</th>
                  {OUTCOMES.map((outcome) => <td key={outcome} class="number">{formatCount(bucket[outcome])}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

/** `24 Nov, 13:00 – 13:15` */
function span(bucket: Bucket, bucketSeconds: number): string {
  const from = Date.parse(bucket.at);
  const to = from + bucketSeconds * 1000;
  return `${formatClock(from)} – ${formatClock(to, from)}`;
}

function sentence(bucket: Bucket | undefined, bucketSeconds: number): string {
  if (!bucket) return "no tasks";
  const parts = OUTCOMES.filter((outcome) => bucket[outcome] > 0).map((outcome) => `${formatCount(bucket[outcome])} ${OUTCOME_NAMES[outcome]}`);
  return `${span(bucket, bucketSeconds)}: ${parts.join(", ") || "no tasks"}`;
}

function summary(buckets: Bucket[], bucketSeconds: number): string {
  const first = buckets[0];
  if (!first) return "Tasks over time: none";
  const all = buckets.reduce((sum, bucket) => sum + total(bucket), 0);
  const failed = buckets.reduce((sum, bucket) => sum + bucket.FAILURE, 0);
  const end = Date.parse(first.at) + buckets.length * bucketSeconds * 1000;
  return `Tasks over time, ${formatClock(first.at)} to ${formatClock(end)}: ${plural(all, "task")}, ${formatCount(failed)} failed`;
}
