// Positions in a chart, in pixels. Pure functions.

/** From the bottom of a bar to its top. */
export const OUTCOMES = ["SUCCESS", "FAILURE", "STARTED", "PENDING"] as const;
export type Outcome = (typeof OUTCOMES)[number];
export type Counts = Record<Outcome, number>;

/** In pixels, so that small counts stay visible beside large ones. */
const LEAST_HEIGHT = 2;

/** The end of an axis that starts at 0, and the step between its lines. The step is an
 * integer, 1, 2 or 5 times a power of ten, and gives three or four lines. */
export function countAxis(most: number): { end: number; step: number } {
  const rough = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= rough) ?? 1);
  return { end: Math.ceil(Math.max(most, 1) / step) * step, step };
}

export type Segment = { outcome: Outcome; y: number; height: number };

/** The segments of one bar, in pixels from the top of a plot of `height`. */
export function stack(counts: Counts, end: number, height: number): Segment[] {
  const present = OUTCOMES.filter((outcome) => counts[outcome] > 0);
  const wanted = present.map((outcome) => Math.max((counts[outcome] / end) * height, LEAST_HEIGHT));
  const total = wanted.reduce((sum, piece) => sum + piece, 0);
  const fit = total > height ? height / total : 1;
  let top = height;
  return present.map((outcome, index) => {
    const piece = (wanted[index] ?? 0) * fit;
    top -= piece;
    return { outcome, y: top, height: piece };
  });
}

export function total(counts: Counts): number {
  return OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0);
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const STEPS = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 48 * HOUR, 72 * HOUR, 96 * HOUR];

/** Round times between two times, at most `most` of them, in the user's time zone.
 * `offset` is in minutes, as returned by `Date.getTimezoneOffset`. */
export function timeTicks(from: number, to: number, most: number, offset: number): number[] {
  const step = STEPS.find((step) => (to - from) / step <= most) ?? 7 * 24 * HOUR;
  const shift = offset * MINUTE;
  const ticks: number[] = [];
  for (let tick = Math.ceil((from - shift) / step) * step + shift; tick <= to; tick += step) ticks.push(tick);
  return ticks;
}

/** The index of the bucket under a pointer at `x` in a plot of `width`. */
export function bucketAt(x: number, width: number, buckets: number): number {
  return Math.min(Math.max(Math.floor((x / Math.max(width, 1)) * buckets), 0), buckets - 1);
}
