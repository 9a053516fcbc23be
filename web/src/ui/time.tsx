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

/** The distance from `now` to `at`, in words; distant times as a date. Past times are rounded
 * down and future times up, so that the text is correct in both cases. */
export function timeInWords(at: number, now: number): string {
  const seconds = (at - now) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 5) return seconds > 0 ? "in a moment" : "just now";
  if (distance >= 6 * 86400) return (distance < 300 * 86400 ? day : withYear).format(at);
  if (seconds > 0 && distance < 2 * 86400 && distance >= 3600) return relative.format(Math.ceil(seconds / 3600), "hour");
  const [unit, size] = UNITS.findLast(([, least]) => distance >= least) ?? ["second", 1];
  return relative.format(Math.ceil(seconds / size), unit);
}

/** The time to the second in the user's time zone, followed by the server's value. */
export function exactTime(at: string): string {
  return `${exact.format(Date.parse(at))} (${at})`;
}

/** A time in the user's time zone, in words; the exact value is shown on hover. Without
 * `ahead` it is shown as past, even if the clocks of the server and the user differ. */
export function Time({ at, absolute, ahead }: { at: string; absolute?: boolean; ahead?: boolean }) {
  const now = useNow(10_000);
  const parsed = Date.parse(at);
  return (
    <time dateTime={at} title={exactTime(at)}>
      {absolute ? exact.format(parsed) : timeInWords(ahead ? parsed : Math.min(parsed, now), now)}
    </time>
  );
}
