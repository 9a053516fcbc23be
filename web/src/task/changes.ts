// Tells lists of tasks that this page itself has changed something.
import { useEffect } from "preact/hooks";

import { createStore } from "../store.ts";

const changes = createStore(0);

export function tellOfTasks(): void {
  changes.set(changes.get() + 1);
}

/** Calls `reload` when there is something new to read. */
export function useToldOfTasks(reload: () => void): void {
  useEffect(() => changes.subscribe(reload), [reload]);
}
