// Paths under /console are pages. Links are plain `<a href>`: the router handles clicks on
// them, so pages need no link component.
import { useEffect, useMemo } from "preact/hooks";
import { createStore, useStore } from "./store.ts";

export const BASE = "/console";

export interface Location {
  /** Without the base; begins with `/`. */
  path: string;
  query: URLSearchParams;
  /** Whether the user navigated here inside the console, instead of loading the page. */
  navigated: boolean;
}

interface HistoryEntry {
  /** Position in the history, which gives the direction of a step. */
  index: number;
}

const location_ = createStore<Location>(readLocation(false));
/** Called before the user leaves a page; returns whether that is allowed. */
let guard: (() => Promise<boolean>) | undefined;
let index = 0;
const scrolls = new Map<number, number>();

/** Handles clicks on links and the browser's back and forward buttons. */
export function startRouter() {
  history.scrollRestoration = "manual";
  index = entry()?.index ?? 0;
  history.replaceState({ index } satisfies HistoryEntry, "");
  document.addEventListener("click", onClick);
  window.addEventListener("popstate", onStep);
  window.addEventListener("beforeunload", (event) => guard && event.preventDefault());
}

export function useLocation(): Location {
  return useStore(location_);
}

/** The query parameter `name`, and a function that sets it without leaving the page. */
export function useQuery(name: string): [string, (value: string) => void] {
  const { query } = useLocation();
  return [query.get(name) ?? "", (value) => setQuery({ [name]: value })];
}

/** Changes the query without a new history entry. Empty values are removed. */
export function setQuery(values: Record<string, string>) {
  const url = new URL(window.location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", url);
  location_.set(readLocation(true));
}

/** Goes to a path of the console, such as `/console/agents`. `saved` skips the question about unsaved changes. */
export async function navigate(href: string, { replace = false, saved = false } = {}) {
  const here = window.location.pathname + window.location.search;
  if (href === here) return;
  if (guard && !saved && !(await guard())) return;
  scrolls.set(index, window.scrollY);
  if (!replace) index += 1;
  history[replace ? "replaceState" : "pushState"]({ index } satisfies HistoryEntry, "", href);
  location_.set(readLocation(true));
  window.scrollTo(0, 0);
}

/** Returns whether the user may leave the page. After that, the page does not ask again. */
export async function mayLeave(): Promise<boolean> {
  if (guard && !(await guard())) return false;
  guard = undefined;
  return true;
}

/** While `dirty`, the user must confirm before leaving the page. */
export function useLeaveGuard(dirty: boolean, ask: () => Promise<boolean>) {
  useEffect(() => {
    if (!dirty) return;
    guard = ask;
    return () => {
      guard = undefined;
    };
  }, [dirty, ask]);
}

/** The parameters of a path that matches `pattern`, such as `/agents/:id`. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const [expected, actual] = [parts(pattern), parts(path)];
  if (expected.length !== actual.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, part] of expected.entries()) {
    const value = actual[at] ?? "";
    if (part.startsWith(":")) params[part.slice(1)] = decode(value);
    else if (part !== value) return undefined;
  }
  return params;
}

/** Whether the current page is `path` or below it. */
export function useIsAt(path: string): boolean {
  const here = useLocation().path;
  return useMemo(() => (path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`)), [path, here]);
}

function readLocation(navigated: boolean): Location {
  const { pathname, search } = window.location;
  const path = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : pathname;
  return { path: `/${parts(path).join("/")}`, query: new URLSearchParams(search), navigated };
}

function parts(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function onClick(event: MouseEvent) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== window.location.origin) return;
  if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return;
  if (link.hash) return;
  event.preventDefault();
  void navigate(link.pathname + link.search);
}

/** The browser has already changed the location, so a refused step is reverted. */
async function onStep() {
  const next = entry()?.index;
  // A step to a `#fragment` of the page, whose history entry has no index yet.
  if (next === undefined) return history.replaceState({ index } satisfies HistoryEntry, "");
  if (next === index) return location_.set(readLocation(true));
  if (guard) {
    const back = index - next;
    history.go(back);
    if (!(await guard())) return;
    guard = undefined;
    history.go(-back);
    return;
  }
  scrolls.set(index, window.scrollY);
  index = next;
  location_.set(readLocation(true));
  restoreScroll(scrolls.get(index) ?? 0);
}

function entry(): HistoryEntry | undefined {
  const state: unknown = history.state;
  return typeof state === "object" && state !== null && "index" in state ? (state as HistoryEntry) : undefined;
}

/** Retries until the page is tall enough, because it grows while its data loads. */
function restoreScroll(top: number) {
  const until = performance.now() + 1500;
  const state = { interrupted: false };
  const interrupt = () => (state.interrupted = true);
  for (const kind of ["wheel", "touchstart", "keydown"]) {
    window.addEventListener(kind, interrupt, { once: true, passive: true });
  }
  const step = () => {
    if (state.interrupted) return;
    window.scrollTo(0, top);
    if (Math.abs(window.scrollY - top) > 1 && performance.now() < until) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}
