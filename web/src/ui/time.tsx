import { useNow } from "../hooks.ts";

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const withYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["second", 1],
  ["minute", 60],
  ["hour", 3600],
  ["day", 86400],
];

/** How far `at` is from `now`, in words; far ones as a date. Rounded to what is
 * surely true: it is over since at least that long, and will be by then. */
export function timeInWords(at: number, now: number): string {
  const seconds = (at - now) / 1000;
  const away = Math.abs(seconds);
  if (away < 5) return seconds > 0 ? "in a moment" : "just now";
  if (away >= 6 * 86400) return (away < 300 * 86400 ? day : withYear).format(at);
  if (seconds > 0 && away < 2 * 86400 && away >= 3600) return relative.format(Math.ceil(seconds / 3600), "hour");
  const [unit, size] = UNITS.findLast(([, least]) => away >= least) ?? ["second", 1];
  return relative.format(Math.ceil(seconds / size), unit);
}

/** The time to the second in the reader's zone, and as the server has it. */
export function exactTime(at: string): string {
  return `${exact.format(Date.parse(at))} (${at})`;
}

/** A time in the reader's zone, in words; its exact value is shown on hover. It is over,
 * whatever the clocks of the server and the reader say, unless it lies `ahead`. */
export function Time({ at, absolute, ahead }: { at: string; absolute?: boolean; ahead?: boolean }) {
  const now = useNow(10_000);
  const parsed = Date.parse(at);
  return (
    <time dateTime={at} title={exactTime(at)}>
      {absolute ? exact.format(parsed) : timeInWords(ahead ? parsed : Math.min(parsed, now), now)}
    </time>
  );
}
