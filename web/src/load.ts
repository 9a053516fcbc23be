// Loads data from the server while a component shows it.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, asApiError, isAbort, session } from "./api.ts";

export interface Loaded<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Whether a request is in progress, the first or a later one. */
  loading: boolean;
  reload(): void;
  /** Sets data that is known without a request, such as the response to a change. */
  replace(data: T): void;
}

/**
 * Loads again whenever `key` changes. Data of an earlier key is dropped, and a request
 * that is no longer needed is aborted. Does nothing while `key` is null.
 */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; data?: T; error?: ApiError; loading: boolean }>({
    key,
    loading: key !== null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
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

/** Repeats a request that failed with 401 after the next sign-in. */
function useReloadAtSignIn(error: ApiError | undefined, reload: () => void) {
  const refused = error?.status === 401;
  useEffect(() => {
    if (!refused) return;
    return session.subscribe((state) => state === "in" && reload());
  }, [refused, reload]);
}
