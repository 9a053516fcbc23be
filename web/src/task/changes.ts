// Notifies lists of tasks when this page has changed a task.
import { useEffect } from "preact/hooks";

import { createStore } from "../store.ts";

const changes = createStore(0);

export function notifyTasksChanged(): void {
  changes.set(changes.get() + 1);
}

/** Calls `reload` after each change. */
export function useTasksChanged(reload: () => void): void {
  useEffect(() => changes.subscribe(reload), [reload]);
}
