// Loads the list of tasks.
import { api } from "../api.ts";
import { hasEnded } from "../task-words.ts";
import type { TaskPage } from "../types.ts";

export interface TaskFilter {
  agent_id: string;
  status: string;
  cursor: string;
  limit: number;
}

/** Loads one page. With a status filter, the page can be short, because the server examines
 * a limited number of tasks per request. */
export function readTasks(filter: TaskFilter, signal: AbortSignal): Promise<TaskPage> {
  return api.get<TaskPage>(`/api/tasks?${queryOf(filter)}`, signal);
}

/** The filter as a query string, without empty values. */
export function queryOf(filter: Partial<TaskFilter>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, String(value));
  return query.toString();
}

/** The console's path of a filtered list. */
export function tasksHref(filter: Partial<TaskFilter>): string {
  const query = queryOf(filter);
  return query ? `/console/tasks?${query}` : "/console/tasks";
}

export function hasUnfinished(page: TaskPage | undefined): boolean {
  return page?.tasks.some((task) => !hasEnded(task.status)) ?? false;
}
