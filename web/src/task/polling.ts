import { useEffect, useRef } from "preact/hooks";

/** Calls `poll` every `ms` while the page is in view, and at once when it comes
 * back into view; `null` rests. */
export function usePolling(ms: number | null, poll: () => void): void {
  const latest = useRef(poll);
  latest.current = poll;
  useEffect(() => {
    if (ms === null) return undefined;
    const unlessHidden = (): void => { if (!document.hidden) latest.current(); };
    const timer = setInterval(unlessHidden, ms);
    document.addEventListener("visibilitychange", unlessHidden);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", unlessHidden);
    };
  }, [ms]);
}
