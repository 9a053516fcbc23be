// Formats numbers and times. Pure functions: the current time, the time zone and the
// locale are arguments, with the user's own as defaults.

const LANGUAGE = "en";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** `1234567` as `1,234,567`. */
export function formatCount(count: number): string {
  return new Intl.NumberFormat(LANGUAGE).format(count);
}

/** A number for a tile: `999`, `12.3 K`, `4.1 M`. */
export function formatCompact(count: number): string {
  if (Math.abs(count) < 10_000) return formatCount(Math.round(count));
  return new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

/** `count` with its noun: `1 task`, `2 tasks`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Milliseconds: `84 ms`, `1.2 s`, `45 s`, `3 min 04 s`, `2 h 05 min`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `−${formatDuration(-ms)}`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(ms / MINUTE);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(ms / HOUR);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}

/** Bytes: `84 B`, `1.2 KB`, `3.4 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [size, unit] = bytes < 1024 * 1024 * 0.9995 ? [bytes / 1024, "KB"] : [bytes / 1024 / 1024, "MB"];
  return `${size < 9.95 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

/** US dollars; sums under $1 have two significant digits. */
export function formatDollars(dollars: number): string {
  if (dollars === 0) return "$0";
  if (Math.abs(dollars) < 0.000001) return "under $0.000001";
  const digits = Math.abs(dollars) < 1 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `$${new Intl.NumberFormat(LANGUAGE, digits).format(dollars)}`;
}

/** A share: `100 %`, `99.9 %`, `0.4 %`; never rounded to `100 %` or `0 %`. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return "–";
  const percent = (100 * part) / whole;
  if (part > 0 && percent < 0.1) return "< 0.1 %";
  if (part < whole && percent > 99.9) return "> 99.9 %";
  return `${percent.toFixed(1).replace(/\.0$/, "")} %`;
}

/** Time zone and locale; the user's own by default. */
export interface Place {
  zone?: string;
  locale?: string;
}

/** The time of day, with the day if it is not today: `04:31` or `24 Nov, 04:31`. */
export function formatClock(time: string | number | Date, now: number = Date.now(), where: Place = {}): string {
  const clock = dateTime(time, { hour: "2-digit", minute: "2-digit" }, where);
  return formatDay(time, where) === formatDay(now, where) ? clock : `${formatDay(time, where)}, ${clock}`;
}

/** The time of day to the millisecond: `04:31:07.123`. */
export function formatPreciseClock(time: string | number | Date, where: Place = {}): string {
  return dateTime(time, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }, where);
}

/** `24 Nov` */
export function formatDay(time: string | number | Date, where: Place = {}): string {
  return dateTime(time, { day: "numeric", month: "short" }, where);
}

function dateTime(time: string | number | Date, options: Intl.DateTimeFormatOptions, where: Place): string {
  return new Intl.DateTimeFormat(where.locale, { ...options, ...(where.zone && { timeZone: where.zone }) }).format(new Date(time));
}
