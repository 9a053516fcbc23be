// Reads something from the server for as long as a component shows it.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, asApiError, isAbort, session } from "./api.ts";

export interface Loaded<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Whether an answer is on its way, the first or a later one. */
  loading: boolean;
  reload(): void;
  /** What is known without asking, such as the answer to a change. */
  replace(data: T): void;
}

/**
 * Reads anew whenever `key` changes; what an earlier key brought is dropped, and
 * a request that nobody waits for any more is given up. No key reads nothing.
 */
export function useLoad<T>(key: string | null, read: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; data?: T; error?: ApiError; loading: boolean }>({
    key,
    loading: key !== null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(read);
  latest.current = read;
  useEffect(() => {
    if (key === null) return setState({ key, loading: false });
    const controller = new AbortController();
    setState((was) => (was.key === key ? { ...was, loading: true } : { key, loading: true }));
    latest.current(controller.signal).then(
      (data) => controller.signal.aborted || setState({ key, data, loading: false }),
      (error: unknown) => {
        if (controller.signal.aborted || isAbort(error)) return;
        setState((was) => ({ ...was, error: asApiError(error), loading: false }));
      },
    );
    return () => controller.abort();
  }, [key, round]);
  const reload = useCallback(() => setRound((was) => was + 1), []);
  useReloadAtSignIn(state.error, reload);
  const replace = useCallback((data: T) => setState((was) => ({ ...was, data, loading: false })), []);
  const current = state.key === key ? state : { loading: key !== null };
  return {
    data: "data" in current ? current.data : undefined,
    error: "error" in current ? current.error : undefined,
    loading: current.loading,
    reload,
    replace,
  };
}

/** What failed for want of a session is read when there is one again. */
function useReloadAtSignIn(error: ApiError | undefined, reload: () => void) {
  const refused = error?.status === 401;
  useEffect(() => {
    if (!refused) return;
    return session.subscribe((state) => state === "in" && reload());
  }, [refused, reload]);
}
