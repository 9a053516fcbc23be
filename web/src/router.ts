// Paths under /console are pages. Links are plain `<a href>`: a click on one is
// taken over here, so pages need no link component.
import { useEffect, useMemo } from "preact/hooks";
import { createStore, useStore } from "./store.ts";

export const BASE = "/console";

export interface Location {
  /** Without the base, beginning with `/`. */
  path: string;
  query: URLSearchParams;
  /** Whether somebody went here, rather than opening the page here. */
  navigated: boolean;
}

interface Entry {
  /** Its place in the history, from which the direction of a step is known. */
  index: number;
}

const location_ = createStore<Location>(read(false));
/** Asked before a page is left; answers whether it may be. */
let guard: (() => Promise<boolean>) | undefined;
let index = 0;
const scrolls = new Map<number, number>();

/** Begins to follow clicks on links and the browser's own steps. */
export function startRouter() {
  history.scrollRestoration = "manual";
  index = entry()?.index ?? 0;
  history.replaceState({ index } satisfies Entry, "");
  document.addEventListener("click", onClick);
  window.addEventListener("popstate", onStep);
  window.addEventListener("beforeunload", (event) => guard && event.preventDefault());
}

export function useLocation(): Location {
  return useStore(location_);
}

/** The query's value of `name`, and how to change it without leaving the page. */
export function useQuery(name: string): [string, (value: string) => void] {
  const { query } = useLocation();
  return [query.get(name) ?? "", (value) => setQuery({ [name]: value })];
}

/** Changes the query in place: empty values are left out. */
export function setQuery(values: Record<string, string>) {
  const url = new URL(window.location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", url);
  location_.set(read(true));
}

/** Goes to a path of the console, such as `/console/agents`; `saved` says that nothing is left behind. */
export async function navigate(href: string, { replace = false, saved = false } = {}) {
  const here = window.location.pathname + window.location.search;
  if (href === here) return;
  if (guard && !saved && !(await guard())) return;
  scrolls.set(index, window.scrollY);
  if (!replace) index += 1;
  history[replace ? "replaceState" : "pushState"]({ index } satisfies Entry, "", href);
  location_.set(read(true));
  window.scrollTo(0, 0);
}

/** Asks whether the page may be left, if it wants to be asked; then it is not asked again. */
export async function mayLeave(): Promise<boolean> {
  if (guard && !(await guard())) return false;
  guard = undefined;
  return true;
}

/** While `dirty`, leaving the page asks first. */
export function useLeaveGuard(dirty: boolean, ask: () => Promise<boolean>) {
  useEffect(() => {
    if (!dirty) return;
    guard = ask;
    return () => {
      guard = undefined;
    };
  }, [dirty, ask]);
}

/** The parameters of a path that fits `pattern`, such as `/agents/:id`. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [parts(pattern), parts(path)];
  if (wanted.length !== given.length) return undefined;
  const found: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    const value = given[at] ?? "";
    if (part.startsWith(":")) found[part.slice(1)] = decode(value);
    else if (part !== value) return undefined;
  }
  return found;
}

/** Whether the page at `path` is shown, or one below it. */
export function useIsAt(path: string): boolean {
  const here = useLocation().path;
  return useMemo(() => (path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`)), [path, here]);
}

function read(navigated: boolean): Location {
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

/** The browser has stepped already: if the page must not be left, it steps back. */
async function onStep() {
  const next = entry()?.index;
  // A step within the page, to a `#place`: it is an entry of its own now.
  if (next === undefined) return history.replaceState({ index } satisfies Entry, "");
  if (next === index) return location_.set(read(true));
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
  location_.set(read(true));
  restoreScroll(scrolls.get(index) ?? 0);
}

function entry(): Entry | undefined {
  const state: unknown = history.state;
  return typeof state === "object" && state !== null && "index" in state ? (state as Entry) : undefined;
}

/** A page that is still being read grows: the place is gone to as soon as it exists. */
function restoreScroll(top: number) {
  const until = performance.now() + 1500;
  const place = { interrupted: false };
  const interrupt = () => (place.interrupted = true);
  for (const kind of ["wheel", "touchstart", "keydown"]) {
    window.addEventListener(kind, interrupt, { once: true, passive: true });
  }
  const step = () => {
    if (place.interrupted) return;
    window.scrollTo(0, top);
    if (Math.abs(window.scrollY - top) > 1 && performance.now() < until) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}
