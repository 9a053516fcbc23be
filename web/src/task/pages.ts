// Reading the list of tasks.
import { api } from "../api.ts";
import { hasEnded } from "../task-words.ts";
import type { TaskPage } from "../types.ts";

export interface TaskFilter {
  agent_id: string;
  status: string;
  cursor: string;
  limit: number;
}

/** Reads the page that `filter` names. With a status it may be short, for the
 * server looks at a bounded number of tasks. */
export function readTasks(filter: TaskFilter, signal: AbortSignal): Promise<TaskPage> {
  return api.get<TaskPage>(`/api/tasks?${queryOf(filter)}`, signal);
}

/** The filter as a query, without what is not set. */
export function queryOf(filter: Partial<TaskFilter>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, String(value));
  return query.toString();
}

/** The console's own address of a filtered list. */
export function tasksHref(filter: Partial<TaskFilter>): string {
  const query = queryOf(filter);
  return query ? `/console/tasks?${query}` : "/console/tasks";
}

/** Whether any of these may still change. */
export function isMoving(page: TaskPage | undefined): boolean {
  return page?.tasks.some((task) => !hasEnded(task.status)) ?? false;
}
