import { useEffect, useRef } from "preact/hooks";

import { session } from "../api.ts";

/** Calls `poll` every `ms` while the page is in view of somebody signed in, and at
 * once when it comes back into view; `null` rests. */
export function usePolling(ms: number | null, poll: () => void): void {
  const latest = useRef(poll);
  latest.current = poll;
  useEffect(() => {
    if (ms === null) return undefined;
    const pollIfSeen = (): void => { if (!document.hidden && session.get() !== "out") latest.current(); };
    const timer = setInterval(pollIfSeen, ms);
    document.addEventListener("visibilitychange", pollIfSeen);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", pollIfSeen);
    };
  }, [ms]);
}
