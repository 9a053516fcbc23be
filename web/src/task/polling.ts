import { useEffect, useRef } from "preact/hooks";

import { session } from "../api.ts";

/** Calls `poll` every `ms` while the page is visible and the user is signed in, and at once
 * when the page becomes visible again. Does nothing if `ms` is null. */
export function usePolling(ms: number | null, poll: () => void): void {
  const latest = useRef(poll);
  latest.current = poll;
  useEffect(() => {
    if (ms === null) return undefined;
    const pollIfVisible = (): void => { if (!document.hidden && session.get() !== "out") latest.current(); };
    const timer = setInterval(pollIfVisible, ms);
    document.addEventListener("visibilitychange", pollIfVisible);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", pollIfVisible);
    };
  }, [ms]);
}
